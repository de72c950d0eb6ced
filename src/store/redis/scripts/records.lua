-- records: some sessions of an id, as many of the first ones as are not too large together.
-- KEYS  1 APP:us:ID
-- ARGV  1 'ns:APP:', the beginning of a session hash's key, 2 about the most bytes, then tokens from 3 on
-- Replies a list that begins with the records of the first tokens: each packed, 'unreadable', or 'none'.
local list, bytes = {}, tonumber(ARGV[2])
for n = 3, #ARGV do
  if bytes <= 0 then break end
  local h, none = fields(ARGV[1] .. ARGV[n])
  local found = h and pack(h) or no_session(none)
  if h then bytes = bytes - #found end
  list[n - 2] = found
end
return list
