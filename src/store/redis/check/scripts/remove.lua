-- Removes a session that is of no use, if it still is the same.
-- ARGV  4 APP, 5 TOKEN, 6 ID, 7 d, '' if there is none
-- Replies 1 if it was.
local found = try('HMGET', PREFIX .. ARGV[4] .. ':' .. ARGV[5], 'id', 'd')
if not MEND or found[1] ~= ARGV[6] or (found[2] or '') ~= ARGV[7] then return 0 end
forget(ARGV[4], ARGV[5], ARGV[6])
return 1
