-- Put in front of every script of a check, behind store/redis/scripts/record.lua.
-- KEYS  1 ns:SESSIONS
-- ARGV  1 'ns:', the beginning of every key, 2 '1' to mend, 3 the channel
-- Each script looks and mends in one go: what it removes or adds is as it says at that moment, whatever services do.
local ENDS, PREFIX, MEND, CHANNEL = KEYS[1], ARGV[1], ARGV[2] == '1', ARGV[3]

-- Whether a session of this id is there.
local function lives(app, token, id)
  return redis.pcall('HGET', PREFIX .. app .. ':' .. token, 'id') == id
end

-- Removes every trace of a session; pcall: an index of a wrong type has none.
local function forget(app, token, id)
  local prefix = PREFIX .. app .. ':'
  redis.call('DEL', prefix .. token)
  if id then
    local tokens, member = prefix .. 'us:' .. id, token .. ':' .. id
    redis.pcall('ZREM', prefix .. '_sessions', member)
    redis.pcall('ZREM', ENDS, app .. ':' .. member)
    redis.pcall('SREM', tokens, token)
    if redis.call('EXISTS', tokens) == 0 then redis.pcall('ZREM', prefix .. '_users', id) end
  end
  redis.call('PUBLISH', CHANNEL, app .. ':' .. token)
end
