-- records: the records of some sessions of an id, from the first token on until they are about the most bytes.
-- KEYS    1 APP:us:ID, which only routes the call
-- ARGV    1 'ns:APP:', the prefix of the key of a session hash, 2 about the most bytes, then tokens
-- Returns a list for the first tokens: each record packed, or 'unreadable', or 'none'.
local list, bytes = {}, tonumber(ARGV[2])
for n = 3, #ARGV do
  if bytes <= 0 then break end
  local h, missing = fields(ARGV[1] .. ARGV[n])
  local found = h and pack(h) or missing
  if h then bytes = bytes - #found end
  list[n - 2] = found
end
return list
