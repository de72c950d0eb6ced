-- Finds members of ns:APP:_sessions (TOKEN:ID) or of ns:SESSIONS (APP:TOKEN:ID) without a session.
-- ARGV  4 the app, '' for SESSIONS, 5… members
-- Replies 1 for each that leads nowhere, 0 for the others.
local key = ARGV[4] == '' and ENDS or PREFIX .. ARGV[4] .. ':_sessions'
local nowhere = {}
for i = 5, #ARGV do
  local member = ARGV[i]
  -- The first colons only: an id may hold more.
  local app, token, id = string.match(ARGV[4] == '' and member or ARGV[4] .. ':' .. member, '^([^:]*):([^:]*):(.*)$')
  local is = not (app and lives(app, token, id)) and try('ZSCORE', key, member)
  is = type(is) == 'string'
  if is and MEND then redis.call('ZREM', key, member) end
  nowhere[#nowhere + 1] = is and 1 or 0
end
return nowhere
