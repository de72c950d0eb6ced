-- Finds tokens in ns:APP:us:ID that belong to no session of that id.
-- ARGV    4 on: APP, ID and TOKEN of each
-- Returns 1 for each token without a session, 0 for the others.
local orphans = {}
for i = 4, #ARGV, 3 do
  local app, id, token = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local key = PREFIX .. app .. ':us:' .. id
  local orphan = not lives(app, token, id) and try('SISMEMBER', key, token) == 1
  if orphan and REPAIR then redis.call('SREM', key, token) end
  orphans[#orphans + 1] = orphan and 1 or 0
end
return orphans
