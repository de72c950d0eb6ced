-- soid: all sessions of an id at one moment, in no order, if they are few and small.
-- KEYS  1 APP:us:ID
-- ARGV  1 'ns:APP:', the beginning of a session hash's key, 2 the most sessions, 3 about the most bytes
-- Replies 'all', then tokens, each followed by its packed record, or 'unreadable'. Expired ones are among them.
-- Replies 1 instead if there are more: see places.lua.
local most, bytes = tonumber(ARGV[2]), tonumber(ARGV[3])
-- One more than the most: then there are too many.
local tokens = call('SRANDMEMBER', KEYS[1], most + 1)
if #tokens > most then return 1 end
local list, count = { 'all' }, 1
for _, token in ipairs(tokens) do
  local h, none = fields(ARGV[1] .. token)
  if none ~= false then
    local found = h and pack(h) or no_session(none)
    if h then bytes = bytes - #found end
    if bytes < 0 then return 1 end
    list[count + 1] = token
    list[count + 2] = found
    count = count + 2
  end
end
return list
