-- wipe: removes a batch of expired sessions; call it until nothing is left.
-- KEYS    1 SESSIONS
-- ARGV    1 now, 2 the most sessions to look at, 3 'ns:', the prefix of every key, then what follows the app in the key
--         of: 4 its sessions, 5 its users, 6 the tokens of an id; 7 the channel
-- Returns {expired sessions removed, members still due, members looked at}. None of the members looked at is due
--         afterwards, so that every batch makes progress.
local wiped, now = 0, ARGV[1]
local members = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. now, 'LIMIT', 0, ARGV[2])
-- A cluster may be moving keys: the script then fails here, with nothing changed.
for _, member in ipairs(members) do
  local app, token, id = string.match(member, '^([^:]*):([^:]*):(.*)$')
  if app then
    local prefix = ARGV[3] .. app
    redis.call('EXISTS', prefix .. ':' .. token, prefix .. ARGV[4], prefix .. ARGV[5], prefix .. ARGV[6] .. id)
  end
end
for _, member in ipairs(members) do
  -- Splits at the first two colons only: an id may contain more.
  local app, token, id = string.match(member, '^([^:]*):([^:]*):(.*)$')
  local alive = false
  if app then
    local key = ARGV[3] .. app .. ':' .. token
    local h, missing, found = fields(key)
    if h and h[1] == id then
      alive = not expired(now - h[5], h[4])
      if alive then
        -- The session was renewed but its entry here was not: the hash is right.
        redis.call('ZADD', KEYS[1], ends(h[5], h[4]), member)
      else
        wiped = wiped + redis.call('DEL', key)
        -- A near cache may still take it for alive: its clock differs, or a peer has shortened the session.
        redis.call('PUBLISH', ARGV[7], app .. ':' .. token)
      end
    elseif missing == 'unreadable' and (not found or found == id) then
      -- Unreadable, and its time is over.
      redis.call('DEL', key)
    end
  end
  if not alive then
    redis.call('ZREM', KEYS[1], member)
    if app then
      local prefix = ARGV[3] .. app
      local tokens = prefix .. ARGV[6] .. id
      -- pcall: one index of a wrong type must not stop the wiper, and a cluster reports a key that was just emptied as
      -- moved.
      redis.pcall('ZREM', prefix .. ARGV[4], token .. ':' .. id)
      redis.pcall('SREM', tokens, token)
      if redis.pcall('EXISTS', tokens) ~= 1 then redis.pcall('ZREM', prefix .. ARGV[5], id) end
    end
  end
end
-- pcall: see above.
local left = redis.pcall('ZCOUNT', KEYS[1], '-inf', '(' .. now)
if type(left) ~= 'number' then left = 0 end
return { wiped, left, #members }
