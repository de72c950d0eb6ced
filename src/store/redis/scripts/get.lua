-- get: counts a read and renews the session.
-- KEYS    1 the session hash, 2 APP:_sessions, 3 APP:_users, 4 SESSIONS
-- ARGV    1 now, 2 TOKEN, 3 'APP:TOKEN', 4 'ns:APP:us:', the prefix of the key of an id's tokens
-- Returns the packed record as it was before, or 'none' or 'unreadable'. An expired session is returned unchanged.
local h, missing = fields(KEYS[1])
if not h then return missing end
local now = ARGV[1]
local idle = now - h[5]
if not expired(idle, h[4]) then
  index_token(ARGV[4] .. h[1], ARGV[2])
  local r, ttl = add(h[2], 1), renew(idle, h[4], h[7])
  if not ttl then
    call('HSET', KEYS[1], 'r', r)
  else
    if ttl == h[4] then
      call('HSET', KEYS[1], 'r', r, 'la', now)
    else
      call('HSET', KEYS[1], 'r', r, 'la', now, 'ttl', ttl)
    end
    reindex(h, now, ttl, ARGV[2], ARGV[3])
  end
end
return pack(h)
