-- idle.lua: bytes of RSS of an accepted connection with a greenlet parked in receive, with
-- 10,000 of them, against a connection of the server in C.

local bench = dofile "spec/bench/bench.lua"

local function bytes(server)
  return function() return bench.load(server, "idle 10000", "bytes_per_conn") end
end

bench.main {
  {
    key = "rss",
    what = "RSS of an idle connection",
    unit = "B",
    rounds = 3,
    ours = bytes(bench.script("server.lua echo")),
    baseline = bytes("build/bench/echo_libev 0 echo"),
    against = "C",
    judge = "value",
    limit = 2000,
  },
}
