-- killall: removes a batch of the sessions of an app; to be called until nothing is left.
-- KEYS  1 APP:_sessions, 2 APP:_users, 3 SESSIONS
-- ARGV  1 'ns:APP:', the beginning of a session hash's key, 2 'ns:APP:us:', that of the key of an id's tokens, 3 'APP:',
--       4 the channel, 5 the most sessions to remove
-- Replies how many session hashes were removed, how many entries are left in the indexes, at least 1 if anything is, and how
-- many were looked at: each of them has left its index, so that every call makes progress.
local killed, budget = 0, tonumber(ARGV[5])

local function remove(token, id)
  local member = token .. ':' .. id
  killed = killed + redis.call('DEL', ARGV[1] .. token)
  -- pcall, here and below: what is emptied is a key that a cluster may think to be elsewhere.
  redis.pcall('ZREM', KEYS[3], ARGV[3] .. member)
  redis.pcall('SREM', ARGV[2] .. id, token)
  redis.call('PUBLISH', ARGV[4], ARGV[3] .. token)
end

local members = redis.call('ZRANGE', KEYS[1], 0, budget - 1)
local ids, found = {}, {}
for i, member in ipairs(members) do
  -- The first colon only: an id may hold more.
  local token, id = string.match(member, '^([^:]*):(.*)$')
  if token then
    found[i] = { token, id }
    ids[id] = true
    -- A cluster may be moving these keys: then this fails, before anything is changed.
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

-- With _sessions empty, what _users still names are ids whose tokens lost their index entry.
while budget > 0 do
  local id = redis.pcall('ZRANGE', KEYS[2], 0, 0)[1]
  if not id then return { killed, 0, ARGV[5] - budget } end
  -- pcall: a key of a wrong type holds no tokens, and must not be met again for ever.
  local tokens = redis.pcall('SPOP', ARGV[2] .. id, budget)
  for _, token in ipairs(tokens) do remove(token, id) end
  if tokens.err or redis.pcall('EXISTS', ARGV[2] .. id) ~= 1 then redis.pcall('ZREM', KEYS[2], id) end
  budget = budget - 1 - #tokens
end
-- What is emptied counts nothing; see above.
local left = 0
for i = 1, 2 do
  local count = redis.pcall('ZCOUNT', KEYS[i], '-inf', '+inf')
  if type(count) == 'number' then left = left + count end
end
return { killed, math.max(left, 1), ARGV[5] - budget }
