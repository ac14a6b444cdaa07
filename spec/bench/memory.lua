-- memory.lua: bytes of RSS of a greenlet in sleep(3600), with a million of them; against a
-- bare suspended coroutine, for which this program runs under plain luajit too.

local bench = dofile "spec/bench/bench.lua"

local N = 1e6

local function per_greenlet()
  local glua = require "glua"
  local before = bench.rss()
  for _ = 1, N do
    glua.spawn(glua.sleep, 3600)
  end
  glua.sleep(0)
  return (bench.rss() - before) / N
end

-- Kept in a table, as a program must: the hub does that for its greenlets.
local function per_coroutine()
  local coroutines = {}
  local before = bench.rss()
  for i = 1, N do
    coroutines[i] = coroutine.create(coroutine.yield)
    coroutine.resume(coroutines[i])
  end
  return (bench.rss() - before) / N
end

if arg[1] == "coroutine" then
  print(per_coroutine())
  os.exit(0)
end
bench.main {
  {
    key = "greenlet",
    what = "RSS of a greenlet in sleep(3600)",
    unit = "B",
    rounds = 3,
    sample = per_greenlet,
    baseline = "luajit spec/bench/memory.lua coroutine",
    against = "coroutine",
    judge = "value",
    limit = 850,
    peers = "memory",
  },
}
