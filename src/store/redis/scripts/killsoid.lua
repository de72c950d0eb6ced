-- killsoid: removes a batch of the sessions of an id; call it until none is left.
-- KEYS    1 APP:us:ID, 2 APP:_sessions, 3 APP:_users, 4 SESSIONS
-- ARGV    1 ID, 2 'ns:APP:', the prefix of the key of a session hash, 3 'APP:', 4 the channel, 5 the most sessions to
--         remove
-- Returns {session hashes removed, sessions left, sessions looked at}.
local killed, tokens = 0, redis.call('SRANDMEMBER', KEYS[1], ARGV[5])
-- A cluster may be moving these keys: the script then fails here, with nothing changed.
for _, token in ipairs(tokens) do redis.call('EXISTS', ARGV[2] .. token) end
for _, token in ipairs(tokens) do
  local member = token .. ':' .. ARGV[1]
  killed = killed + redis.call('DEL', ARGV[2] .. token)
  redis.call('SREM', KEYS[1], token)
  -- pcall: a cluster reports an index that the previous token emptied as moved.
  redis.pcall('ZREM', KEYS[2], member)
  redis.pcall('ZREM', KEYS[4], ARGV[3] .. member)
  redis.call('PUBLISH', ARGV[4], ARGV[3] .. token)
end
local left = redis.pcall('SCARD', KEYS[1])
if type(left) == 'number' and left > 0 then return { killed, left, #tokens } end
redis.pcall('ZREM', KEYS[3], ARGV[1])
return { killed, 0, #tokens }
