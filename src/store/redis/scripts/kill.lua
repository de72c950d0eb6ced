-- kill: removes a session and all its index entries, also if it is expired or unreadable.
-- KEYS    1 the session hash, 2 APP:_sessions, 3 APP:_users, 4 SESSIONS
-- ARGV    1 TOKEN, 2 'APP:TOKEN', 3 'ns:APP:us:', the prefix of the key of an id's tokens, 4 the channel, 5 the second
--         of the last buffered read, or 0
-- Returns the packed record as it was before, or 'none' or 'unreadable'.
local h, missing, id = fields(KEYS[1])
if missing == 'none' then return missing end
id = h and h[1] or id
local token, message, others = ARGV[1], ARGV[2], nil
if id then
  local tokens = ARGV[3] .. id
  -- A cluster may be moving this key: the script then fails here, with nothing changed.
  call('SREM', tokens, token)
  -- pcall: a cluster reports a key that was just emptied as moved.
  others = redis.pcall('SCARD', tokens)
end
call('DEL', KEYS[1])
if id then
  call('ZREM', KEYS[2], token .. ':' .. id)
  call('ZREM', KEYS[4], message .. ':' .. id)
  if others == 0 or type(others) == 'table' and string.find(others.err, 'non local key', 1, true) then
    call('ZREM', KEYS[3], id)
  elseif type(others) == 'table' then
    -- The user may not run SCARD. There may be other sessions, so the id stays in _users: one too many counts less.
  elseif ARGV[5] ~= '0' then
    call('ZADD', KEYS[3], 'GT', ARGV[5], id)
  end
end
call('PUBLISH', ARGV[4], message)
return h and pack(h) or missing
