-- Session records: how a script reads the hash of a session and packs it into a reply.
-- Prepended to every script that reads session hashes.
--
-- Invariant: a script writes named fields only (HSET, and HDEL of `d`), and deletes a hash only to end its session. So
-- fields that this version does not know, written by a peer or by a newer version, survive every read and write, and go
-- with the session. The service does not carry them: the hash keeps them.
--
-- To read one more optional field: append its name to the HMGET below and to `FIELDS` of the decoder in Rust, send it
-- in `pack`, and decode it there. Peers' sessions lack it, so it must stay optional, and no index may depend on it.
--
-- Why numbers stay text where they can: Redis formats the number in an argument with 17 digits, which takes longer than
-- a small command.
local call, find, format = redis.call, string.find, string.format

-- The largest number that a script writes: Lua computes with doubles, and Redis formats 15 digits exactly.
local MAX_NUMBER = 999999999999999

-- Decimal digits, limited to MAX_NUMBER. Other text is returned as it is.
local function limit(digits)
  if #digits <= 15 or not find(digits, '^%d+$') then return digits end
  local significant = string.match(digits, '^0*(%d+)$')
  return #significant <= 15 and significant or format('%.0f', MAX_NUMBER)
end

-- The sum of two numbers as text, limited to MAX_NUMBER.
local function add(a, b)
  local sum = a + b
  return format('%d', sum < MAX_NUMBER and sum or MAX_NUMBER)
end

-- Reads a session hash: the list {id, r, w, ttl, la, ip, no_resave, d}, false in place of each absent field.
-- If there is no session: nil; then 'none' if there is no such hash, or 'unreadable'; then its id, if it has one.
-- Scripts reply these words, because a broken proxy replies nil or a number, and that must not read as "no such
-- session".
local function fields(key)
  local h = redis.pcall('HMGET', key, 'id', 'r', 'w', 'ttl', 'la', 'ip', 'no_resave', 'd')
  local id, r, w, ttl, la = h[1], h[2], h[3], h[4], h[5]
  if id and r and w and ttl and la then
    if find(r .. ' ' .. w .. ' ' .. ttl .. ' ' .. la, '^%d+ %d+ %d+ %d+$') then
      if #r > 15 or #w > 15 or #ttl > 15 or #la > 15 then
        for i = 2, 5 do h[i] = limit(h[i]) end
      end
      return h
    end
    return nil, 'unreadable', id
  end
  -- A key of another type holds no session. Any other error leaves that open (a cluster may be moving the key, or the
  -- user may lack a permission), so the script fails.
  if h.err and not find(h.err, 'WRONGTYPE', 1, true) then error(h.err) end
  if h.err or h[1] or h[2] or h[3] or h[4] or h[5] or h[6] or h[7] or h[8] then return nil, 'unreadable', h[1] end
  return nil, 'none'
end

-- Packs a record into one string: a header of lengths and numbers, a line feed, then id, ip and d without separators.
-- Why: one string is several times cheaper to send and to parse than a list of eight.
local function pack(h)
  local id, ip = h[1], h[6] or ''
  return format('%d %d ', #id, #ip) .. h[2] .. ' ' .. h[3] .. ' ' .. h[4] .. ' ' .. h[5]
    .. (h[7] == '1' and ' 1\n' or ' 0\n') .. id .. ip .. (h[8] or '')
end

