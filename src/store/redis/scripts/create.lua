-- create: stores a new session.
-- KEYS  1 the session hash, 2 APP:_sessions, 3 APP:_users, 4 SESSIONS, 5 APP:us:ID
-- ARGV  1 la, 2 the second at which it ends, 3 'TOKEN:ID', 4 'APP:TOKEN:ID', 5 ID, 6 TOKEN, then the fields of the hash
-- The hash comes last: without its indexes, a session could be read but neither listed nor wiped.
redis.call('ZADD', KEYS[2], ARGV[1], ARGV[3])
-- GT: another session of this id may have been renewed by a clock ahead of ours.
redis.call('ZADD', KEYS[3], 'GT', ARGV[1], ARGV[5])
redis.call('ZADD', KEYS[4], ARGV[2], ARGV[4])
redis.call('SADD', KEYS[5], ARGV[6])
redis.call('HSET', KEYS[1], unpack(ARGV, 7))
return 1
