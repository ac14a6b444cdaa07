-- queue.lua: what an item costs on its way through a queue.

local glua = require "glua"
local queue = require "glua.queue"
local bench = dofile "spec/bench/bench.lua"

local STORED, STREAMED, PLAYED = 5e7, 5e6, 2e6

local function store()
  local q = queue.Queue()
  for i = 1, STORED do
    q:put(i)
    q:get()
  end
end

local function stream()
  local q = queue.Queue(128)
  local producer = glua.spawn(function()
    for i = 1, STREAMED do
      q:put(i)
    end
  end)
  local consumer = glua.spawn(function()
    for i = 1, STREAMED do
      assert(q:get() == i)
    end
  end)
  glua.joinall {producer, consumer}
end

local function ping_pong()
  local there, back = queue.Queue(1), queue.Queue(1)
  local echo = glua.spawn(function()
    for _ = 1, PLAYED / 2 do
      back:put(there:get())
    end
  end)
  local player = glua.spawn(function()
    for i = 1, PLAYED / 2 do
      there:put(i)
      assert(back:get() == i)
    end
  end)
  glua.joinall {echo, player}
end

local function figure(key, what, limit, n, fn)
  return {
    key = key,
    what = what,
    unit = "ns",
    judge = "scaled",
    limit = limit,
    sample = function() return bench.ns_each(n, fn) end,
    peers = "queue " .. key,
  }
end

bench.main {
  figure("store", "Queue: put and get, nobody waiting", 15, STORED, store),
  figure("stream", "Queue(128): producer to consumer", 30, STREAMED, stream),
  figure("ping-pong", "two Queue(1): ping-pong, a message", 100, PLAYED, ping_pong),
}
