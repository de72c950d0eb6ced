-- set: merges changes into d, counts a write and renews the session.
-- KEYS    1 the session hash, 2 APP:_sessions, 3 APP:_users, 4 SESSIONS
-- ARGV    1 now, 2 TOKEN, 3 'APP:TOKEN', 4 the channel, 5 the largest d in bytes, 6 the second of the last buffered
--         read, or 0, 7 'ns:APP:us:', the prefix of the key of an id's tokens, then key and value of each change: the
--         key as canonical JSON, the value as JSON, or '' to remove the key
-- Returns the packed record as it was before, but with the new w and d; or 'none', 'unreadable', or 'large' if d would
--         be too large and nothing was changed. An expired session is returned unchanged.
local sub = string.sub

-- Rewrites a JSON string with the escapes that serde_json and JSON.stringify use; nil if it is not valid.
local function canonical(key)
  -- Only these two escapes have a shorter form.
  if not find(key, '\\[u/]') then return key end
  local ok, list = pcall(cjson.decode, '[' .. key .. ']')
  if not ok then return nil end
  local short = {
    ['"'] = '\\"', ['\\'] = '\\\\', ['\b'] = '\\b', ['\f'] = '\\f', ['\n'] = '\\n', ['\r'] = '\\r', ['\t'] = '\\t',
  }
  return '"' .. string.gsub(list[1], '[%z\1-\31"\\]', function(c)
    return short[c] or format('\\u%04x', string.byte(c))
  end) .. '"'
end

-- Whether a text is a JSON literal or number.
local function scalar(text)
  if find(text, '^-?[1-9]%d*$') or text == 'true' or text == 'false' or text == 'null' then return true end
  local rest = string.match(text, '^-?0(.*)$') or string.match(text, '^-?[1-9]%d*(.*)$')
  if not rest then return false end
  rest = string.match(rest, '^%.%d+(.*)$') or rest
  rest = string.match(rest, '^[eE][+-]?%d+(.*)$') or rest
  return rest == ''
end

local keys, count, values = {}, 0, {}

-- Later values win; the key keeps its first position.
local function put(key, value)
  if not values[key] then
    count = count + 1
    keys[count] = key
  end
  values[key] = value
end

-- Parses a flat JSON object into keys and values; false if it is not one. Values stay text, as cjson would round
-- numbers.
local function parse(text)
  -- Masks every escape: any quote left then ends a string, and any backslash left is an error.
  local masked = text
  if find(text, '\\', 1, true) then
    masked = string.gsub(string.gsub(text, '\\["\\/bfnrt]', '__'), '\\u%x%x%x%x', '______')
    if find(masked, '\\', 1, true) then return false end
  end
  local _, last, mark = find(masked, '^[ \t\n\r]*{[ \t\n\r]*(}?)')
  if not last then return false end
  while mark ~= '}' do
    -- One pair with the comma or brace behind it, and the positions where the key ends and the value begins and ends.
    local from, to, colon, value, stop, next = find(masked,
      '^"[^"%z\1-\31]*"()[ \t\n\r]*:[ \t\n\r]*()"[^"%z\1-\31]*"()[ \t\n\r]*([,}])[ \t\n\r]*', last + 1)
    if not from then
      from, to, colon, value, stop, next = find(masked,
        '^"[^"%z\1-\31]*"()[ \t\n\r]*:[ \t\n\r]*()[%w.+-]+()[ \t\n\r]*([,}])[ \t\n\r]*', last + 1)
      if not from or not scalar(sub(text, value, stop - 1)) then return false end
    end
    local key = canonical(sub(text, from, colon - 1))
    if not key then return false end
    put(key, sub(text, value, stop - 1))
    last, mark = to, next
  end
  return not find(masked, '[^ \t\n\r]', last + 1)
end

local h, missing = fields(KEYS[1])
if not h then return missing end
local id, d, now, read = h[1], h[8], ARGV[1], ARGV[6]
local stored_la, stored_ttl = h[5], h[4]
-- A buffered read renews the session for this script and its reply; the flusher writes it later.
local renewed = renew(read - stored_la, stored_ttl, h[7])
if renewed then h[4], h[5] = renewed, read end
if expired(now - h[5], h[4]) then return pack(h) end
if d and d ~= '' and not parse(d) then return 'unreadable' end

for i = 8, #ARGV, 2 do put(ARGV[i], ARGV[i + 1]) end
local kept = 0
for i = 1, count do
  local key = keys[i]
  local value = values[key]
  if value ~= '' and value ~= 'null' then
    kept = kept + 1
    keys[kept] = key .. ':' .. value
  end
end
d = kept > 0 and '{' .. table.concat(keys, ',', 1, kept) .. '}'
if d and #d > tonumber(ARGV[5]) then return 'large' end

index_token(ARGV[7] .. id, ARGV[2])
local key, w, la = KEYS[1], add(h[3], 1), stored_la
local ttl = renew(now - stored_la, stored_ttl, h[7])
if ttl then
  la = now
  reindex(h, la, ttl, ARGV[2], ARGV[3])
  if ttl ~= stored_ttl then call('HSET', key, 'ttl', ttl) end
end
if d then
  call('HSET', key, 'w', w, 'la', la, 'd', d)
else
  call('HDEL', key, 'd')
  call('HSET', key, 'w', w, 'la', la)
end
call('PUBLISH', ARGV[4], ARGV[3])
-- With la and ttl from before the write, as the reply says how long the session was idle.
h[3], h[8] = w, d
return pack(h)
