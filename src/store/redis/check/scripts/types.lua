-- Finds keys of a wrong type, which nobody can use, and removes them.
-- ARGV  4… a key and the type that it should have
-- Replies 1 for each key of another type, 0 for the others.
local wrong = {}
for i = 4, #ARGV, 2 do
  local type = redis.call('TYPE', ARGV[i]).ok
  local is = type ~= 'none' and type ~= ARGV[i + 1]
  if is and MEND then redis.call('DEL', ARGV[i]) end
  wrong[#wrong + 1] = is and 1 or 0
end
return wrong
