-- soid: all sessions of an id at one moment, in no order, if they are few and small.
-- KEYS    1 APP:us:ID
-- ARGV    1 'ns:APP:', the prefix of the key of a session hash, 2 the most sessions, 3 about the most bytes
-- Returns {'all', then each token and its packed record, or 'unreadable'}, expired sessions included; or 1 if there are
--         more, which places.lua and records.lua then list in parts.
local most, bytes = tonumber(ARGV[2]), tonumber(ARGV[3])
-- One more than the most tells whether there are more.
local tokens = call('SRANDMEMBER', KEYS[1], most + 1)
if #tokens > most then return 1 end
local list, count = { 'all' }, 1
for _, token in ipairs(tokens) do
  local h, missing = fields(ARGV[1] .. token)
  if missing ~= 'none' then
    local found = h and pack(h) or missing
    if h then bytes = bytes - #found end
    if bytes < 0 then return 1 end
    list[count + 1] = token
    list[count + 2] = found
    count = count + 2
  end
end
return list
