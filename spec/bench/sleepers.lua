-- sleepers.lua: CPU seconds of 200,000 greenlets, from their spawn to their end, that sleep
-- random times within one second.

local glua = require "glua"
local bench = dofile "spec/bench/bench.lua"

local N = 2e5

local function sleepers()
  local greenlets = {}
  math.randomseed(1)
  for i = 1, N do
    greenlets[i] = glua.spawn(glua.sleep, math.random())
  end
  glua.joinall(greenlets)
end

bench.main {
  {
    key = "cpu",
    what = "200,000 sleepers within a second, CPU",
    unit = "s",
    sample = function() return bench.ns_each(1e9, sleepers) end,
    judge = "scaled",
    limit = 0.4,
    peers = "sleepers",
  },
}
