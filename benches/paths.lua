-- Asks for the paths that the lines of the file PATHS hold, in turn: METHOD and BODY say how, THREADS how many ask.
local threads = 0
function setup(thread)
  threads = threads + 1
  thread:set("number", threads)
end

function init()
  local body = os.getenv("BODY")
  local headers = { ["Content-Type"] = body and "application/json" }
  requests = {}
  for path in io.lines(os.getenv("PATHS")) do
    requests[#requests + 1] = wrk.format(os.getenv("METHOD"), path, headers, body)
  end
  -- Each thread begins at another place.
  place = math.floor(#requests * (number - 1) / os.getenv("THREADS"))
end

function request()
  place = place % #requests + 1
  return requests[place]
end
