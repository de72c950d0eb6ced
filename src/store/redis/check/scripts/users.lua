-- Finds ids in ns:APP:_users without a session, and those that were last active in the future.
-- ARGV  4 APP, 5 the last second that is no future, 6 by how much a score may differ, 7… ids
-- Replies for each: 1 if it leads nowhere, 2 if none of its sessions is as late, 0 for the others.
local app, present, slack = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local key = PREFIX .. app .. ':_users'

local function look(id)
  local score = try('ZSCORE', key, id)
  if type(score) ~= 'string' then return 0 end
  score = tonumber(score)
  local last
  for _, token in ipairs(try('SMEMBERS', PREFIX .. app .. ':us:' .. id)) do
    if lives(app, token, id) then
      -- Later than its sessions is right: another one may have been active then, and be gone.
      if score <= present then return 0 end
      last = math.max(last or 0, tonumber(try('HGET', PREFIX .. app .. ':' .. token, 'la')) or 0)
    end
  end
  if not last then
    if MEND then redis.call('ZREM', key, id) end
    return 1
  end
  if score <= last + slack then return 0 end
  if MEND then redis.call('ZADD', key, last, id) end
  return 2
end

local results = {}
for i = 7, #ARGV do results[#results + 1] = look(ARGV[i]) end
return results
