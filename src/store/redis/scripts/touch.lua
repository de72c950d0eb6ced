-- touch: writes the buffered reads of many sessions at once. A session that was removed in the meantime stays removed.
-- KEYS    1 SESSIONS
-- ARGV    1 'ns:', the prefix of every key, then what follows the app in the key of: 2 its sessions, 3 its users, 4 the
--         tokens of an id; then for each session: APP, TOKEN, the number of reads, the second of the last one
-- Returns how many sessions have an index that could not be written.
local try = redis.pcall
-- A cluster, whose keys have a hash tag in braces, may be moving them: the script then fails here, with nothing
-- changed.
if string.byte(KEYS[1]) == 123 then
  for i = 5, #ARGV, 4 do
    local prefix = ARGV[1] .. ARGV[i]
    call('EXISTS', prefix .. ':' .. ARGV[i + 1], prefix .. ARGV[2], prefix .. ARGV[3])
  end
end

-- Index entries are collected for each app and written at the end, one command for each index.
local apps, session_ends = {}, { 'ZADD', KEYS[1] }

local function indexes(app)
  local prefix = ARGV[1] .. app
  local new = {
    sessions = { 'ZADD', prefix .. ARGV[2] },
    -- GT: another session of the id may have been renewed later.
    users = { 'ZADD', prefix .. ARGV[3], 'GT' },
    renewed = 0,
    end_moved = 0,
  }
  apps[app] = new
  return new
end

for i = 5, #ARGV, 4 do
  local app, token = ARGV[i], ARGV[i + 1]
  local key = ARGV[1] .. app .. ':' .. token
  -- Not `fields`: d may be large, and is not needed.
  local h = try('HMGET', key, 'id', 'r', 'ttl', 'la', 'no_resave')
  local id, r, ttl, la = h[1], h[2], h[3], h[4]
  if id and r and ttl and la and find(r .. ' ' .. ttl .. ' ' .. la, '^%d+ %d+ %d+$') then
    if #ttl > 15 or #la > 15 then ttl, la = limit(ttl), limit(la) end
    local reads, read = add(r, ARGV[i + 2]), ARGV[i + 3]
    local new_ttl = renew(read - la, ttl, h[5])
    if not new_ttl then
      call('HSET', key, 'r', reads)
    else
      local into, member = apps[app] or indexes(app), token .. ':' .. id
      if h[5] == '1' then
        call('HSET', key, 'r', reads, 'la', read, 'ttl', new_ttl)
      else
        call('HSET', key, 'r', reads, 'la', read)
        session_ends[#session_ends + 1], session_ends[#session_ends + 2] = ends(read, new_ttl), app .. ':' .. member
        into.end_moved = into.end_moved + 1
      end
      local sessions, users = into.sessions, into.users
      sessions[#sessions + 1], sessions[#sessions + 2] = read, member
      users[#users + 1], users[#users + 2] = read, id
      into.renewed = into.renewed + 1
      -- Restores an index that was lost, as `index_token` does, but ignores errors: the next use tries again.
      try('SADD', ARGV[1] .. app .. ARGV[4] .. id, token)
    end
  end
end

-- pcall: an index of a wrong type must not keep the others from being written.
local function fails(command)
  return type(try(unpack(command))) == 'table'
end

local failed, ends_failed = 0, #session_ends > 2 and fails(session_ends)
for _, into in pairs(apps) do
  local sessions_failed, users_failed = fails(into.sessions), fails(into.users)
  failed = failed + ((sessions_failed or users_failed) and into.renewed or ends_failed and into.end_moved or 0)
end
return failed
