-- touch: writes the reads of many sessions at once. What was removed meanwhile stays removed.
-- KEYS  1 SESSIONS
-- ARGV  1 'ns:', the beginning of every key, and what follows the app in the key of: 2 the sessions, 3 the users,
--       4 the tokens of an id; then for each session: APP, TOKEN, how many reads, and the second of the last one
-- Replies how many sessions have an index that is none.
local call, try, find = redis.call, redis.pcall, string.find
-- A cluster, whose keys have a tag in braces, may be moving them: then this fails, before anything is changed.
if string.byte(KEYS[1]) == 123 then
  for i = 5, #ARGV, 4 do
    local prefix = ARGV[1] .. ARGV[i]
    call('EXISTS', prefix .. ':' .. ARGV[i + 1], prefix .. ARGV[2], prefix .. ARGV[3])
  end
end

-- Indexes are written at the end, each at once: what of each app goes into them, and how many of its sessions.
local apps, ends = {}, { 'ZADD', KEYS[1] }

local function indexes(app)
  local prefix = ARGV[1] .. app
  local new = {
    sessions = { 'ZADD', prefix .. ARGV[2] },
    -- GT: another session of this id may have been renewed later.
    users = { 'ZADD', prefix .. ARGV[3], 'GT' },
    renewed = 0,
    moved = 0,
  }
  apps[app] = new
  return new
end

for i = 5, #ARGV, 4 do
  local app, token, reads, la = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local key = ARGV[1] .. app .. ':' .. token
  local h = try('HMGET', key, 'id', 'r', 'ttl', 'la', 'no_resave')
  local id, r, ttl, last = h[1], h[2], h[3], h[4]
  if id and r and ttl and last and find(r .. ' ' .. ttl .. ' ' .. last, '^%d+ %d+ %d+$') then
    local idle = la - last
    -- Lua counts in doubles, and Redis writes 15 digits exactly.
    local count = math.min(r + reads, 999999999999999)
    if idle <= 0 then
      -- Renewed in this second already, or by a clock ahead of ours: the indexes are right as they are.
      call('HSET', key, 'r', count)
    else
      local into, member = apps[app] or indexes(app), token .. ':' .. id
      if h[5] == '1' then
        -- Never renewed: what la gains, ttl loses, and the end stays.
        call('HSET', key, 'r', count, 'la', la, 'ttl', ttl - idle)
      else
        call('HSET', key, 'r', count, 'la', la)
        ends[#ends + 1], ends[#ends + 2] = math.min(la + ttl, 999999999999999), app .. ':' .. member
        into.moved = into.moved + 1
      end
      local sessions, users = into.sessions, into.users
      sessions[#sessions + 1], sessions[#sessions + 2] = la, member
      users[#users + 1], users[#users + 2] = la, id
      into.renewed = into.renewed + 1
      -- Where it belongs anyway: an index that was lost comes back with the next use. What fails here is not missed.
      try('SADD', ARGV[1] .. app .. ARGV[4] .. id, token)
    end
  end
end

-- An index of a wrong type must not keep the others from being written.
local function fails(command)
  return type(try(unpack(command))) == 'table'
end

local failed, lost = 0, #ends > 2 and fails(ends)
for _, into in pairs(apps) do
  local unlisted, inactive = fails(into.sessions), fails(into.users)
  failed = failed + ((unlisted or inactive) and into.renewed or lost and into.moved or 0)
end
return failed
