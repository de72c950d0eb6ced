-- Finds and removes keys of a wrong type.
-- ARGV    4 on: a key and the type that it should have
-- Returns 1 for each key of another type, 0 for the others.
local wrong = {}
for i = 4, #ARGV, 2 do
  local type = redis.call('TYPE', ARGV[i]).ok
  local differs = type ~= 'none' and type ~= ARGV[i + 1]
  if differs and REPAIR then redis.call('DEL', ARGV[i]) end
  wrong[#wrong + 1] = differs and 1 or 0
end
return wrong
