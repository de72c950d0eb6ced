-- create: stores a new session.
-- KEYS  1 the session hash, 2 APP:_sessions, 3 APP:_users, 4 SESSIONS, 5 APP:us:ID
-- ARGV  1 la, 2 the second at which it ends, 3 'TOKEN:ID', 4 'APP:TOKEN:ID', 5 ID, 6 TOKEN, then the fields of the hash
local function refused(...)
  local reply = redis.pcall(...)
  return type(reply) == 'table' and reply.err and reply
end

local refusal = refused('HSET', KEYS[1], unpack(ARGV, 7))
  or refused('SADD', KEYS[5], ARGV[6])
  or refused('ZADD', KEYS[2], ARGV[1], ARGV[3])
  -- GT: another session of this id may have been renewed by a clock ahead of ours.
  or refused('ZADD', KEYS[3], 'GT', ARGV[1], ARGV[5])
  or refused('ZADD', KEYS[4], ARGV[2], ARGV[4])
if not refusal then return 1 end
-- A key of another type, or a right that the user lacks: half a session is none.
redis.pcall('DEL', KEYS[1])
redis.pcall('SREM', KEYS[5], ARGV[6])
redis.pcall('ZREM', KEYS[2], ARGV[3])
return refusal
