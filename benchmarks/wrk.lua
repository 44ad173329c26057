-- What wrk sends and tells: POST of the file BODY as KIND; when done, one line of JSON.
-- With EACH set, every request carries its time in X-Request-ID, which Convoscope sends back, so that the latencies of
-- answers (2xx) are told apart from those of refusals (503 with Retry-After) and of anything else.
local ffi = require("ffi")
ffi.cdef("typedef struct { long s; long ns; } moment; int clock_gettime(int clock, moment *now);")
local moment = ffi.new("moment")

local function now() -- microseconds
  ffi.C.clock_gettime(1, moment)
  return tonumber(moment.s) * 1000000 + math.floor(tonumber(moment.ns) / 1000)
end

local file = assert(io.open(os.getenv("BODY"), "rb"))
wrk.method, wrk.body = "POST", file:read("*a")
wrk.headers["Content-Type"] = os.getenv("KIND")
file:close()

served, refused, failed, latencies = 0, 0, 0, {} -- global, so that done() can read them of the thread

if os.getenv("EACH") then
  function request()
    wrk.headers["X-Request-ID"] = string.format("%d", now())
    return wrk.format()
  end

  function response(status, headers)
    local sent = tonumber(headers["x-request-id"])
    if status >= 200 and status < 300 and sent then
      served = served + 1
      latencies[served] = now() - sent
    elseif status == 503 and headers["retry-after"] then
      refused = refused + 1
    else
      failed = failed + 1
    end
  end
end

local threads = {}
function setup(thread)
  table.insert(threads, thread)
end

local function percentile(sorted, share)
  return sorted[math.max(1, math.ceil(#sorted * share))] or 0
end

function done(summary, latency)
  local errors = summary.errors
  local broken = errors.connect + errors.read + errors.write + errors.timeout
  local ok, no, bad = summary.requests - errors.status, 0, errors.status
  local p50, p99 = latency:percentile(50), latency:percentile(99)
  if os.getenv("EACH") then
    ok, no, bad = threads[1]:get("served"), threads[1]:get("refused"), threads[1]:get("failed")
    local sorted = threads[1]:get("latencies")
    table.sort(sorted)
    p50, p99 = percentile(sorted, 0.5), percentile(sorted, 0.99)
  end
  print(string.format(
    'JSON {"seconds": %f, "served": %d, "refused": %d, "failed": %d, "p50": %f, "p99": %f}',
    summary.duration / 1e6, ok, no, bad + broken, p50 / 1e3, p99 / 1e3))
end
