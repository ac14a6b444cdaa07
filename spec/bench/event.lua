-- event.lua: how long Event.set takes to get 100,000 waiters to run.

local glua = require "glua"
local event = require "glua.event"
local bench = dofile "spec/bench/bench.lua"

local N = 1e5

local function wake()
  local e = event.Event()
  local woken = 0
  local function waiter()
    e:wait()
    woken = woken + 1
  end
  for _ = 1, N do
    glua.spawn(waiter)
  end
  glua.sleep(0)
  return bench.ns_each(1e6, function()
    e:set()
    glua.sleep(0)
    assert(woken == N)
  end)
end

bench.main {
  {
    key = "wake",
    what = "Event.set wakes 100,000",
    unit = "ms",
    sample = wake,
    judge = "scaled",
    limit = 7.5,
    peers = "event",
  },
}
