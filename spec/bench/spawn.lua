-- spawn.lua: a greenlet spawned, run and joined; a greenlet of spawn_raw spawned and run.

local glua = require "glua"
local bench = dofile "spec/bench/bench.lua"

local TOTAL, BATCH = 1e6, 1000

local done = 0

local function task()
  done = done + 1
end

local function batches()
  for _ = 1, TOTAL / BATCH do
    local greenlets = {}
    for i = 1, BATCH do
      greenlets[i] = glua.spawn(task)
    end
    glua.joinall(greenlets)
  end
end

local function at_once()
  local greenlets = {}
  for i = 1, TOTAL do
    greenlets[i] = glua.spawn(task)
  end
  glua.joinall(greenlets)
end

local function raw_batches()
  for _ = 1, TOTAL / BATCH do
    for _ = 1, BATCH do
      glua.spawn_raw(task)
    end
    glua.sleep(0)
  end
end

local function figure(key, what, limit, fn)
  return {
    key = key,
    what = what,
    unit = "ns",
    judge = "scaled",
    limit = limit,
    sample = function()
      local ns = bench.ns_each(TOTAL, fn)
      assert(done == TOTAL)
      return ns
    end,
    peers = key ~= "raw" and "spawn " .. key or nil,
  }
end

bench.main {
  figure("batches", "spawn+run+join, batches of 1,000", 150, batches),
  figure("once", "spawn+run+join, a million at once", 800, at_once),
  figure("raw", "spawn_raw+run, batches of 1,000", 80, raw_batches),
}
