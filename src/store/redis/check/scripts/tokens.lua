-- Finds tokens in ns:APP:us:ID of no session of that id.
-- ARGV  4… APP, ID and TOKEN of each
-- Replies 1 for each that leads nowhere, 0 for the others.
local nowhere = {}
for i = 4, #ARGV, 3 do
  local app, id, token = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local key = PREFIX .. app .. ':us:' .. id
  local is = not lives(app, token, id) and try('SISMEMBER', key, token) == 1
  if is and MEND then redis.call('SREM', key, token) end
  nowhere[#nowhere + 1] = is and 1 or 0
end
return nowhere
