-- wipe: removes a batch of expired sessions; to be called until nothing is left.
-- KEYS  1 SESSIONS
-- ARGV  1 now, 2 the most sessions to look at, 3 'ns:', the beginning of every key, and what follows the app in the key
--       of: 4 the sessions, 5 the users, 6 the tokens of an id, and 7 the channel
-- Replies how many expired sessions were removed, how many members are left that are due, and how many were looked at. Each
-- of these is not due any more, so that every batch makes progress.
local wiped, now = 0, tonumber(ARGV[1])
local members = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[1], 'LIMIT', 0, ARGV[2])
-- A cluster may be moving keys: then this fails, before anything is changed.
for _, member in ipairs(members) do
  local app, token, id = string.match(member, '^([^:]*):([^:]*):(.*)$')
  if app then
    local prefix = ARGV[3] .. app
    redis.call('EXISTS', prefix .. ':' .. token, prefix .. ARGV[4], prefix .. ARGV[5], prefix .. ARGV[6] .. id)
  end
end
for _, member in ipairs(members) do
  -- The first two colons only: an id may hold more.
  local app, token, id = string.match(member, '^([^:]*):([^:]*):(.*)$')
  local lives = false
  if app then
    local key = ARGV[3] .. app .. ':' .. token
    local h, none, found = fields(key)
    if h and h[1] == id then
      local ends = h[5] + h[4]
      lives = ends >= now
      if lives then
        -- Renewed, but its entry here was not: the hash is right.
        redis.call('ZADD', KEYS[1], ends, member)
      else
        wiped = wiped + redis.call('DEL', key)
        -- Somebody may know an end that comes later: his own clock's, or one before a peer has shortened it.
        redis.call('PUBLISH', ARGV[7], app .. ':' .. token)
      end
    elseif none == 0 and (not found or found == id) then
      -- Nobody can read it, and its time is over.
      redis.call('DEL', key)
    end
  end
  if not lives then
    redis.call('ZREM', KEYS[1], member)
    if app then
      local prefix = ARGV[3] .. app
      local tokens = prefix .. ARGV[6] .. id
      -- pcall: one index of a wrong type must not stop the wiper for everybody, and what is emptied is a key that a cluster
      -- may think to be elsewhere.
      redis.pcall('ZREM', prefix .. ARGV[4], token .. ':' .. id)
      redis.pcall('SREM', tokens, token)
      if redis.pcall('EXISTS', tokens) ~= 1 then redis.pcall('ZREM', prefix .. ARGV[5], id) end
    end
  end
end
-- pcall: see above.
local left = redis.pcall('ZCOUNT', KEYS[1], '-inf', '(' .. ARGV[1])
if type(left) ~= 'number' then left = 0 end
return { wiped, left, #members }
