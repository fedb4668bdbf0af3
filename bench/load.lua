-- Asks the same address again and again, with one session after the other of a file; or sends its lines as codes.
-- wrk -s load.lua URL -- FILE PATH [login]
local requests, number = {}, 0

function init(arguments)
  local file, path, kind = arguments[1], arguments[2], arguments[3]
  for line in io.lines(file) do
    if kind == "login" then
      local headers = { ["Content-Type"] = "application/json" }
      requests[#requests + 1] = wrk.format("POST", path, headers, '{"code":"' .. line .. '"}')
    else
      local headers = { ["Cookie"] = line, ["X-Request-Id"] = "0123456789abcdef0123456789abcdef" }
      requests[#requests + 1] = wrk.format("GET", path, headers)
    end
  end
end

function request()
  number = number % #requests + 1
  return requests[number]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format('{"requests": %d, "microseconds": %d, "p50": %.1f, "p99": %.1f, "refused": %d, "lost": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), errors.status,
    errors.connect + errors.read + errors.write + errors.timeout))
end
