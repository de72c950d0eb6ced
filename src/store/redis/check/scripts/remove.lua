-- Removes an unusable session, unless it has changed since it was looked at.
-- ARGV    4 APP, 5 TOKEN, 6 ID, 7 d, or '' if there was none
-- Returns 1 if the session was removed, or 0.
local found = try('HMGET', PREFIX .. ARGV[4] .. ':' .. ARGV[5], 'id', 'd')
if not REPAIR or found[1] ~= ARGV[6] or (found[2] or '') ~= ARGV[7] then return 0 end
remove_session(ARGV[4], ARGV[5], ARGV[6])
return 1
