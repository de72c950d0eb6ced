-- Put in front of every script that reads a session hash.
-- To write a number as text takes Redis longer than to call a command: what came as text is passed on as text.
local call, find, format = redis.call, string.find, string.format

-- The largest number that is written or counted with: Lua counts in doubles, and Redis writes 15 digits exactly.
local MOST = 999999999999999

-- A number as text, within what is counted exactly: one that is larger counts as the largest.
local function bounded(digits)
  if #digits <= 15 or not find(digits, '^%d+$') then return digits end
  local rest = string.match(digits, '^0*(%d+)$')
  return #rest <= 15 and rest or format('%.0f', MOST)
end

-- The sum of two numbers, within the same.
local function add(a, b) return math.min(a + b, MOST) end

-- The fields of a session hash as a list: id, r, w, ttl, la, ip, no_resave, d; false where there is none.
-- If they make no session: nil, what to reply (false: no such hash, 0: unreadable), and the id if there is one.
local function fields(key)
  local h = redis.pcall('HMGET', key, 'id', 'r', 'w', 'ttl', 'la', 'ip', 'no_resave', 'd')
  local id, r, w, ttl, la = h[1], h[2], h[3], h[4], h[5]
  if id and r and w and ttl and la then
    if find(r .. ' ' .. w .. ' ' .. ttl .. ' ' .. la, '^%d+ %d+ %d+ %d+$') then
      if #r > 15 or #w > 15 or #ttl > 15 or #la > 15 then
        for i = 2, 5 do h[i] = bounded(h[i]) end
      end
      return h
    end
    return nil, 0, id
  end
  -- A key of another type is no session. Of one that cannot be read nobody can tell what is in it: it may be on its way
  -- to another node of a cluster, or the user may lack the right.
  if h.err and not find(h.err, 'WRONGTYPE', 1, true) then error(h.err) end
  if h.err or h[1] or h[2] or h[3] or h[4] or h[5] or h[6] or h[7] or h[8] then return nil, 0, h[1] end
  return nil, false
end

-- What get, set and kill reply for what is no session: words, as a server or proxy that replies nonsense replies nil or a
-- number, and that must not be taken for "no such session".
local function no_session(none) return none == 0 and 'unreadable' or 'none' end

-- Adds the token to those of its id, where it belongs anyway: an index that was lost (evicted, restored in part) comes back
-- with the next use, and a logout of all sessions of the id finds this one again. Before anything else is changed: a
-- cluster may be moving this key, and then this fails.
local function index_token(tokens, token)
  local added = redis.pcall('SADD', tokens, token)
  -- Once more, so that the script fails with the error as it is.
  if type(added) == 'table' and not find(added.err, 'WRONGTYPE', 1, true) then call('SADD', tokens, token) end
end

-- The fields as one string: a header of lengths and numbers, a line feed, then id, ip and d without anything between.
-- One string is several times cheaper to send, to parse and to read than a list of eight.
local function pack(h)
  local id, ip = h[1], h[6] or ''
  return format('%d %d ', #id, #ip) .. h[2] .. ' ' .. h[3] .. ' ' .. h[4] .. ' ' .. h[5]
    .. (h[7] == '1' and ' 1\n' or ' 0\n') .. id .. ip .. (h[8] or '')
end

