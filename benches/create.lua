-- Creates sessions of many ids in the app `made`, with a little data. If TOKENS is set, writes the tokens to the files
-- TOKENS.<thread>.
local headers = { ["Content-Type"] = "application/json" }
local body = '{"name":"Ada","role":"admin","cart":3}'

local threads = 0
function setup(thread)
  threads = threads + 1
  thread:set("number", threads)
end

function init()
  -- Formatted in advance: formatting costs wrk more than sending, and wrk shares the processors with the service.
  requests = {}
  for user = 1, 50000 do
    local path = "/made/create/user-" .. number .. "-" .. user .. "?ip=203.0.113.7"
    requests[user] = wrk.format("PUT", path, headers, body)
  end
  place = 0
  local tokens = os.getenv("TOKENS")
  if tokens then
    file = assert(io.open(tokens .. "." .. number, "w"))
    response = function(status, _, body)
      if status == 200 then file:write(body:sub(11, 74), "\n") end
    end
  end
end

function request()
  place = place % #requests + 1
  return requests[place]
end
