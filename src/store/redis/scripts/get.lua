-- get: counts the read and renews the session.
-- KEYS  1 the session hash, 2 APP:_sessions, 3 APP:_users, 4 SESSIONS
-- ARGV  1 now, 2 'TOKEN:', 3 'APP:', 4 'ns:APP:us:', the beginning of the key of an id's tokens
-- Replies the record as it was before, packed, or 'none' or 'unreadable'. An expired one stays untouched.
local h, none = fields(KEYS[1])
if not h then return no_session(none) end
local now = ARGV[1]
local idle = now - h[5]
local left = h[4] - idle
if left >= 0 then
  index_token(ARGV[4] .. h[1], string.sub(ARGV[2], 1, -2))
  local r = add(h[2], 1)
  if idle <= 0 then
    -- Renewed in this second already, or by a clock ahead of ours: the indexes are right as they are.
    call('HSET', KEYS[1], 'r', r)
  else
    local member = ARGV[2] .. h[1]
    if h[7] == '1' then
      -- Never renewed: what la gains, ttl loses, and the end stays.
      call('HSET', KEYS[1], 'r', r, 'la', now, 'ttl', left)
    else
      call('HSET', KEYS[1], 'r', r, 'la', now)
      call('ZADD', KEYS[4], add(now, h[4]), ARGV[3] .. member)
    end
    call('ZADD', KEYS[2], now, member)
    -- GT: another session of this id may have been renewed by a clock ahead of ours.
    call('ZADD', KEYS[3], 'GT', now, h[1])
  end
end
return pack(h)
