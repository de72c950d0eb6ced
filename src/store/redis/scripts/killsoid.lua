-- killsoid: removes a batch of the sessions of an id; to be called until none is left.
-- KEYS  1 APP:us:ID, 2 APP:_sessions, 3 APP:_users, 4 SESSIONS
-- ARGV  1 ID, 2 'ns:APP:', the beginning of a session hash's key, 3 'APP:', 4 the channel, 5 the most sessions to remove
-- Replies how many session hashes were removed, how many sessions are left, and how many were looked at.
local killed, tokens = 0, redis.call('SRANDMEMBER', KEYS[1], ARGV[5])
-- A cluster may be moving these keys: then this fails, before anything is changed.
for _, token in ipairs(tokens) do redis.call('EXISTS', ARGV[2] .. token) end
for _, token in ipairs(tokens) do
  local member = token .. ':' .. ARGV[1]
  killed = killed + redis.call('DEL', ARGV[2] .. token)
  redis.call('SREM', KEYS[1], token)
  -- pcall: an index that the token before has emptied is a key that a cluster may think to be elsewhere.
  redis.pcall('ZREM', KEYS[2], member)
  redis.pcall('ZREM', KEYS[4], ARGV[3] .. member)
  redis.call('PUBLISH', ARGV[4], ARGV[3] .. token)
end
local left = redis.pcall('SCARD', KEYS[1])
if type(left) == 'number' and left > 0 then return { killed, left, #tokens } end
redis.pcall('ZREM', KEYS[3], ARGV[1])
return { killed, 0, #tokens }
