-- Finds ids in ns:APP:_users without a session, and ids whose last activity is in the future.
-- ARGV    4 APP, 5 the last second that is not in the future, 6 by how many seconds a score may differ, then ids
-- Returns for each id: 1 if it has no session, 2 if none of its sessions was active as late, 0 otherwise.
local app, present, slack = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local key = PREFIX .. app .. ':_users'

local function check(id)
  local score = try('ZSCORE', key, id)
  if type(score) ~= 'string' then return 0 end
  score = tonumber(score)
  local last
  for _, token in ipairs(try('SMEMBERS', PREFIX .. app .. ':us:' .. id)) do
    if lives(app, token, id) then
      -- A score later than its sessions is right: another session may have been active then, and may be gone.
      if score <= present then return 0 end
      last = math.max(last or 0, tonumber(try('HGET', PREFIX .. app .. ':' .. token, 'la')) or 0)
    end
  end
  if not last then
    if REPAIR then redis.call('ZREM', key, id) end
    return 1
  end
  if score <= last + slack then return 0 end
  if REPAIR then redis.call('ZADD', key, last, id) end
  return 2
end

local results = {}
for i = 7, #ARGV do results[#results + 1] = check(ARGV[i]) end
return results
