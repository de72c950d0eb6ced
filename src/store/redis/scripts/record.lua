-- Put in front of every script that reads a session hash.
-- To write a number as text takes Redis longer than to call a command: what came as text is passed on as text.
local call, find, format = redis.call, string.find, string.format

-- The fields of a session hash as a list: id, r, w, ttl, la, ip, no_resave, d; false where there is none.
-- If they make no session: nil, what to reply (false: no such hash, 0: unreadable), and the id if there is one.
local function fields(key)
  local h = redis.pcall('HMGET', key, 'id', 'r', 'w', 'ttl', 'la', 'ip', 'no_resave', 'd')
  local id, r, w, ttl, la = h[1], h[2], h[3], h[4], h[5]
  if id and r and w and ttl and la then
    -- Lua counts in doubles, which are exact for 15 digits.
    local exact = #r <= 15 and #w <= 15 and #ttl <= 15 and #la <= 15
    if exact and find(r .. ' ' .. w .. ' ' .. ttl .. ' ' .. la, '^%d+ %d+ %d+ %d+$') then return h end
    return nil, 0, id
  end
  -- A key of another type is no session. Of one that cannot be read nobody can tell what is in it: it may be on its way
  -- to another node of a cluster, or the user may lack the right.
  if h.err and not find(h.err, 'WRONGTYPE', 1, true) then error(h.err) end
  if h.err or h[1] or h[2] or h[3] or h[4] or h[5] or h[6] or h[7] or h[8] then return nil, 0, h[1] end
  return nil, false
end

-- The fields as one string: a header of lengths and numbers, a line feed, then id, ip and d without anything between.
-- One string is several times cheaper to send, to parse and to read than a list of eight.
local function pack(h)
  local id, ip = h[1], h[6] or ''
  return format('%d %d ', #id, #ip) .. h[2] .. ' ' .. h[3] .. ' ' .. h[4] .. ' ' .. h[5]
    .. (h[7] == '1' and ' 1\n' or ' 0\n') .. id .. ip .. (h[8] or '')
end

