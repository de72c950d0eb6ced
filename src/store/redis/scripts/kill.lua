-- kill: removes every trace of a session, expired and unreadable ones too.
-- KEYS  1 the session hash, 2 APP:_sessions, 3 APP:_users, 4 SESSIONS
-- ARGV  1 TOKEN, 2 'APP:TOKEN', 3 'ns:APP:us:', the beginning of the key of an id's tokens, 4 the channel,
--       5 the second of the last read that is not written yet, 0 if there is none
-- Replies the record as it was, packed, or 'none' or 'unreadable'.
local h, none, id = fields(KEYS[1])
if none == false then return no_session(none) end
id = h and h[1] or id
local token, message, others = ARGV[1], ARGV[2], nil
if id then
  local tokens = ARGV[3] .. id
  -- A cluster may be moving this key: then this fails, before anything is changed.
  call('SREM', tokens, token)
  -- pcall: what that has emptied is a key that a cluster may think to be elsewhere.
  others = redis.pcall('SCARD', tokens)
end
call('DEL', KEYS[1])
if id then
  call('ZREM', KEYS[2], token .. ':' .. id)
  call('ZREM', KEYS[4], message .. ':' .. id)
  if others == 0 or type(others) == 'table' and string.find(others.err, 'non local key', 1, true) then
    call('ZREM', KEYS[3], id)
  elseif type(others) == 'table' then
    -- A right that the user lacks. There may be others: better one id too many among the active.
  elseif ARGV[5] ~= '0' then
    call('ZADD', KEYS[3], 'GT', ARGV[5], id)
  end
end
call('PUBLISH', ARGV[4], message)
return h and pack(h) or no_session(none)
