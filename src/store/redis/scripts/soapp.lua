-- soapp: a part of the sessions of an app that were active since a second, last active first and then the greatest token.
-- KEYS  1 APP:_sessions
-- ARGV  1 the second, 2 'ns:APP:', the beginning of a session hash's key, 3 the most sessions to look at, 4 about the most
--       bytes to reply, and where the part before ended, if there was one: 5 the second, 6 the beginning of the token
-- Replies 1 if more may follow, or 0; the place of the last session that was looked at; then for each session its place and
-- packed record, no record if it is unreadable. Expired ones are among them. A place is the second, a space and 10 bytes.
local since, most, bytes = tonumber(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[4])

-- Whether a member is to be listed after the place: not by `<`, which compares by the locale of the server.
local function follows(member)
  for i = 1, 10 do
    local a, b = string.byte(member, i) or 0, string.byte(ARGV[6], i) or 0
    if a ~= b then return a < b end
  end
  return false
end

-- The rank of the first member that follows.
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
  -- A second beyond what a place holds was made by nobody we know.
  local place = string.format('%.0f ', math.min(math.floor(second), 281474976710655)) .. start .. string.rep('\0', 10 - #start)
  local h, none = fields(ARGV[2] .. string.match(member, '^[^:]*'))
  if none ~= false then
    local found = h and place .. pack(h) or place
    bytes = bytes - #found
    list[#list + 1] = found
  end
  list[2] = place
end
list[1] = more
return list
