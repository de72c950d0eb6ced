-- set: merges changes into d, counts the write and renews the session.
-- KEYS  1 the session hash, 2 APP:_sessions, 3 APP:_users, 4 SESSIONS
-- ARGV  1 now, 2 'TOKEN:', 3 'APP:', 4 the channel, 5 'APP:TOKEN', 6 the largest d in bytes,
--       7 the second of the last read that is not written yet, 0 if there is none,
--       then key and value of each change: the key as canonical JSON, the value as JSON, '' to remove the key
-- Replies the record as it was before, but with the new w and d, packed; false: no such session; 0: unreadable;
-- 1: d would be too large, nothing changed. An expired one stays untouched.
local find, sub, byte = string.find, string.sub, string.byte

-- A key as serde_json and JSON.stringify write it, whatever escapes it was written with; nil if it is no text.
local function canonical(key)
  -- Only these two escapes can stand for something that has a shorter form.
  if not find(key, '\\[u/]') then return key end
  local ok, list = pcall(cjson.decode, '[' .. key .. ']')
  if not ok then return nil end
  local short = { ['"'] = '\\"', ['\\'] = '\\\\', ['\b'] = '\\b', ['\f'] = '\\f', ['\n'] = '\\n', ['\r'] = '\\r', ['\t'] = '\\t' }
  return '"' .. string.gsub(list[1], '[%z\1-\31"\\]', function(c)
    return short[c] or string.format('\\u%04x', byte(c))
  end) .. '"'
end

-- Whether a text is a JSON literal or number.
local function scalar(text)
  if text == 'true' or text == 'false' or text == 'null' then return true end
  local rest = string.match(text, '^-?0(.*)$') or string.match(text, '^-?[1-9]%d*(.*)$')
  if not rest then return false end
  rest = string.match(rest, '^%.%d+(.*)$') or rest
  rest = string.match(rest, '^[eE][+-]?%d+(.*)$') or rest
  return rest == ''
end

local keys, values, places = {}, {}, {}

-- Later values win, at the place of the first.
local function put(key, value)
  local place = places[key]
  if not place then
    place = #keys + 1
    places[key] = place
    keys[place] = key
  end
  values[place] = value
end

-- Takes a flat JSON object apart. Values stay the text they are: cjson would round numbers. False if it is none.
local function parse(text)
  -- The same text with every escape masked: a quote is then the end of a string, and a backslash an error.
  local masked = text
  if find(text, '\\', 1, true) then
    masked = string.gsub(string.gsub(text, '\\["\\/bfnrt]', '__'), '\\u%x%x%x%x', '______')
    if find(masked, '\\', 1, true) then return false end
  end
  local _, last = find(masked, '^[ \t\n\r]*{[ \t\n\r]*')
  if not last then return false end
  local at = last + 1
  if byte(masked, at) == 125 then
    at = at + 1
  else
    while true do
      local _, colon, first, after = find(masked, '^()"[^"%z\1-\31]*"()[ \t\n\r]*:[ \t\n\r]*', at)
      if not colon then return false end
      local key = canonical(sub(text, first, after - 1))
      if not key then return false end
      local from = colon + 1
      local _, to = find(masked, '^"[^"%z\1-\31]*"', from)
      if not to then
        _, to = find(masked, '^[%w.+-]+', from)
        if not to or not scalar(sub(text, from, to)) then return false end
      end
      put(key, sub(text, from, to))
      local _, next, mark = find(masked, '^[ \t\n\r]*([,}])[ \t\n\r]*', to + 1)
      if not next then return false end
      at = next + 1
      if mark == '}' then break end
    end
  end
  return not find(masked, '[^ \t\n\r]', at)
end

local h, none = fields(KEYS[1])
if not h then return none end
local now, read, written_la = tonumber(ARGV[1]), tonumber(ARGV[7]), tonumber(h[5])
if read > written_la then
  if h[7] == '1' then h[4] = h[4] - (read - written_la) end
  h[5] = ARGV[7]
end
local idle = now - h[5]
local left = h[4] - idle
if left < 0 then return pack(h) end
if h[8] and h[8] ~= '' and not parse(h[8]) then return 0 end

for i = 8, #ARGV, 2 do put(ARGV[i], ARGV[i + 1]) end
local pairs_left = {}
for i = 1, #keys do
  if values[i] ~= '' and values[i] ~= 'null' then
    pairs_left[#pairs_left + 1] = keys[i] .. ':' .. values[i]
  end
end
local d = #pairs_left > 0 and '{' .. table.concat(pairs_left, ',') .. '}'
if d and #d > tonumber(ARGV[6]) then return 1 end

-- The reply says what was there before the write, so it is made of the old la and ttl.
h[3] = string.format('%.0f', h[3] + 1)
h[8] = d
local written = { 'w', h[3] }
if d then
  written[3], written[4] = 'd', d
else
  redis.call('HDEL', KEYS[1], 'd')
end
-- The same renewal as in get.
if now > written_la then
  local member = ARGV[2] .. h[1]
  written[#written + 1], written[#written + 2] = 'la', now
  if h[7] == '1' then
    written[#written + 1], written[#written + 2] = 'ttl', left
  else
    redis.call('ZADD', KEYS[4], now + h[4], ARGV[3] .. member)
  end
  redis.call('ZADD', KEYS[2], now, member)
  redis.call('ZADD', KEYS[3], 'GT', now, h[1])
end
redis.call('HSET', KEYS[1], unpack(written))
redis.call('PUBLISH', ARGV[4], ARGV[5])
return pack(h)
