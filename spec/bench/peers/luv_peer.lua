-- luv_peer.lua: what luv takes for the figures of spec/bench.
--
--     luajit luv_peer.lua switch N | spawn batches|once | memory
--         | queue store|stream|ping-pong | event | sleepers
--
-- Prints one number, in the unit of the figure. luv has a loop and no tasks: here is the
-- least of a hub that a program over it needs, coroutines and an idle watcher that resumes
-- those which are ready.

local uv = require "luv"

local create, resume, yield = coroutine.create, coroutine.resume, coroutine.yield
local running = coroutine.running

local ready, head, tail = {}, 1, 0
local idle = uv.new_idle()
local active = false

local function run_ready()
  local last = tail
  while head <= last do
    local co = ready[head]
    ready[head] = nil
    head = head + 1
    assert(resume(co))
  end
  if head > tail then
    head, tail = 1, 0
    active = false
    idle:stop()
  end
end

local function wake(co)
  tail = tail + 1
  ready[tail] = co
  if not active then
    active = true
    idle:start(run_ready)
  end
end

local function spawn(fn)
  wake(create(fn))
end

local function pause()
  wake((running()))
  yield()
end

local function sleep(ms)
  local timer, co = uv.new_timer(), running()
  timer:start(ms, 0, function()
    timer:close()
    wake(co)
  end)
  yield()
end

-- A queue with one putter and one getter.
local function new_queue(maxsize)
  return {first = 1, last = 0, maxsize = maxsize, getter = nil, putter = nil}
end

local function put(q, item)
  while q.last - q.first + 1 >= q.maxsize do
    q.putter = running()
    yield()
  end
  q.last = q.last + 1
  q[q.last] = item
  local getter = q.getter
  if getter then
    q.getter = nil
    wake(getter)
  end
end

local function get(q)
  while q.first > q.last do
    q.getter = running()
    yield()
  end
  local item = q[q.first]
  q[q.first] = nil
  q.first = q.first + 1
  local putter = q.putter
  if putter then
    q.putter = nil
    wake(putter)
  end
  return item
end

local function cpu(n, unit)
  local start = os.clock()
  uv.run()
  return (os.clock() - start) * (unit or 1e9) / n
end

local function rss()
  return uv.resident_set_memory()
end

local figures = {}

function figures.switch(n)
  n = tonumber(n)
  local turns = math.floor(5e6 / n)
  for _ = 1, n do
    spawn(function()
      for _ = 1, turns do
        pause()
      end
    end)
  end
  return cpu(n * turns)
end

function figures.spawn(how)
  local total = 1e6
  local batch = how == "batches" and 1000 or total
  local done = 0
  local function task()
    done = done + 1
  end
  spawn(function()
    for _ = 1, total / batch do
      for _ = 1, batch do
        spawn(task)
      end
      pause()
    end
  end)
  local ns = cpu(total)
  assert(done == total)
  return ns
end

function figures.memory()
  local n, before = 1e6, rss()
  for _ = 1, n do
    spawn(function() sleep(3600e3) end)
  end
  uv.run("nowait")
  return (rss() - before) / n
end

local queues = {}

function queues.store()
  local n, q = 5e6, new_queue(math.huge)
  spawn(function()
    for i = 1, n do
      put(q, i)
      get(q)
    end
  end)
  return cpu(n)
end

function queues.stream()
  local n, q = 5e6, new_queue(128)
  spawn(function()
    for i = 1, n do
      put(q, i)
    end
  end)
  spawn(function()
    for _ = 1, n do
      get(q)
    end
  end)
  return cpu(n)
end

queues["ping-pong"] = function()
  local n, there, back = 2e6, new_queue(1), new_queue(1)
  spawn(function()
    for _ = 1, n / 2 do
      put(back, get(there))
    end
  end)
  spawn(function()
    for i = 1, n / 2 do
      put(there, i)
      get(back)
    end
  end)
  return cpu(n)
end

function figures.queue(how)
  return queues[how]()
end

function figures.event()
  local waiters, woken = {}, 0
  for i = 1, 1e5 do
    spawn(function()
      waiters[i] = running()
      yield()
      woken = woken + 1
    end)
  end
  uv.run()
  local start = os.clock()
  for _, co in ipairs(waiters) do
    wake(co)
  end
  uv.run()
  assert(woken == 1e5)
  return (os.clock() - start) * 1e3
end

function figures.sleepers()
  math.randomseed(1)
  local start = os.clock()
  for _ = 1, 2e5 do
    local ms = math.random() * 1e3
    spawn(function() sleep(math.floor(ms)) end)
  end
  uv.run()
  return os.clock() - start
end

print(figures[arg[1]](arg[2]))
io.stdout:flush()
os.exit(0)
