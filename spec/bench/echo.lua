-- echo.lua: the server's CPU time of an echoed message of 64 bytes, with 1, 50 and 1,000
-- connections, against the server in C.

local bench = dofile "spec/bench/bench.lua"

local SECONDS = 2

local figures = {}
for i, conns in ipairs {1, 50, 1000} do
  local load = ("echo %d %g 64"):format(conns, SECONDS)
  local function cost(server)
    return function() return bench.load(server, load, "cpu_ns_per_request") end
  end
  figures[i] = {
    key = tostring(conns),
    what = ("echo, %d connections, CPU a request"):format(conns),
    unit = "ns",
    ours = cost(bench.script("server.lua echo")),
    baseline = cost("build/bench/echo_libev 0 echo"),
    against = "C",
    judge = "ratio",
    limit = 1.12,
  }
end
bench.main(figures)
