-- places: when some sessions of an id were active last, in no order.
-- KEYS  1 APP:us:ID
-- ARGV  1 'ns:APP:', the beginning of a session hash's key, 2 where to go on, '0' at the beginning, 3 about the most sessions
--       to look at; or, with '' in place of 2, tokens from 3 on
-- Replies where to go on, '0' at the end; how many sessions there are in all, where they were looked for; then for each session
-- la, ttl and token with a space between, or '' for an unreadable one. In parts one session may come twice.
local next, size, tokens = '0', 0, nil
if ARGV[2] == '' then
  tokens = { unpack(ARGV, 3) }
else
  local part = call('SSCAN', KEYS[1], ARGV[2], 'COUNT', ARGV[3])
  next, tokens = part[1], part[2]
  size = call('SCARD', KEYS[1])
end
local list, count = { next, size }, 2
for _, token in ipairs(tokens) do
  local key = ARGV[1] .. token
  local h = redis.pcall('HMGET', key, 'la', 'ttl')
  -- As in record.lua: a key of another type is no session, and of one that cannot be read nobody can tell what is in it.
  if h.err and not find(h.err, 'WRONGTYPE', 1, true) then error(h.err) end
  local la, ttl = h[1], h[2]
  if la and ttl and find(la .. ' ' .. ttl, '^%d+ %d+$') then
    count = count + 1
    list[count] = bounded(la) .. ' ' .. bounded(ttl) .. ' ' .. token
  elseif call('EXISTS', key) == 1 then
    count = count + 1
    list[count] = ''
  end
end
return list
