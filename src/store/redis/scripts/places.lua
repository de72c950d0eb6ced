-- places: when some sessions of an id were last active, in no order.
-- KEYS    1 APP:us:ID
-- ARGV    1 'ns:APP:', the prefix of the key of a session hash, 2 the SSCAN cursor, '0' at the beginning, 3 about how
--         many sessions to look at; or 2 '', then tokens
-- Returns {the next cursor, '0' at the end; the number of the id's sessions, 0 if tokens were given; then for each
--         session 'la ttl token', or '' if it is unreadable}. SSCAN may return a session twice.
local cursor, size, tokens = '0', 0, nil
if ARGV[2] == '' then
  tokens = { unpack(ARGV, 3) }
else
  local part = call('SSCAN', KEYS[1], ARGV[2], 'COUNT', ARGV[3])
  cursor, tokens = part[1], part[2]
  size = call('SCARD', KEYS[1])
end
local list, count = { cursor, size }, 2
for _, token in ipairs(tokens) do
  local key = ARGV[1] .. token
  local h = redis.pcall('HMGET', key, 'la', 'ttl')
  -- As in `fields`: a key of another type holds no session, and any other error fails the script.
  if h.err and not find(h.err, 'WRONGTYPE', 1, true) then error(h.err) end
  local la, ttl = h[1], h[2]
  if la and ttl and find(la .. ' ' .. ttl, '^%d+ %d+$') then
    count = count + 1
    list[count] = limit(la) .. ' ' .. limit(ttl) .. ' ' .. token
  elseif call('EXISTS', key) == 1 then
    count = count + 1
    list[count] = ''
  end
end
return list
