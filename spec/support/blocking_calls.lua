-- blocking_calls.lua: every blocking call there is, for blocking_spec.lua.
--
-- Each case is one call that parks. It has
--
--     setup()           -> what the call works on, so that the call has to park
--     block(c, timeout)    the call
--     wake(c, given_up)    has it go on; nil: nothing but time or an interrupt can. Where
--                          the call was given up in this turn, that is said
--     done              what it returns then: a list with n, or a function that checks
--     timed_out         what it returns when its time is over; nil: it takes no timeout
--     again(c)             makes c as it was, after a call that was given up
--     close(c)             takes away what setup has made
--
-- and these marks:
--
--     late              the wake reaches the call only after a turn: over a descriptor, or
--                       over other greenlets
--     once              what setup has made can be waited for only once
--     owned             only the greenlet of the spec can wake it
--     raises            it raises its timeout, as a Timeout
--     unchecked         negative timeouts have a meaning

local assert = require "luassert"
local event = require "glua.event"
local glua = require "glua"
local lock = require "glua.lock"
local pool = require "glua.pool"
local queue = require "glua.queue"
local server = require "glua.server"
local socket = require "glua.socket"

local function list(...)
  return {n = select("#", ...), ...}
end

local function nothing() end

local cases = {}

local function case(name, fields)
  fields.name = name
  fields.again = fields.again or nothing
  fields.close = fields.close or nothing
  cases[#cases + 1] = fields
end

-- ---- time ----

case("sleep", {
  setup = nothing,
  block = function(_, timeout) return glua.sleep(timeout or 3600) end,
  timed_out = list(),
  unchecked = true,
})

case("socket.sleep", {
  setup = nothing,
  block = function(_, timeout) return socket.sleep(timeout or 3600) end,
  timed_out = list(),
  unchecked = true,
})

case("idle", {
  setup = function()
    return glua.spawn(function() while true do glua.sleep(0) end end)
  end,
  block = function() return glua.idle() end,
  wake = function(busy) busy:kill() end,
  again = nothing,
  done = list(),
  late = true, once = true,
  close = function(busy) busy:kill() end,
})

-- ---- greenlets ----

-- A greenlet that ends when told so.
local function runner()
  local c = {go = event.Event()}
  c.g = glua.spawn(function()
    c.go:wait()
    return "result", 2
  end)
  c.list = {c.g}
  return c
end

local function let_run(c)
  c.go:set()
  c.g:join()
end

local function kill_runner(c)
  c.g:kill()
end

local function on_runner(name, block, done, timed_out)
  case(name, {
    setup = runner, wake = let_run, close = kill_runner, late = true, once = true,
    block = block, done = done, timed_out = timed_out,
  })
end

local function is_runner(c, results)
  assert.equal(1, results.n)
  assert.equal(1, #results[1])
  assert.equal(c.g, results[1][1])
end

local none = function(_, results)
  assert.equal(1, results.n)
  assert.same({}, results[1])
end

on_runner("Greenlet:join", function(c, timeout) return c.g:join(timeout) end,
  list(true), list(false))
on_runner("Greenlet:get", function(c, timeout) return c.g:get(timeout) end,
  list("result", 2), list(nil, "timeout"))
on_runner("joinall", function(c, timeout) return glua.joinall(c.list, timeout) end,
  is_runner, none)
on_runner("joinall with options",
  function(c, timeout) return glua.joinall(c.list, {timeout = timeout}) end,
  is_runner, none)
on_runner("joinall with a count",
  function(c, timeout) return glua.joinall(c.list, {timeout = timeout, count = 1}) end,
  is_runner, none)
on_runner("joinall with raise_error",
  function(c, timeout) return glua.joinall(c.list, {timeout = timeout, raise_error = true}) end,
  is_runner, none)
on_runner("wait for a greenlet", function(c, timeout) return glua.wait(c.list, timeout) end,
  is_runner, none)
on_runner("iwait for a greenlet", function(c, timeout) return glua.iwait(c.list, timeout)() end,
  function(c, results) assert.equal(c.g, results[1]) end, list(nil))

-- A greenlet whose death takes until it is told so.
local function diehard()
  local c = {go = event.Event()}
  c.g = glua.spawn(function()
    glua.shield(function() c.go:wait() end)
  end)
  c.list = {c.g}
  c.group = pool.Group()
  c.group:add(c.g)
  glua.sleep(0)
  return c
end

local function on_diehard(name, block)
  case(name, {
    setup = diehard, wake = let_run, close = let_run, late = true, once = true,
    block = block, done = list(true), timed_out = list(false),
  })
end

on_diehard("Greenlet:kill", function(c, timeout) return c.g:kill(nil, {timeout = timeout}) end)
on_diehard("kill", function(c, timeout) return glua.kill(c.g, nil, {timeout = timeout}) end)
on_diehard("killall",
  function(c, timeout) return glua.killall(c.list, nil, {timeout = timeout}) end)
on_diehard("Group:kill",
  function(c, timeout) return c.group:kill(nil, {timeout = timeout}) end)

case("wait", {
  setup = function() return glua.spawn(glua.sleep, 3600) end,
  block = function(_, timeout) return glua.wait(nil, timeout) end,
  timed_out = list(false),
  close = function(sleeper) sleeper:kill() end,
})

case("scope", {
  setup = event.Event,
  block = function(ev, timeout)
    return glua.scope(function(s)
      s:spawn(ev.wait, ev)
      return "body"
    end, {timeout = timeout})
  end,
  wake = function(ev) ev:set() end,
  done = list("body"),
  late = true, raises = true,
  again = function(ev) ev:clear() end,
})

case("scope, in its body", {
  setup = event.Event,
  block = function(ev, timeout)
    return glua.scope(function() return ev:wait() end, {timeout = timeout})
  end,
  wake = function(ev) ev:set() end,
  done = list(true),
  raises = true,
  again = function(ev) ev:clear() end,
})

case("with_timeout", {
  setup = event.Event,
  block = function(ev, timeout)
    return glua.with_timeout(timeout or math.huge, ev.wait, ev)
  end,
  wake = function(ev) ev:set() end,
  done = list(true),
  raises = true,
  again = function(ev) ev:clear() end,
})

-- ---- event ----

case("Event:wait", {
  setup = event.Event,
  block = function(ev, timeout) return ev:wait(timeout) end,
  wake = function(ev) ev:set() end,
  done = list(true), timed_out = list(false),
  again = function(ev) ev:clear() end,
})

case("wait for an Event", {
  setup = event.Event,
  block = function(ev, timeout) return #glua.wait({ev}, timeout) end,
  wake = function(ev) ev:set() end,
  done = list(1), timed_out = list(0),
  late = true,
  again = function(ev) ev:clear() end,
})

case("AsyncResult:wait", {
  setup = event.AsyncResult,
  block = function(r, timeout) return r:wait(timeout) end,
  wake = function(r) r:set("result", 2) end,
  done = list(true), timed_out = list(false),
  once = true,
})

case("AsyncResult:get", {
  setup = event.AsyncResult,
  block = function(r, timeout) return r:get(timeout) end,
  wake = function(r) r:set("result", 2) end,
  done = list("result", 2), timed_out = list(nil, "timeout"),
  once = true,
})

-- ---- queue ----

local function empty_it(q)
  while q:get_nowait() ~= nil do end
end

for _, kind in ipairs {"Queue", "LifoQueue", "PriorityQueue", "JoinableQueue"} do
  local new = queue[kind]

  case(kind .. ":get", {
    setup = new,
    block = function(q, timeout) return q:get(timeout) end,
    wake = function(q) assert.is_true(q:put("item")) end,
    done = list("item"), timed_out = list(nil, "empty"),
    again = empty_it,
  })

  case(kind .. ":peek", {
    setup = new,
    block = function(q, timeout) return q:peek(timeout) end,
    wake = function(q) q:put("item") end,
    done = list("item"), timed_out = list(nil, "empty"),
    again = empty_it,
  })

  case("closing " .. kind .. ":get", {
    setup = new,
    block = function(q, timeout) return q:get(timeout) end,
    wake = function(q) q:close() end,
    done = list(nil, "closed"), timed_out = list(nil, "empty"),
    once = true,
  })

  case(kind .. ":put", {
    setup = function() return new(1, {"full"}) end,
    block = function(q, timeout) return q:put("item", timeout) end,
    wake = function(q) assert.equal("full", q:get()) end,
    done = function(q, results)
      assert.same(list(true), results)
      assert.equal("item", q:peek_nowait())
    end,
    timed_out = list(nil, "full"),
    again = function(q)
      empty_it(q)
      q:put("full")
    end,
  })

  case("closing " .. kind .. ":put", {
    setup = function() return new(1, {"full"}) end,
    block = function(q, timeout) return q:put("item", timeout) end,
    wake = function(q) q:close() end,
    done = list(nil, "closed"), timed_out = list(nil, "full"),
    once = true,
  })

  case("wait for a " .. kind, {
    setup = new,
    block = function(q, timeout) return #glua.wait({q}, timeout) end,
    wake = function(q) q:put("item") end,
    done = list(1), timed_out = list(0),
    late = true,
    again = empty_it,
  })
end

case("JoinableQueue:join", {
  setup = function() return queue.JoinableQueue(nil, {1}) end,
  block = function(q, timeout) return q:join(timeout) end,
  wake = function(q) q:task_done() end,
  done = list(true), timed_out = list(false),
  again = function(q)
    empty_it(q)
    q:put(1)
  end,
  once = true,
})

case("Channel:get", {
  setup = queue.Channel,
  block = function(ch, timeout) return ch:get(timeout) end,
  wake = function(ch) return ch:put_nowait("item") end,
  done = list("item"), timed_out = list(nil, "empty"),
})

case("Channel:put", {
  setup = queue.Channel,
  block = function(ch, timeout) return ch:put("item", timeout) end,
  wake = function(ch) return ch:get_nowait() end,
  done = list(true), timed_out = list(nil, "full"),
})

case("wait for a Channel", {
  setup = function() return {ch = queue.Channel()} end,
  block = function(c, timeout) return #glua.wait({c.ch}, timeout) end,
  wake = function(c) c.putter = glua.spawn(c.ch.put, c.ch, "item") end,
  done = list(1), timed_out = list(0),
  late = true,
  again = function(c) c.ch:get_nowait() end,
  close = function(c)
    if c.putter then
      c.putter:kill()
    end
  end,
})

case("select of gets", {
  setup = function() return {queue.Queue(), queue.Channel()} end,
  block = function(c, timeout) return queue.select({{c[1]}, {c[2]}}, timeout) end,
  wake = function(c) return c[2]:put_nowait("item") end,
  done = list(2, "item"), timed_out = list(nil, "timeout"),
})

case("select of puts", {
  setup = function() return {queue.Queue(1, {"full"}), queue.Channel()} end,
  block = function(c, timeout)
    return queue.select({{c[1], put = "item"}, {c[2], put = "item"}}, timeout)
  end,
  wake = function(c) assert.equal("full", c[1]:get()) end,
  done = list(1, true), timed_out = list(nil, "timeout"),
  again = function(c)
    empty_it(c[1])
    c[1]:put("full")
  end,
})

case("select of a get and a put", {
  setup = function() return {queue.Queue(), queue.Channel()} end,
  block = function(c, timeout)
    return queue.select({{c[1]}, {c[2], put = "item"}}, timeout)
  end,
  wake = function(c) return c[2]:get_nowait() end,
  done = list(2, true), timed_out = list(nil, "timeout"),
})

-- ---- lock ----

for _, kind in ipairs {"Semaphore", "BoundedSemaphore", "Lock", "RLock", "Condition"} do
  case(kind .. ":acquire", {
    setup = function()
      local l = lock[kind]()
      l:acquire()
      return l
    end,
    block = function(l, timeout)
      local held = l:acquire(timeout)
      if held then
        l:release()
      end
      return held
    end,
    wake = function(l) l:release() end,
    done = list(true), timed_out = list(false),
    owned = kind == "RLock" or kind == "Condition",
    again = function(l)
      if not l:locked() then -- by the greenlet of the spec
        l:acquire()
      end
    end,
  })
end

case("wait for a Semaphore", {
  setup = function() return lock.Semaphore(0) end,
  block = function(l, timeout) return #glua.wait({l}, timeout) end,
  wake = function(l) l:release() end,
  done = list(1), timed_out = list(0),
  late = true,
  again = function(l) l:acquire(0) end,
})

case("Semaphore:with", {
  setup = function() return lock.Semaphore(0) end,
  block = function(l) return l:with(function() return "inside" end) end,
  wake = function(l) l:release() end,
  done = list("inside"),
  again = function(l) l:acquire(0) end,
})

case("Condition:wait", {
  setup = lock.Condition,
  block = function(c, timeout) return c:with(c.wait, c, timeout) end,
  wake = function(c) c:with(c.notify, c) end,
  done = list(true), timed_out = list(false),
})

case("Condition:wait_for", {
  setup = function() return {cond = lock.Condition(), value = false} end,
  block = function(c, timeout)
    return c.cond:with(function()
      return c.cond:wait_for(function() return c.value end, timeout)
    end)
  end,
  wake = function(c)
    c.value = "value"
    c.cond:with(c.cond.notify, c.cond)
  end,
  done = list("value"), timed_out = list(false),
  again = function(c) c.value = false end,
})

case("Barrier:wait", {
  setup = function() return lock.Barrier(2) end,
  block = function(b, timeout) return b:wait(timeout) end,
  wake = function(b, given_up)
    assert.same(given_up and {nil, "broken"} or {2}, {b:wait()})
  end,
  done = list(1), timed_out = list(nil, "timeout"),
  again = function(b) b:reset() end,
})

-- ---- pool ----

-- A Pool with one member, which is let go to make room.
local function full_pool()
  local c = {pool = pool.Pool(1)}
  c.member = c.pool:spawn(glua.sleep, 3600)
  return c
end

local function fill_pool(c)
  if not c.pool:full() then
    c.member:kill()
    c.member = c.pool:spawn(glua.sleep, 3600)
  end
end

local function close_pool(c)
  c.member:kill()
  c.pool:kill()
end

local function on_pool(name, block, done, timed_out)
  case(name, {
    setup = full_pool, close = close_pool, again = fill_pool,
    wake = function(c) c.pool:discard(c.member) end,
    block = block, done = done, timed_out = timed_out, late = name ~= "Pool:wait_available",
  })
end

on_pool("Pool:spawn", function(c) return c.pool:spawn(nothing):join() end, list(true))
on_pool("Pool:add", function(c)
  local g = glua.Greenlet(nothing)
  c.pool:add(g)
  return g:join()
end, list(true))
on_pool("Pool:wait_available", function(c, timeout) return c.pool:wait_available(timeout) end,
  list(true), list(false))
on_pool("Pool:apply", function(c) return c.pool:apply(function() return 1, 2 end) end,
  list(1, 2))
on_pool("Pool:map", function(c)
  return unpack(c.pool:map(function(i) return i * i end, {1, 2, 3}))
end, list(1, 4, 9))
on_pool("Pool:imap", function(c)
  return c.pool:imap(function(i) return i * i end, {7}, {maxsize = 1})()
end, list(1, 49))
on_pool("Pool:imap_unordered", function(c)
  return c.pool:imap_unordered(function(i) return i * i end, {7}, {maxsize = 1})()
end, list(1, 49))

case("Group:join", {
  setup = function()
    local c = {pool = pool.Group()}
    c.member = c.pool:spawn(glua.sleep, 3600)
    return c
  end,
  block = function(c, timeout) return c.pool:join(timeout) end,
  wake = function(c) c.pool:discard(c.member) end,
  done = list(true), timed_out = list(false),
  again = function(c) c.pool:add(c.member) end,
  close = close_pool,
})

-- ---- socket ----

local function pair()
  local a, b = socket.socketpair()
  return {a = a, b = b}
end

local function close_pair(c)
  c.a:close()
  c.b:close()
end

local function on_pair(name, block, done, timed_out)
  case(name, {
    setup = pair, close = close_pair, late = true, unchecked = true,
    wake = function(c) c.b:send("line\n") end,
    block = function(c, timeout)
      c.a:settimeout(timeout)
      return block(c.a)
    end,
    done = done, timed_out = timed_out,
    again = function(c)
      c.a:settimeout(0)
      c.a:receive("any")
    end,
  })
end

local timeout_of_receive = list(nil, "timeout", "", "ETIMEDOUT")

on_pair("receive a line", function(s) return s:receive() end, list("line"), timeout_of_receive)
on_pair("receive a number of bytes", function(s) return s:receive(5) end, list("line\n"),
  timeout_of_receive)
on_pair("receive any", function(s) return s:receive("any") end, list("line\n"),
  timeout_of_receive)
on_pair("read_until", function(s) return s:read_until("\n") end, list("line"),
  timeout_of_receive)

case("receive all", {
  setup = pair, close = close_pair, late = true, unchecked = true, once = true,
  block = function(c, timeout)
    c.a:settimeout(timeout)
    return c.a:receive("*a")
  end,
  wake = function(c)
    c.b:send("all")
    c.b:close()
  end,
  done = list("all"), timed_out = timeout_of_receive,
})

case("receive, closed by another greenlet", {
  setup = pair, close = close_pair, unchecked = true, once = true,
  block = function(c, timeout)
    c.a:settimeout(timeout)
    return c.a:receive()
  end,
  wake = function(c) c.a:close() end,
  done = list(nil, "closed", "", "EBADF"), timed_out = timeout_of_receive,
})

-- Fills the buffers of a pair, so that send has to wait.
local function full_pair()
  local c = pair()
  c.a:settimeout(0)
  repeat until not c.a:send(("x"):rep(65536))
  return c
end

local function drain(c)
  c.b:settimeout(0)
  repeat until not c.b:receive("any")
end

case("send", {
  setup = full_pair, close = close_pair, late = true, unchecked = true, wake = drain,
  block = function(c, timeout)
    c.a:settimeout(timeout)
    return c.a:send("data")
  end,
  done = list(4), timed_out = list(nil, "timeout", 0, "ETIMEDOUT"),
  again = function(c)
    c.a:settimeout(0)
    repeat until not c.a:send(("x"):rep(65536))
  end,
})

case("wait_read", {
  setup = pair, close = close_pair, late = true,
  block = function(c, timeout) return socket.wait_read(c.a, timeout) end,
  wake = function(c) c.b:send("x") end,
  done = list(true), timed_out = list(nil, "timeout", nil, "ETIMEDOUT"),
  again = function(c)
    c.a:settimeout(0)
    c.a:receive("any")
  end,
})

case("wait_read for a number", {
  setup = pair, close = close_pair, late = true,
  block = function(c, timeout) return socket.wait_read(c.a:getfd(), timeout) end,
  wake = function(c) c.b:send("x") end,
  done = list(true), timed_out = list(nil, "timeout", nil, "ETIMEDOUT"),
  again = function(c)
    c.a:settimeout(0)
    c.a:receive("any")
  end,
})

case("wait_write", {
  setup = full_pair, close = close_pair, late = true, wake = drain,
  block = function(c, timeout) return socket.wait_write(c.a, timeout) end,
  done = list(true), timed_out = list(nil, "timeout", nil, "ETIMEDOUT"),
  again = function(c)
    c.a:settimeout(0)
    repeat until not c.a:send(("x"):rep(65536))
  end,
})

case("accept", {
  setup = function()
    local c = {listener = assert(socket.bind("127.0.0.1", 0)), client = socket.tcp()}
    c.host, c.port = c.listener:getsockname()
    return c
  end,
  block = function(c, timeout)
    c.listener:settimeout(timeout)
    local client, message, extra, code = c.listener:accept()
    if client then
      client:close()
      return true
    end
    return client, message, extra, code
  end,
  wake = function(c)
    c.client:close()
    c.client = assert(socket.connect(c.host, c.port))
  end,
  done = list(true), timed_out = list(nil, "timeout", nil, "ETIMEDOUT"),
  late = true, unchecked = true,
  again = function(c)
    c.listener:settimeout(0)
    local client = c.listener:accept()
    if client then
      client:close()
    end
  end,
  close = function(c)
    c.client:close()
    c.listener:close()
  end,
})

-- The kernel ignores who connects to a listener whose queue is full.
case("connect", {
  setup = function()
    local c = {listener = socket.tcp(), clients = {}}
    assert(c.listener:bind("127.0.0.1", 0))
    assert(c.listener:listen(0))
    c.host, c.port = c.listener:getsockname()
    local connected
    repeat
      local s = socket.tcp()
      s:settimeout(0.02)
      connected = s:connect(c.host, c.port)
      c.clients[#c.clients + 1] = s
    until not connected
    return c
  end,
  block = function(c, timeout)
    local s = socket.tcp()
    c.clients[#c.clients + 1] = s
    s:settimeout(timeout)
    return s:connect(c.host, c.port)
  end,
  timed_out = list(nil, "timeout", nil, "ETIMEDOUT"),
  unchecked = true,
  close = function(c)
    for _, s in ipairs(c.clients) do
      s:close()
    end
    c.listener:close()
  end,
})

-- ---- server ----

local function serving(handle)
  local c = {go = event.Event(), came = event.Event()}
  c.server = server.StreamServer("127.0.0.1:0", function()
    c.came:set()
    handle(c)
  end)
  c.server:start()
  c.client = socket.connect(c.server.address, c.server.port)
  c.came:wait()
  return c
end

local function close_server(c)
  c.server:stop(0)
  c.client:close()
end

case("StreamServer:serve_forever", {
  setup = function() return serving(nothing) end, close = close_server,
  block = function(c) return c.server:serve_forever() end,
  wake = function(c) c.server:stop() end,
  done = list(true),
  again = function(c)
    if not c.server.started then
      c.server:start()
    end
  end,
  once = true, late = true,
})

case("StreamServer:stop", {
  setup = function()
    return serving(function(c) c.go:wait() end)
  end,
  close = close_server,
  block = function(c, timeout) return c.server:stop(timeout) end,
  wake = function(c) c.go:set() end,
  done = list(true), timed_out = list(false),
  once = true, late = true,
})

return cases
