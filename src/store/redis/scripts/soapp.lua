-- soapp: the sessions of an app that were active since a second, last active first.
-- KEYS  1 APP:_sessions
-- ARGV  1 the second, 2 'ns:APP:', the beginning of a session hash's key
-- Replies a list of packed records, 0 for each unreadable one; expired ones are among them.
local list = {}
for _, member in ipairs(redis.call('ZREVRANGEBYSCORE', KEYS[1], '+inf', ARGV[1])) do
  local h, none = fields(ARGV[2] .. string.match(member, '^[^:]*'))
  list[#list + 1] = h and pack(h) or none or nil
end
return list
