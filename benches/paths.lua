-- Sends requests for the paths in the file PATHS in turn, with METHOD and BODY. THREADS is the number of threads.
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
  -- Each thread starts at a different path.
  place = math.floor(#requests * (number - 1) / os.getenv("THREADS"))
end

function request()
  place = place % #requests + 1
  return requests[place]
end
