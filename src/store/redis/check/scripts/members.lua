-- Finds members of ns:APP:_sessions (TOKEN:ID) or of ns:SESSIONS (APP:TOKEN:ID) without a session.
-- ARGV    4 the app, or '' for SESSIONS, then members
-- Returns 1 for each member without a session, 0 for the others.
local key = ARGV[4] == '' and ENDS or PREFIX .. ARGV[4] .. ':_sessions'
local orphans = {}
for i = 5, #ARGV do
  local member = ARGV[i]
  -- Splits at the first colons only: an id may contain more.
  local app, token, id = string.match(ARGV[4] == '' and member or ARGV[4] .. ':' .. member, '^([^:]*):([^:]*):(.*)$')
  local orphan = not (app and lives(app, token, id)) and try('ZSCORE', key, member)
  orphan = type(orphan) == 'string'
  if orphan and REPAIR then redis.call('ZREM', key, member) end
  orphans[#orphans + 1] = orphan and 1 or 0
end
return orphans
