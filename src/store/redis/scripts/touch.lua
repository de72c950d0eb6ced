-- touch: writes the reads of many sessions at once. What was removed meanwhile stays removed.
-- KEYS  1 SESSIONS
-- ARGV  1 'ns:', the beginning of every key, and what follows the app in the key of: 2 the sessions, 3 the users;
--       then for each session: APP, TOKEN, how many reads, and the second of the last one
-- Replies how many sessions have an index that is none.
local failed = 0
-- A cluster, whose keys have a tag in braces, may be moving them: then this fails, before anything is changed.
if string.byte(KEYS[1]) == 123 then
  for i = 4, #ARGV, 4 do
    local prefix = ARGV[1] .. ARGV[i]
    redis.call('EXISTS', prefix .. ':' .. ARGV[i + 1], prefix .. ARGV[2], prefix .. ARGV[3])
  end
end
for i = 4, #ARGV, 4 do
  local app, token, reads, la = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
  local prefix = ARGV[1] .. app
  local key = prefix .. ':' .. token
  local h = redis.pcall('HMGET', key, 'id', 'r', 'ttl', 'la', 'no_resave')
  local id, r, ttl, last = h[1], tonumber(h[2] or ''), tonumber(h[3] or ''), tonumber(h[4] or '')
  if id and r and ttl and last then
    if la <= last then
      -- Renewed in this second already, or by a clock ahead of ours: the indexes are right as they are.
      redis.call('HSET', key, 'r', r + reads)
    else
      local member, moved = token .. ':' .. id, nil
      if h[5] == '1' then
        -- Never renewed: what la gains, ttl loses, and the end stays.
        redis.call('HSET', key, 'r', r + reads, 'la', la, 'ttl', ttl - (la - last))
      else
        redis.call('HSET', key, 'r', r + reads, 'la', la)
        moved = redis.pcall('ZADD', KEYS[1], la + ttl, app .. ':' .. member)
      end
      -- pcall: one index of a wrong type must not keep the others of the batch from being written.
      local listed = redis.pcall('ZADD', prefix .. ARGV[2], la, member)
      -- GT: another session of this id may have been renewed later.
      local user = redis.pcall('ZADD', prefix .. ARGV[3], 'GT', la, id)
      for _, reply in ipairs({ listed, user, moved }) do
        if type(reply) == 'table' then
          failed = failed + 1
          break
        end
      end
    end
  end
end
return failed
