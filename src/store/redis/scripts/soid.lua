-- soid: the sessions of one id, in no order.
-- KEYS  1 APP:us:ID
-- ARGV  1 'ns:APP:', the beginning of a session hash's key
-- Replies a list of tokens, each followed by its packed record, or 0 for an unreadable one; expired ones are among them.
local list = {}
for _, token in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local h, none = fields(ARGV[1] .. token)
  if none ~= false then
    list[#list + 1] = token
    list[#list + 1] = h and pack(h) or none
  end
end
return list
