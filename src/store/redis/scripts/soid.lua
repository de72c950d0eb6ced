-- soid: the sessions of one id, in no order; a part of them if there are many.
-- KEYS  1 APP:us:ID
-- ARGV  1 'ns:APP:', the beginning of a session hash's key, 2 where to go on, '0' at the beginning, 3 about the most sessions
-- Replies where to go on, '0' at the end; then a list of tokens, each followed by its packed record, or 0 for an unreadable
-- one. Expired ones are among them, and in parts one session may come twice.
local next, tokens = '0', nil
if ARGV[2] == '0' and redis.call('SCARD', KEYS[1]) <= tonumber(ARGV[3]) then
  tokens = redis.call('SMEMBERS', KEYS[1])
else
  local part = redis.call('SSCAN', KEYS[1], ARGV[2], 'COUNT', ARGV[3])
  next, tokens = part[1], part[2]
end
local list = { next }
for _, token in ipairs(tokens) do
  local h, none = fields(ARGV[1] .. token)
  if none ~= false then
    list[#list + 1] = token
    list[#list + 1] = h and pack(h) or none
  end
end
return list
