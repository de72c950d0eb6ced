-- create: stores a new session.
-- KEYS  1 the session hash, 2 APP:_sessions, 3 APP:_users, 4 SESSIONS, 5 APP:us:ID
-- ARGV  1 la, 2 the second at which it ends, 3 'TOKEN:ID', 4 'APP:TOKEN:ID', 5 ID, 6 TOKEN, 7 r, 8 w, 9 ip, 10 ttl,
--       then what else is in the hash, names and values in turn
local call, key, la, id = redis.pcall, KEYS[1], ARGV[1], ARGV[5]

local reply = call('HSET', key,
  'id', id, 'r', ARGV[7], 'w', ARGV[8], 'ip', ARGV[9], 'la', la, 'ttl', ARGV[10], unpack(ARGV, 11))
if type(reply) == 'number' then reply = call('SADD', KEYS[5], ARGV[6]) end
if type(reply) == 'number' then reply = call('ZADD', KEYS[2], la, ARGV[3]) end
-- GT: another session of this id may have been renewed by a clock ahead of ours.
if type(reply) == 'number' then reply = call('ZADD', KEYS[3], 'GT', la, id) end
if type(reply) == 'number' then reply = call('ZADD', KEYS[4], ARGV[2], ARGV[4]) end
if type(reply) == 'number' then return 1 end
-- A key of another type, or a right that the user lacks: half a session is none.
call('DEL', key)
call('SREM', KEYS[5], ARGV[6])
call('ZREM', KEYS[2], ARGV[3])
return reply
