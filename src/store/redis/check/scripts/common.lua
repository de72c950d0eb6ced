-- Prepended to every script of a check, behind record.lua and renewal.lua of the store.
-- KEYS    1 ns:SESSIONS
-- ARGV    1 'ns:', the prefix of every key, 2 '1' to repair, 3 the channel
-- Invariant: each script looks and repairs atomically, so that a repair is right at that moment while services are at
-- work.
local ENDS, PREFIX, REPAIR, CHANNEL = KEYS[1], ARGV[1], ARGV[2] == '1', ARGV[3]

-- Runs a command; a WRONGTYPE error is returned as a table, because such a key contains nothing of what is looked for.
-- Any other error (a cluster may be moving the key) leaves open what the key contains, so the script fails.
local function try(...)
  local reply = redis.pcall(...)
  local why = type(reply) == 'table' and reply.err
  if why and not string.find(why, 'WRONGTYPE', 1, true) then error(why) end
  return reply
end

-- Whether a session with this id exists.
local function lives(app, token, id)
  return try('HGET', PREFIX .. app .. ':' .. token, 'id') == id
end

-- Removes a session and all its index entries, and ignores indexes of a wrong type.
local function remove_session(app, token, id)
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
