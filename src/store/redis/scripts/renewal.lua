-- When a session ends, and how activity renews it: the same rules as `Record::expired`, `end` and `renew` in
-- src/session/record.rs. A property test compares the two.
-- Prepended, behind record.lua, to every script that renews or expires sessions.
--
-- `idle` is now - la, computed once by each script. It is negative if the clock that wrote la is ahead.

-- ends(la, ttl): the last second at which a session is alive, as text.
local ends = add

-- Whether a session has ended: it was idle for more than ttl seconds.
local function expired(idle, ttl) return ttl - idle < 0 end

-- Renews a session by activity now: returns the new ttl as text, and la becomes now; or nil if nothing changes, because
-- the session was active in this second or later already. A session with no_resave keeps its end: ttl loses what la
-- gains; past its end, nothing changes.
local function renew(idle, ttl, no_resave)
  if idle <= 0 then return end
  if no_resave ~= '1' then return ttl end
  if ttl - idle >= 0 then return format('%.0f', ttl - idle) end
end

-- Writes a renewal to the indexes. For get and set, whose KEYS are 2 APP:_sessions, 3 APP:_users, 4 SESSIONS.
local function reindex(h, la, ttl, token, app_token)
  local id = h[1]
  -- The end of a session with no_resave stays.
  if h[7] ~= '1' then call('ZADD', KEYS[4], ends(la, ttl), app_token .. ':' .. id) end
  call('ZADD', KEYS[2], la, token .. ':' .. id)
  -- GT: a clock ahead of ours may have renewed another session of this id.
  call('ZADD', KEYS[3], 'GT', la, id)
end

-- Adds a token to the tokens of its id. It should be there already; this restores an index that was lost (evicted, or
-- restored in part) with the next use, so that killsoid finds the session again. Comes before every write: while a
-- cluster is moving this key, the script then fails with nothing changed.
local function index_token(tokens, token)
  local added = redis.pcall('SADD', tokens, token)
  -- Any other reply is an error; the second call fails with it unchanged.
  if added ~= 0 and added ~= 1 and not find(added.err, 'WRONGTYPE', 1, true) then call('SADD', tokens, token) end
end

