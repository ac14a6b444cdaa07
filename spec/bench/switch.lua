-- switch.lua: one switch through the ready queue: glua.sleep(0) in 2, 100 and 10,000
-- greenlets, against a bare coroutine.resume and yield with as many coroutines.

local glua = require "glua"
local bench = dofile "spec/bench/bench.lua"

local SWITCHES = 5e6

local function turn(turns)
  local sleep = glua.sleep
  sleep(0) -- all have started when the first comes back
  for _ = 1, turns do
    sleep(0)
  end
end

local function switch(n)
  local turns = math.floor(SWITCHES / n)
  local greenlets = {}
  for i = 1, n do
    greenlets[i] = glua.spawn(turn, turns)
  end
  glua.sleep(0)
  return bench.ns_each(n * turns, glua.joinall, greenlets)
end

local figures = {}
for i, n in ipairs {2, 100, 10000} do
  figures[i] = {
    key = tostring(n),
    what = ("switch, %d greenlets"):format(n),
    unit = "ns",
    sample = function() return switch(n) end,
    baseline = ("luajit spec/bench/resume.lua %d %d"):format(n, SWITCHES),
    against = "resume",
    judge = "ratio",
    limit = 1,
    peers = ("switch %d"):format(n),
  }
end
bench.main(figures)
