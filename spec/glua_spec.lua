-- glua_spec.lua: the everyday names of glua that have no file of their own.

local ffi = require "ffi"
local glua = require "glua"
local event = require "glua.event"
local helper = require "spec.helper"

ffi.cdef [[
int getpid(void);
int kill(int, int);
]]

local burn, misuse = helper.burn, helper.misuse

local SIGHUP, SIGUSR1 = 1, 10

local function send(signal)
  assert.equal(0, ffi.C.kill(ffi.C.getpid(), signal))
end

describe("glua", function()
  helper.leaves_nothing_behind()

  local reports
  before_each(function()
    reports = {}
    glua.on_error(function(g, e, traceback)
      reports[#reports + 1] = {greenlet = g, error = e, traceback = traceback}
    end)
  end)
  after_each(function() glua.on_error(nil) end)

  it("has all the names of its reference", function()
    for name, kind in pairs {
      spawn = "function", spawn_later = "function", spawn_raw = "function",
      sleep = "function", idle = "function", joinall = "function", killall = "function",
      kill = "function", wait = "function", iwait = "function", every = "function",
      getcurrent = "function", gethub = "function", now = "function", version = "string",
      Greenlet = "function", Timeout = "function", with_timeout = "function",
      shield = "function", scope = "function", signal = "function",
      GreenletExit = "table", on_error = "function", is_error = "function",
    } do
      assert.equal(kind, type(glua[name]), name)
      assert.equal(glua[name], glua[name])
    end
    assert.is_nil(glua.no_such_name)
  end)

  describe("spawn", function()
    it("does not run the function before the caller parks", function()
      local ran = false
      local g = glua.spawn(function() ran = true end)
      assert.is_false(ran)
      glua.sleep(0)
      assert.is_true(ran)
      g:join()
    end)

    it("runs greenlets in the order of their spawns, and the spawner after them", function()
      local order = {}
      glua.spawn(function() order[#order + 1] = "a" end)
      glua.spawn(function() order[#order + 1] = "b" end)
      glua.sleep(0)
      order[#order + 1] = "main"
      assert.same({"a", "b", "main"}, order)
    end)

    it("gives the arguments on, nil among them", function()
      local function count(...) return select("#", ...), ... end
      assert.same({0}, {glua.spawn(count):get()})
      assert.same({1}, {glua.spawn(count, nil):get()})
      assert.same({2, nil, "b"}, {glua.spawn(count, nil, "b"):get()})
      assert.same({3, "a", nil, "c"}, {glua.spawn(count, "a", nil, "c"):get()})
      assert.equal(4, (glua.spawn(count, nil, nil, nil, nil):get()))
    end)

    it("takes a callable table, and a C function", function()
      local callable = setmetatable({}, {__call = function(_, x) return x end})
      assert.equal(5, glua.spawn(callable, 5):get())
      assert.equal("5", glua.spawn(tostring, 5):get())
      assert.is_true(glua.spawn(glua.sleep, 0):join())
    end)

    it("works for very many at once", function()
      local n, ran = helper.many(20000), 0
      local function add(x) ran = ran + x end
      for _ = 1, n do
        glua.spawn(add, 1)
      end
      glua.idle()
      assert.equal(n, ran)
    end)

    it("goes to any depth", function()
      local deep, deepest = helper.many(500), 0
      local function go(depth)
        deepest = depth
        if depth < deep then
          glua.spawn(go, depth + 1):join()
        end
      end
      glua.spawn(go, 1):join()
      assert.equal(deep, deepest)
    end)

    it("keeps the greenlet alive although nobody holds it", function()
      local done = false
      glua.spawn(function()
        glua.sleep(0.001)
        done = true
      end)
      collectgarbage()
      collectgarbage()
      glua.sleep(0.003)
      glua.idle()
      assert.is_true(done)
    end)

    it("lets the Greenlet go when it has ended and nobody holds it", function()
      local weak = setmetatable({}, {__mode = "k"})
      weak[glua.spawn(function() return {} end)] = true
      weak[glua.spawn(error, "e")] = true
      glua.idle()
      reports = {}
      collectgarbage()
      collectgarbage()
      collectgarbage()
      assert.is_nil(next(weak))
    end)

    it("checks its argument", function()
      misuse("bad argument #1 to 'spawn' (function expected, got number)",
        function() glua.spawn(5) end)
      misuse("bad argument #1 to 'spawn' (function expected, got no value)",
        function() glua.spawn() end)
      misuse("bad argument #1 to 'spawn' (function expected, got table)",
        function() glua.spawn({}) end)
    end)
  end)

  describe("spawn_later", function()
    it("starts the function when the time is over, and not before", function()
      local before, after = glua.now(), nil
      local g = glua.spawn_later(0.003, function(...)
        after = glua.now()
        return ...
      end, 1, nil, 3)
      assert.same({1, nil, 3}, {g:get()})
      assert.is_true(after - before >= 0.003)
    end)

    it("starts at once for no time, or less", function()
      assert.equal(1, glua.spawn_later(0, function() return 1 end):get())
      assert.equal(1, glua.spawn_later(-1, function() return 1 end):get())
    end)

    it("checks its arguments", function()
      misuse("bad argument #1 to 'spawn_later' (seconds: number expected, got function)",
        function() glua.spawn_later(print) end)
      misuse("bad argument #1 to 'spawn_later' (seconds: number expected, got nan)",
        function() glua.spawn_later(0/0, print) end)
      misuse("bad argument #2 to 'spawn_later' (function expected, got nil)",
        function() glua.spawn_later(1) end)
    end)
  end)

  describe("spawn_raw", function()
    it("runs the function, in order with the others", function()
      local order = {}
      glua.spawn(function() order[#order + 1] = "a" end)
      glua.spawn_raw(function(x) order[#order + 1] = x end, "raw")
      glua.spawn(function() order[#order + 1] = "b" end)
      glua.sleep(0)
      assert.same({"a", "raw", "b"}, order)
    end)

    it("returns a handle for kill", function()
      local caught
      local handle = glua.spawn_raw(function()
        caught = select(2, pcall(glua.sleep, 1000))
      end)
      assert.equal("number", type(handle))
      glua.sleep(0)
      assert.is_false(glua.kill(handle))
      glua.sleep(0)
      assert.equal(glua.GreenletExit, caught)
      assert.is_true(glua.kill(handle))
    end)

    it("can be killed before it runs, and waited for", function()
      local ran = false
      assert.is_true(glua.kill(glua.spawn_raw(function() ran = true end)))
      glua.sleep(0)
      assert.is_false(ran)
      local handle = glua.spawn_raw(glua.sleep, 1000)
      glua.sleep(0)
      assert.is_true(glua.kill(handle, nil, {block = true}))
    end)

    it("does not kill a later greenlet by an old handle", function()
      local handle = glua.spawn_raw(function() end)
      glua.sleep(0)
      local later = {}
      for i = 1, 100 do
        later[i] = glua.spawn(function()
          glua.sleep(0)
          return true
        end)
      end
      assert.is_true(glua.kill(handle))
      assert.is_true(glua.kill(0/0))
      assert.is_true(glua.kill(-1))
      assert.is_true(glua.kill(math.huge))
      for _, g in ipairs(later) do
        assert.is_true(g:get())
      end
    end)

    it("reports a failure", function()
      glua.spawn_raw(function() error("raw", 0) end)
      glua.idle()
      assert.is_nil(reports[1].greenlet)
      assert.equal("raw", reports[1].error)
      assert.matches("^raw\nstack traceback:", reports[1].traceback)
    end)

    it("has a Greenlet when it asks for it", function()
      local g
      glua.spawn_raw(function()
        g = glua.getcurrent()
        g.locals.x = 1
        glua.sleep(0)
      end)
      glua.sleep(0)
      assert.is_true(g.started)
      assert.is_true(g:join())
      assert.equal(1, g.locals.x)
    end)

    it("checks its argument", function()
      misuse("bad argument #1 to 'spawn_raw' (function expected, got string)",
        function() glua.spawn_raw("f") end)
    end)
  end)

  describe("sleep", function()
    it("parks for the time, or longer", function()
      local before = glua.now()
      glua.sleep(0.003)
      assert.is_true(glua.now() - before >= 0.003)
    end)

    it("of 0, of less, and of nothing lets the others run once", function()
      for _, sleep in ipairs {
        function() glua.sleep(0) end, function() glua.sleep(-1) end, function() glua.sleep() end,
      } do
        local ran = 0
        for _ = 1, 3 do
          glua.spawn(function()
            ran = ran + 1
            glua.sleep(0)
            ran = ran + 1
          end)
        end
        sleep()
        assert.equal(3, ran)
        glua.idle()
      end
    end)

    it("interleaves two greenlets step by step: 1A 2A 1B 2B", function()
      local order = {}
      for i = 1, 2 do
        glua.spawn(function()
          order[#order + 1] = i .. "A"
          glua.sleep(0)
          order[#order + 1] = i .. "B"
        end)
      end
      glua.idle()
      assert.equal("1A 2A 1B 2B", table.concat(order, " "))
    end)

    it("returns nothing", function()
      assert.equal(0, select("#", glua.sleep(0)))
      assert.equal(0, select("#", glua.sleep(0.001)))
    end)

    it("checks its argument", function()
      misuse("bad argument #1 to 'sleep' (seconds: number expected, got string)",
        function() glua.sleep("x") end)
      misuse("bad argument #1 to 'sleep' (seconds: number expected, got nan)",
        function() glua.sleep(0/0) end)
    end)
  end)

  describe("idle", function()
    it("lets everything that is ready run first, and what that makes ready", function()
      local steps = 0
      glua.spawn(function()
        for _ = 1, 10 do
          steps = steps + 1
          glua.spawn(function() steps = steps + 1 end)
          glua.sleep(0)
        end
      end)
      glua.idle()
      assert.equal(20, steps)
    end)

    it("does not wait for timers", function()
      local g = glua.spawn(glua.sleep, 1000)
      glua.idle()
      assert.is_false(g:ready())
      g:kill()
    end)

    it("lets several idle ones go on", function()
      local a, b = glua.spawn(glua.idle), glua.spawn(glua.idle)
      glua.idle()
      assert.equal(2, #glua.joinall({a, b}, 1))
    end)

    it("can be killed", function()
      local stop = false
      local busy = glua.spawn(function()
        while not stop do
          glua.sleep(0)
        end
      end)
      local g = glua.spawn(glua.idle)
      glua.sleep(0)
      assert.is_true(g:kill())
      stop = true
      busy:join()
    end)
  end)

  describe("every", function()
    it("calls the function on a steady beat", function()
      local beats = {}
      local before = glua.now()
      local done = event.Event()
      local g = glua.every(0.002, function(a, b)
        assert.same({1, nil, 3}, {a, nil, b})
        beats[#beats + 1] = glua.now()
        if #beats == 3 then
          done:set()
        end
      end, 1, 3)
      done:wait()
      g:kill()
      for i, at in ipairs(beats) do
        assert.is_true(at - before >= 0.002 * i)
      end
      local n = #beats
      glua.sleep(0.004)
      assert.equal(n, #beats)
    end)

    it("does not drift: what the function takes is no part of the beat", function()
      -- One that drifts always takes both, the time of the function and that of the beat. On
      -- a busy machine any other may do so as well, but not each time.
      local done = event.Event()
      local beats, last, kept = 0, math.huge, false
      local g = glua.every(0.005, function()
        local start = glua.now()
        kept = kept or start - last > 0 and start - last < 0.006
        last = start
        beats = beats + 1
        burn(0.001)
        if kept or beats == 500 then
          done:set()
        end
      end)
      done:wait()
      g:kill()
      assert.is_true(kept)
    end)

    it("leaves out the beats that the function overruns", function()
      local starts = {}
      local done = event.Event()
      local g = glua.every(0.002, function()
        starts[#starts + 1] = glua.now()
        if #starts == 1 then
          burn(0.009)
        elseif #starts == 3 then
          done:set()
        end
      end)
      done:wait()
      g:kill()
      assert.is_true(starts[2] - starts[1] >= 0.009)
      assert.is_true(starts[3] - starts[2] > 0)
    end)

    it("ends when the function fails", function()
      local g = glua.every(0.001, error, "e", 0)
      assert.is_true(g:join())
      assert.equal("e", g.exception)
      glua.idle()
      assert.equal(1, #reports)
    end)

    it("checks its arguments", function()
      misuse("bad argument #1 to 'every' (positive seconds expected, got 0)",
        function() glua.every(0, print) end)
      misuse("bad argument #1 to 'every' (seconds: number expected, got nil)",
        function() glua.every(nil, print) end)
      misuse("bad argument #2 to 'every' (function expected, got nil)",
        function() glua.every(1) end)
    end)
  end)

  describe("now", function()
    it("never goes back, and goes on while nobody parks", function()
      local before = glua.now()
      for _ = 1, 1000 do
        local now = glua.now()
        assert(now >= before)
        before = now
      end
      local start = glua.now()
      repeat until glua.now() > start
    end)
  end)

  describe("gethub", function()
    it("counts what is alive", function()
      local hub = glua.gethub()
      local before = hub.stats()
      local g = glua.spawn(glua.sleep, 1000)
      local h = glua.spawn(function() event.Event():wait() end)
      assert.equal(before.greenlets + 2, hub.stats().greenlets)
      assert.equal(2, hub.stats().ready)
      glua.sleep(0)
      assert.equal(before.timers + 1, hub.stats().timers)
      assert.is_true(hub.stats().switches > before.switches)
      assert.equal(0, hub.stats().ready)
      glua.killall {g, h}
      assert.equal(before.greenlets, hub.stats().greenlets)
      assert.equal(before.timers, hub.stats().timers)
    end)

    it("shows itself", function()
      assert.matches("^<Hub with %d+ greenlets, %d+ ready, %d+ timers, "
        .. "%d+ waiting for descriptors>$", tostring(glua.gethub()))
      assert.equal(glua.gethub(), glua.gethub())
    end)
  end)

  describe("getcurrent", function()
    it("is the running greenlet, the same object each time", function()
      local inside
      local g = glua.spawn(function()
        inside = glua.getcurrent()
        assert(coroutine.wrap(glua.getcurrent)() == inside)
        glua.sleep(0)
        assert(glua.getcurrent() == inside)
      end)
      g:get()
      assert.equal(g, inside)
      assert.equal(glua.getcurrent(), glua.getcurrent())
      assert.not_equal(g, glua.getcurrent())
    end)
  end)

  describe("is_error", function()
    it("knows gluarun's errors, and their kinds", function()
      assert.is_true(glua.is_error(glua.GreenletExit))
      assert.is_true(glua.is_error(glua.GreenletExit, "GreenletExit"))
      assert.is_false(glua.is_error(glua.GreenletExit, "Timeout"))
      assert.is_true(glua.is_error(glua.Timeout(1), "Timeout"))
      for _, e in ipairs {
        "Timeout", 5, true, {}, {kind = "Timeout"}, print, glua.getcurrent(),
        setmetatable({kind = "Timeout"}, {}), setmetatable({}, {__metatable = false}),
      } do
        assert.is_false(glua.is_error(e))
      end
      assert.is_false(glua.is_error(nil))
    end)

    it("finds one line of text in them", function()
      assert.equal("GreenletExit", tostring(glua.GreenletExit))
    end)
  end)

  describe("on_error", function()
    it("is told of each failure once: greenlet, error, traceback", function()
      local e = {}
      local g = glua.spawn(function() error(e) end)
      glua.idle()
      assert.equal(1, #reports)
      assert.equal(g, reports[1].greenlet)
      assert.equal(e, reports[1].error)
      assert.equal(g.traceback, reports[1].traceback)
    end)

    it("is not told of one that somebody waits for", function()
      local g = glua.spawn(function()
        glua.sleep(0)
        error("e", 0)
      end)
      local ok, e = pcall(g.get, g)
      assert.is_false(ok)
      assert.equal("e", e)
      glua.idle()
      assert.same({}, reports)
    end)

    it("is told of one that is only joined", function()
      local g = glua.spawn(error, "e")
      g:join()
      glua.idle()
      assert.equal(1, #reports)
    end)

    it("is told of one whose waiter has given up before", function()
      local g = glua.spawn(function()
        glua.sleep(0.004)
        error("e", 0)
      end)
      g:get(0.001)
      g:join()
      glua.idle()
      assert.equal(1, #reports)
    end)

    it("runs in a greenlet of its own, and may park", function()
      local told = {}
      glua.on_error(function(g, e)
        glua.sleep(0.001)
        told[#told + 1] = e
        assert(g ~= glua.getcurrent())
      end)
      glua.spawn(error, "a", 0)
      glua.spawn(error, "b", 0)
      glua.sleep(0.003)
      glua.idle()
      assert.same({"a", "b"}, told)
    end)

    it("replaces the one before", function()
      local told
      glua.on_error(function(_, e) told = e end)
      glua.spawn(error, "e", 0)
      glua.idle()
      assert.equal("e", told)
      assert.same({}, reports)
    end)

    it("that fails itself is printed, with what it was told, and not told of it", function()
      local result = helper.run [[
        local glua = require "glua"
        local told = 0
        glua.on_error(function()
          told = told + 1
          error("the reporter's own", 0)
        end)
        glua.spawn(error, "the first", 0)
        glua.sleep(0.01)
        print(told)
      ]]
      assert.equal("1\n", result.out)
      assert.equal(0, result.status)
      assert.matches("the first\nstack traceback:", result.err, 1, true)
      assert.matches("the reporter's own\nstack traceback:", result.err, 1, true)
      assert.matches("the function of on_error failed", result.err, 1, true)
    end)

    it("checks its argument", function()
      misuse("bad argument #1 to 'on_error' (function expected, got number)",
        function() glua.on_error(5) end)
    end)
  end)

  describe("signal", function()
    it("runs the function in a fresh greenlet for each signal, with its name", function()
      local got = {}
      local came = event.Event()
      local handle = glua.signal("SIGUSR1", function(...)
        got[#got + 1] = {glua.getcurrent(), ...}
        came:set()
      end, 1, nil, 3)
      for i = 1, 2 do
        send(SIGUSR1)
        assert.is_true(came:wait(10))
        came:clear()
        assert.equal("SIGUSR1", got[i][2])
        assert.same({1, nil, 3}, {got[i][3], got[i][4], got[i][5]})
        assert.not_equal(glua.getcurrent(), got[i][1])
      end
      assert.not_equal(got[1][1], got[2][1])
      handle:cancel()
    end)

    it("knows a signal by any of its names, and by its number", function()
      for _, name in ipairs {"SIGUSR1", "USR1", SIGUSR1} do
        local came = event.Event()
        local handle = glua.signal(name, function() came:set() end)
        send(SIGUSR1)
        assert.is_true(came:wait(10))
        handle:cancel()
      end
    end)

    it("goes to every handler there is, until that is cancelled", function()
      local n = {0, 0}
      local came = event.Event()
      local first = glua.signal("USR1", function() n[1] = n[1] + 1 end)
      local second = glua.signal("USR1", function()
        n[2] = n[2] + 1
        came:set()
      end)
      send(SIGUSR1)
      assert.is_true(came:wait(10))
      first:cancel()
      came:clear()
      send(SIGUSR1)
      assert.is_true(came:wait(10))
      second:cancel()
      second:cancel()
      assert.same({1, 2}, n)
    end)

    it("may park, and reports a failure", function()
      local handle = glua.signal("HUP", function()
        glua.sleep(0.001)
        error("in the handler", 0)
      end)
      send(SIGHUP)
      local deadline = glua.now() + 10
      while not reports[1] and glua.now() < deadline do
        glua.sleep(0.001)
      end
      handle:cancel()
      assert.equal("in the handler", reports[1].error)
    end)

    it("lets main wait for it for ever", function()
      local result = helper.run [[
        local glua = require "glua"
        local event = require "glua.event"
        local ffi = require "ffi"
        ffi.cdef "int getpid(void); int kill(int, int);"
        local came = event.Event()
        local handle = glua.signal("TERM", function(name)
          print(name)
          io.stdout:flush()
          came:set()
        end)
        glua.spawn_later(0.005, ffi.C.kill, ffi.C.getpid(), 15)
        came:wait()
        handle:cancel()
        ffi.C.kill(ffi.C.getpid(), 15)
        glua.sleep(10)
      ]]
      assert.equal("SIGTERM\n", result.out)
      assert.equal(128 + 15, result.status)
    end)

    it("replaces the interrupt of main by SIGINT, until it is cancelled", function()
      local result = helper.run [[
        local glua = require "glua"
        local event = require "glua.event"
        local ffi = require "ffi"
        ffi.cdef "int getpid(void); int kill(int, int);"
        local came = event.Event()
        local handle = glua.signal("INT", function() came:set() end)
        ffi.C.kill(ffi.C.getpid(), 2)
        print(came:wait(10))
        handle:cancel()
        ffi.C.kill(ffi.C.getpid(), 2)
        local ok, e = pcall(glua.sleep, 10)
        print(ok, e.kind, e)
      ]]
      assert.equal("true\nfalse\tinterrupted\tinterrupted\n", result.out)
      assert.equal(0, result.status)
    end)

    it("shows itself", function()
      local handle = glua.signal("USR2", print)
      assert.equal("<SignalHandler USR2>", tostring(handle))
      handle:cancel()
      assert.equal("<SignalHandler USR2, cancelled>", tostring(handle))
    end)

    it("checks its arguments", function()
      misuse("bad argument #1 to 'signal' (no signal to handle: 'SIGFOO')",
        function() glua.signal("SIGFOO", print) end)
      misuse("bad argument #1 to 'signal' (no signal to handle: 'KILL')",
        function() glua.signal("KILL", print) end)
      misuse("bad argument #1 to 'signal' (no signal to handle: '0')",
        function() glua.signal(0, print) end)
      misuse("bad argument #1 to 'signal' (name or number expected, got table)",
        function() glua.signal({}, print) end)
      misuse("bad argument #2 to 'signal' (function expected, got nil)",
        function() glua.signal("TERM") end)
    end)
  end)
end)
