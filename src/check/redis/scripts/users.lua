-- Finds ids in ns:APP:_users without a session.
-- ARGV  4 APP, 5… ids
-- Replies 1 for each that leads nowhere, 0 for the others.
local key = PREFIX .. ARGV[4] .. ':_users'

local function has_session(id)
  local tokens = try('SMEMBERS', PREFIX .. ARGV[4] .. ':us:' .. id)
  for _, token in ipairs(tokens) do
    if lives(ARGV[4], token, id) then return true end
  end
  return false
end

local nowhere = {}
for i = 5, #ARGV do
  local is = not has_session(ARGV[i]) and type(try('ZSCORE', key, ARGV[i])) == 'string'
  if is and MEND then redis.call('ZREM', key, ARGV[i]) end
  nowhere[#nowhere + 1] = is and 1 or 0
end
return nowhere
