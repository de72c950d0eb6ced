-- create: stores a new session.
-- KEYS    1 the session hash, 2 APP:_sessions, 3 APP:_users, 4 SESSIONS, 5 APP:us:ID
-- ARGV    1 la, 2 the last second at which it is alive, 3 'TOKEN:ID', 4 'APP:TOKEN:ID', 5 ID, 6 TOKEN, 7 r, 8 w, 9 ip,
--         10 ttl, then names and values of the optional fields
-- Returns 1.
local call, key, la, id = redis.pcall, KEYS[1], ARGV[1], ARGV[5]

local reply = call('HSET', key,
  'id', id, 'r', ARGV[7], 'w', ARGV[8], 'ip', ARGV[9], 'la', la, 'ttl', ARGV[10], unpack(ARGV, 11))
if type(reply) == 'number' then reply = call('SADD', KEYS[5], ARGV[6]) end
if type(reply) == 'number' then reply = call('ZADD', KEYS[2], la, ARGV[3]) end
-- GT: a clock ahead of ours may have renewed another session of this id.
if type(reply) == 'number' then reply = call('ZADD', KEYS[3], 'GT', la, id) end
if type(reply) == 'number' then reply = call('ZADD', KEYS[4], ARGV[2], ARGV[4]) end
if type(reply) == 'number' then return 1 end
-- An index is of a wrong type, or the user lacks a permission. Undo, so that no half session stays.
call('DEL', key)
call('SREM', KEYS[5], ARGV[6])
call('ZREM', KEYS[2], ARGV[3])
return reply
