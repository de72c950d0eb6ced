-- set: merges changes into d, counts the write and renews the session.
-- KEYS  1 the session hash, 2 APP:_sessions, 3 APP:_users, 4 SESSIONS
-- ARGV  1 now, 2 TOKEN, 3 'APP:TOKEN', 4 the channel, 5 the largest d in bytes,
--       6 the second of the last read that is not written yet, 0 if there is none,
--       7 'ns:APP:us:', the beginning of the key of an id's tokens, then key and value of each change: the key as canonical JSON, the value as JSON, '' to remove the key
-- Replies the record as it was before, but with the new w and d, packed, or 'none' or 'unreadable', or 'large': d would be
-- too large, nothing changed. An expired one stays untouched.
local sub = string.sub

-- A key as serde_json and JSON.stringify write it, whatever escapes it was written with; nil if it is no text.
local function canonical(key)
  -- Only these two escapes can stand for something that has a shorter form.
  if not find(key, '\\[u/]') then return key end
  local ok, list = pcall(cjson.decode, '[' .. key .. ']')
  if not ok then return nil end
  local short = { ['"'] = '\\"', ['\\'] = '\\\\', ['\b'] = '\\b', ['\f'] = '\\f', ['\n'] = '\\n', ['\r'] = '\\r', ['\t'] = '\\t' }
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

-- Later values win, at the place of the first.
local function put(key, value)
  if not values[key] then
    count = count + 1
    keys[count] = key
  end
  values[key] = value
end

-- Takes a flat JSON object apart. Values stay the text they are: cjson would round numbers. False if it is none.
local function parse(text)
  -- The same text with every escape masked: a quote is then the end of a string, and a backslash an error.
  local masked = text
  if find(text, '\\', 1, true) then
    masked = string.gsub(string.gsub(text, '\\["\\/bfnrt]', '__'), '\\u%x%x%x%x', '______')
    if find(masked, '\\', 1, true) then return false end
  end
  local _, last, mark = find(masked, '^[ \t\n\r]*{[ \t\n\r]*(}?)')
  if not last then return false end
  while mark ~= '}' do
    -- One pair and the mark after it: where the key ends, where the value begins and ends.
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

local h, none = fields(KEYS[1])
if not h then return no_session(none) end
local id, ttl, la, fixed, d = h[1], h[4], h[5], h[7] == '1', h[8]
local now, read, stored = tonumber(ARGV[1]), tonumber(ARGV[6]), la
if read > tonumber(stored) then
  if fixed then
    if ttl - (read - la) < 0 then return pack(h) end
    -- As text: what is concatenated from a number has 14 digits.
    ttl = format('%.0f', ttl - (read - la))
  end
  la = ARGV[6]
  h[4], h[5] = ttl, la
end
local left = ttl - (now - la)
if left < 0 then return pack(h) end
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
local key, w = KEYS[1], format('%.0f', add(h[3], 1))
-- The same renewal as in get.
if now > tonumber(stored) then
  stored = ARGV[1]
  if not fixed then call('ZADD', KEYS[4], add(now, ttl), ARGV[3] .. ':' .. id) end
  call('ZADD', KEYS[2], stored, ARGV[2] .. ':' .. id)
  call('ZADD', KEYS[3], 'GT', stored, id)
  if fixed then call('HSET', key, 'ttl', left) end
end
if d then
  call('HSET', key, 'w', w, 'la', stored, 'd', d)
else
  call('HDEL', key, 'd')
  call('HSET', key, 'w', w, 'la', stored)
end
call('PUBLISH', ARGV[4], ARGV[3])
-- What was there before the write, so with the old la and ttl.
h[3], h[8] = w, d
return pack(h)
