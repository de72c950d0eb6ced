-- killall: removes a batch of the sessions of an app; call it until nothing is left.
-- KEYS    1 APP:_sessions, 2 APP:_users, 3 SESSIONS
-- ARGV    1 'ns:APP:', the prefix of the key of a session hash, 2 'ns:APP:us:', the prefix of the key of an id's
--         tokens, 3 'APP:', 4 the channel, 5 the most sessions to remove
-- Returns {session hashes removed, index entries left (at least 1 if there are any), entries looked at}. Every entry
--         looked at has left its index, so that every call makes progress.
local killed, budget = 0, tonumber(ARGV[5])

local function remove(token, id)
  local member = token .. ':' .. id
  killed = killed + redis.call('DEL', ARGV[1] .. token)
  -- pcall, here and below: a cluster reports a key that was just emptied as moved.
  redis.pcall('ZREM', KEYS[3], ARGV[3] .. member)
  redis.pcall('SREM', ARGV[2] .. id, token)
  redis.call('PUBLISH', ARGV[4], ARGV[3] .. token)
end

local members = redis.call('ZRANGE', KEYS[1], 0, budget - 1)
local ids, found = {}, {}
for i, member in ipairs(members) do
  -- Splits at the first colon only: an id may contain more.
  local token, id = string.match(member, '^([^:]*):(.*)$')
  if token then
    found[i] = { token, id }
    ids[id] = true
    -- A cluster may be moving these keys: the script then fails here, with nothing changed.
    redis.call('EXISTS', ARGV[1] .. token)
    redis.call('EXISTS', ARGV[2] .. id)
  end
end
for i, member in ipairs(members) do
  if found[i] then remove(found[i][1], found[i][2]) end
  redis.call('ZREM', KEYS[1], member)
end
for id in pairs(ids) do
  if redis.pcall('EXISTS', ARGV[2] .. id) ~= 1 then redis.pcall('ZREM', KEYS[2], id) end
end
budget = budget - #members

-- Once _sessions is empty, an id left in _users has tokens that are missing from _sessions.
while budget > 0 do
  local id = redis.pcall('ZRANGE', KEYS[2], 0, 0)[1]
  if not id then return { killed, 0, ARGV[5] - budget } end
  -- pcall: a key of a wrong type holds no tokens, and must not stop every later call too.
  local tokens = redis.pcall('SPOP', ARGV[2] .. id, budget)
  for _, token in ipairs(tokens) do remove(token, id) end
  if tokens.err or redis.pcall('EXISTS', ARGV[2] .. id) ~= 1 then redis.pcall('ZREM', KEYS[2], id) end
  budget = budget - 1 - #tokens
end
-- pcall: see above; an emptied index counts as 0.
local left = 0
for i = 1, 2 do
  local count = redis.pcall('ZCOUNT', KEYS[i], '-inf', '+inf')
  if type(count) == 'number' then left = left + count end
end
return { killed, math.max(left, 1), ARGV[5] - budget }
