-- soapp: a page of the sessions of an app that were active since a second, last active first, then by descending token.
-- KEYS    1 APP:_sessions
-- ARGV    1 the second, 2 'ns:APP:', the prefix of the key of a session hash, 3 the most sessions to look at, 4 about
--         the most bytes to return, and the position of the page before, if there was one: 5 its second, 6 the
--         beginning of its token
-- Returns {1 if more may follow, or 0; the position of the last session looked at; then for each session its position
--         and its packed record, or only the position if it is unreadable}. Expired sessions are included. A position
--         is the second, a space and 10 bytes of the token.
local since, most, bytes = tonumber(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[4])

-- Whether a member comes after the position. Not by `<`, which compares in the locale of the server.
local function follows(member)
  for i = 1, 10 do
    local a, b = string.byte(member, i) or 0, string.byte(ARGV[6], i) or 0
    if a ~= b then return a < b end
  end
  return false
end

-- The rank of the first member that follows, by binary search among those of the same second.
local from = 0
if ARGV[5] then
  from = redis.call('ZCOUNT', KEYS[1], '(' .. ARGV[5], '+inf')
  local to = from + redis.call('ZCOUNT', KEYS[1], ARGV[5], ARGV[5])
  while from < to do
    local middle = math.floor((from + to) / 2)
    if follows(redis.call('ZREVRANGE', KEYS[1], middle, middle)[1]) then to = middle else from = middle + 1 end
  end
end

local members = redis.call('ZREVRANGE', KEYS[1], from, from + most - 1, 'WITHSCORES')
local more, list = #members == 2 * most and 1 or 0, { 0, '' }
for i = 1, #members, 2 do
  local member, second = members[i], tonumber(members[i + 1])
  if second < since or bytes <= 0 then
    more = second < since and 0 or 1
    break
  end
  local start = string.sub(member, 1, 10)
  -- The second is limited to the 48 bits that a cursor holds.
  local position = string.format('%.0f ', math.min(math.floor(second), 281474976710655))
    .. start .. string.rep('\0', 10 - #start)
  local h, missing = fields(ARGV[2] .. string.match(member, '^[^:]*'))
  if missing ~= 'none' then
    local found = h and position .. pack(h) or position
    bytes = bytes - #found
    list[#list + 1] = found
  end
  list[2] = position
end
list[1] = more
return list
