-- killsoid: removes every session of an id.
-- KEYS  1 APP:us:ID, 2 APP:_sessions, 3 APP:_users, 4 SESSIONS
-- ARGV  1 ID, 2 'ns:APP:', the beginning of a session hash's key, 3 'APP:', 4 the channel
-- Replies how many session hashes were removed.
local killed, tokens = 0, redis.call('SMEMBERS', KEYS[1])
-- A cluster may be moving these keys: then this fails, before anything is changed.
for _, token in ipairs(tokens) do redis.call('EXISTS', ARGV[2] .. token) end
for _, token in ipairs(tokens) do
  local member = token .. ':' .. ARGV[1]
  killed = killed + redis.call('DEL', ARGV[2] .. token)
  -- pcall: an index that the token before has emptied is a key that a cluster may think to be elsewhere.
  redis.pcall('ZREM', KEYS[2], member)
  redis.pcall('ZREM', KEYS[4], ARGV[3] .. member)
  redis.call('PUBLISH', ARGV[4], ARGV[3] .. token)
end
redis.call('DEL', KEYS[1])
redis.pcall('ZREM', KEYS[3], ARGV[1])
return killed
