-- Asks for sessions whose tokens create.lua has written: METHOD, VERB and BODY say how.
local threads = 0
function setup(thread)
  threads = threads + 1
  thread:set("number", threads)
end

function init()
  requests = {}
  local headers = { ["Content-Type"] = os.getenv("BODY") and "application/json" }
  for token in io.lines(os.getenv("TOKENS") .. "." .. number) do
    requests[#requests + 1] = wrk.format(os.getenv("METHOD"), "/bench/" .. os.getenv("VERB") .. "/" .. token, headers, os.getenv("BODY"))
  end
  place = 0
end

function request()
  place = place % #requests + 1
  return requests[place]
end
