-- kill: removes every trace of a session, expired and unreadable ones too.
-- KEYS  1 the session hash, 2 APP:_sessions, 3 APP:_users, 4 SESSIONS
-- ARGV  1 'TOKEN:', 2 'APP:', 3 'ns:APP:us:', the beginning of the key of an id's tokens, 4 TOKEN, 5 the channel,
--       6 'APP:TOKEN', 7 the second of the last read that is not written yet, 0 if there is none
-- Replies the record as it was, packed; false: no such session; 0: unreadable.
local h, none, id = fields(KEYS[1])
if none == false then return none end
id = h and h[1] or id
local tokens, listed, others = id and ARGV[3] .. id, 0, 0
-- A cluster may be moving this key: then this fails, before anything is changed.
if id then
  listed = redis.call('SISMEMBER', tokens, ARGV[4])
  others = redis.call('SCARD', tokens) - listed
end
redis.call('DEL', KEYS[1])
if id then
  local member = ARGV[1] .. id
  redis.call('ZREM', KEYS[2], member)
  redis.call('ZREM', KEYS[4], ARGV[2] .. member)
  if listed == 1 then redis.call('SREM', tokens, ARGV[4]) end
  if others == 0 then
    redis.call('ZREM', KEYS[3], id)
  elseif ARGV[7] ~= '0' then
    redis.call('ZADD', KEYS[3], 'GT', ARGV[7], id)
  end
end
redis.call('PUBLISH', ARGV[5], ARGV[6])
return h and pack(h) or none
