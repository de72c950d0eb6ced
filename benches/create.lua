-- Creates sessions of many ids with a little data. With TOKENS set, writes the tokens to TOKENS.<thread>.
local threads = 0
function setup(thread)
  threads = threads + 1
  thread:set("number", threads)
end

function init()
  math.randomseed(number * 7919)
  counter = 0
  local tokens = os.getenv("TOKENS")
  if tokens then
    file = assert(io.open(tokens .. "." .. number, "w"))
    response = function(status, _, body)
      if status == 200 then file:write(body:sub(11, 74), "\n") end
    end
  end
end

local headers = { ["Content-Type"] = "application/json" }
local body = '{"name":"Ada","role":"admin","cart":3}'

function request()
  counter = counter + 1
  return wrk.format("PUT", "/bench/create/user-" .. number .. "-" .. counter % 100000 .. "?ip=203.0.113.7", headers, body)
end
