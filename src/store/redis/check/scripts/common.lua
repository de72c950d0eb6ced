-- Put in front of every script of a check, behind store/redis/scripts/record.lua.
-- KEYS  1 ns:SESSIONS
-- ARGV  1 'ns:', the beginning of every key, 2 '1' to mend, 3 the channel
-- Each script looks and mends in one go: what it removes or adds is as it says at that moment, whatever services do.
local ENDS, PREFIX, MEND, CHANNEL = KEYS[1], ARGV[1], ARGV[2] == '1', ARGV[3]

-- The reply, or an error as a table: a key of a wrong type has nothing of what is looked for. With any other error nobody
-- can tell what is there, as with a key of a cluster that is on its way to another node, and the script fails.
local function try(...)
  local reply = redis.pcall(...)
  local why = type(reply) == 'table' and reply.err
  if why and not string.find(why, 'WRONGTYPE', 1, true) then error(why) end
  return reply
end

-- Whether a session of this id is there.
local function lives(app, token, id)
  return try('HGET', PREFIX .. app .. ':' .. token, 'id') == id
end

-- Removes every trace of a session; an index of a wrong type has none.
local function forget(app, token, id)
  local prefix = PREFIX .. app .. ':'
  redis.call('DEL', prefix .. token)
  if id then
    local tokens, member = prefix .. 'us:' .. id, token .. ':' .. id
    try('ZREM', prefix .. '_sessions', member)
    try('ZREM', ENDS, app .. ':' .. member)
    try('SREM', tokens, token)
    if redis.call('EXISTS', tokens) == 0 then try('ZREM', prefix .. '_users', id) end
  end
  redis.call('PUBLISH', CHANNEL, app .. ':' .. token)
end
