-- soid: the sessions of one id, in no order; a part of them if there are many.
-- KEYS  1 APP:us:ID
-- ARGV  1 'ns:APP:', the beginning of a session hash's key, 2 where to go on, '0' at the beginning, 3 about the most sessions
-- Replies where to go on, '0' at the end; then a list of tokens, each followed by its packed record, or 0 for an unreadable
-- one. Expired ones are among them, and in parts one session may come twice.
local next, tokens, most = '0', nil, tonumber(ARGV[3])
if ARGV[2] == '0' then tokens = call('SRANDMEMBER', KEYS[1], most + 1) end
-- One more than the most: then there are too many to be all of them.
if not tokens or #tokens > most then
  local part = call('SSCAN', KEYS[1], ARGV[2], 'COUNT', most)
  next, tokens = part[1], part[2]
end
local list, count = { next }, 1
for _, token in ipairs(tokens) do
  local h, none = fields(ARGV[1] .. token)
  if none ~= false then
    list[count + 1] = token
    list[count + 2] = h and pack(h) or none
    count = count + 2
  end
end
return list
