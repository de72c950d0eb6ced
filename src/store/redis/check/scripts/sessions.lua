-- Compares sessions with the indexes, and repairs missing and wrong index entries.
-- ARGV    4 by how many seconds a score may differ, then APP and TOKEN of each
-- Returns for each: {} if there is no such session, {ID or ''} if the hash is unreadable, or {ID, the last second at
--         which it is alive, d or '', then for each fault its name and 1 if it was repaired, or 0}.
local slack = tonumber(ARGV[4])

local function score(key, member)
  local found = try('ZSCORE', key, member)
  return type(found) == 'string' and tonumber(found) or nil
end

local function session(app, token)
  local prefix = PREFIX .. app .. ':'
  local key = prefix .. token
  if redis.call('TYPE', key).ok ~= 'hash' then return {} end
  local h, _, found = fields(key)
  if not h then
    if REPAIR then remove_session(app, token, found) end
    return { found or '' }
  end
  local id, la, ttl, member = h[1], tonumber(h[5]), tonumber(h[4]), token .. ':' .. h[1]
  local session_end = tonumber(ends(la, ttl))
  local result = { id, string.format('%.0f', session_end), h[8] or '' }
  local function wrong(name, ...)
    local repaired = REPAIR and type(redis.pcall(...)) ~= 'table'
    result[#result + 1] = name
    result[#result + 1] = repaired and 1 or 0
  end

  local listed = score(prefix .. '_sessions', member)
  if not listed then
    wrong('missing from _sessions', 'ZADD', prefix .. '_sessions', la, member)
  elseif math.abs(listed - la) > slack then
    wrong('_sessions is not at la', 'ZADD', prefix .. '_sessions', la, member)
  end
  local due = score(ENDS, app .. ':' .. member)
  if not due then
    wrong('missing from SESSIONS', 'ZADD', ENDS, session_end, app .. ':' .. member)
  elseif due < session_end - slack then
    wrong('SESSIONS ends too early', 'ZADD', ENDS, session_end, app .. ':' .. member)
  elseif due > session_end + slack and h[7] ~= '1' then
    -- A peer shortens a session with no_resave with each read, and leaves its entry.
    wrong('SESSIONS ends too late', 'ZADD', ENDS, session_end, app .. ':' .. member)
  end
  if try('SISMEMBER', prefix .. 'us:' .. id, token) ~= 1 then
    wrong('missing from us:', 'SADD', prefix .. 'us:' .. id, token)
  end
  local user = score(prefix .. '_users', id)
  if not user then
    wrong('missing from _users', 'ZADD', prefix .. '_users', la, id)
  elseif user < la - slack then
    -- A later score is right: another session of the id may have been active then, and may be gone.
    wrong('_users is before la', 'ZADD', prefix .. '_users', 'GT', la, id)
  end
  return result
end

local results = {}
for i = 5, #ARGV, 2 do results[#results + 1] = session(ARGV[i], ARGV[i + 1]) end
return results
