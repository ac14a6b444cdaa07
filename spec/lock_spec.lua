-- lock_spec.lua: Semaphore, BoundedSemaphore, Lock, RLock, Condition, Barrier.

local event = require "glua.event"
local glua = require "glua"
local helper = require "spec.helper"
local lock = require "glua.lock"

local function list(...)
  return {n = select("#", ...), ...}
end

-- A greenlet that acquires, notes its name, and releases when told.
local function holder(l, log, name)
  local go = event.Event()
  local g = glua.spawn(function()
    l:acquire()
    log[#log + 1] = name
    go:wait()
    l:release()
  end)
  return g, go
end

describe("glua.lock", function()
  helper.leaves_nothing_behind()

  -- ---- Semaphore ----

  it("lets as many in as it counts", function()
    local s = lock.Semaphore(2)
    assert.is_false(s:locked())
    assert.is_true(s:acquire())
    assert.is_true(s:acquire(10))
    assert.is_true(s:locked())
    assert.is_false(s:acquire(0))
    assert.is_false(s:acquire(0.001))
    s:release()
    assert.is_true(s:acquire(0))
    assert.is_true(lock.Semaphore():acquire(0))
    assert.is_false(lock.Semaphore(0):acquire(0))
  end)

  it("does not let others run when there is no need to wait", function()
    local s = lock.Semaphore(1)
    local ran = false
    local g = glua.spawn(function() ran = true end)
    s:acquire()
    assert.is_false(s:acquire(0))
    s:release()
    s:with(function() end)
    assert.is_false(ran)
    g:join()
  end)

  it("hands over in the order of coming", function()
    for _, kind in ipairs {"Semaphore", "BoundedSemaphore", "Lock"} do
      local l = lock[kind]()
      local log = {}
      l:acquire()
      for i = 1, 4 do
        glua.spawn(function()
          l:acquire()
          log[#log + 1] = i
          glua.sleep(0)
          l:release()
        end)
      end
      glua.sleep(0)
      l:release()
      while l:locked() do
        glua.sleep(0)
      end
      assert.same({1, 2, 3, 4}, log)
    end
  end)

  it("lets nobody step in between a release and the one it was given to", function()
    for _, kind in ipairs {"Semaphore", "Lock", "RLock"} do
      local l = lock[kind]()
      local log = {}
      l:acquire()
      local g, go = holder(l, log, "first")
      glua.sleep(0)
      l:release()
      assert.is_true(l:locked())
      assert.is_false(l:acquire(0))
      local late = glua.spawn(function()
        l:acquire()
        log[#log + 1] = "late"
        l:release()
      end)
      glua.sleep(0)
      assert.same({"first"}, log)
      go:set()
      glua.joinall {g, late}
      assert.same({"first", "late"}, log)
      assert.is_false(l:locked())
    end
  end)

  it("gives several releases to several waiters", function()
    local s = lock.Semaphore(0)
    local log = {}
    for i = 1, 3 do
      glua.spawn(function()
        s:acquire()
        log[#log + 1] = i
      end)
    end
    glua.sleep(0)
    for _ = 1, 5 do
      s:release()
    end
    glua.sleep(0)
    assert.same({1, 2, 3}, log)
    assert.is_true(s:acquire(0))
    assert.is_true(s:acquire(0))
    assert.is_false(s:acquire(0))
  end)

  it("loses no permit to a waiter that was killed or timed out", function()
    local s = lock.Semaphore(0)
    local killed = glua.spawn(s.acquire, s)
    local late = glua.spawn(s.acquire, s, 0.001)
    local patient = glua.spawn(s.acquire, s)
    glua.sleep(0)
    killed:kill()
    assert.is_false(late:get())
    s:release()
    assert.is_true(patient:get())
    s:release()
    assert.is_true(s:acquire(0))
    assert.is_false(s:acquire(0))
  end)

  it("keeps the permit of one that is killed after it was given", function()
    local s = lock.Semaphore(0)
    local entered, left = false, false
    local g = glua.spawn(function()
      s:with(function()
        entered = true
        glua.sleep(10)
        left = true
      end)
    end)
    glua.sleep(0)
    s:release()
    g:kill(nil, {block = false})
    g:join()
    assert.is_true(entered)
    assert.is_false(left)
    assert.is_true(s:acquire(0))
  end)

  it("keeps count under random waits, timeouts and kills", function()
    math.randomseed(3)
    local s = lock.BoundedSemaphore(3)
    local inside, most = 0, 0
    local greenlets = {}
    for i = 1, 100 do
      greenlets[i] = glua.spawn(function()
        for _ = 1, 10 do
          local limit = math.random(3) > 1 and math.random(0, 3) / 1000 or nil
          if s:acquire(limit) then
            inside = inside + 1
            most = math.max(most, inside)
            local ok, e = pcall(glua.sleep, math.random(0, 1) / 1000)
            inside = inside - 1
            s:release()
            if not ok then
              error(e, 0)
            end
          end
        end
      end)
    end
    for _ = 1, 40 do
      glua.sleep(math.random(0, 1) / 1000)
      greenlets[math.random(#greenlets)]:kill(nil, {block = false})
    end
    glua.joinall(greenlets)
    for _, g in ipairs(greenlets) do
      assert.is_true(g:successful(), tostring(g.exception))
    end
    assert.equal(3, most)
    for _ = 1, 3 do
      assert.is_true(s:acquire(0))
    end
    assert.is_false(s:acquire(0))
  end)

  it("refuses to be released more often than acquired, where it has a bound", function()
    local message = "release: more often than it was acquired"
    for _, l in ipairs {lock.Lock(), lock.BoundedSemaphore(), lock.BoundedSemaphore(2)} do
      helper.misuse(message, function() l:release() end)
      l:acquire()
      l:release()
      helper.misuse(message, function() l:release() end)
      assert.is_true(l:acquire(0))
    end
    local s = lock.Semaphore(0)
    s:release()
    assert.is_true(s:acquire(0))
  end)

  it("can be waited for", function()
    local s, other = lock.Semaphore(0), lock.Semaphore(0)
    glua.spawn(s.release, s)
    assert.same({s}, glua.wait({other, s}, 10, 1))
    assert.is_true(s:ready())
    s:acquire()
    assert.is_false(s:ready())
  end)

  -- ---- with ----

  it("runs a function with the lock held, and returns what it returns", function()
    for _, kind in ipairs {"Semaphore", "BoundedSemaphore", "Lock", "RLock", "Condition"} do
      local l = lock[kind]()
      assert.same(list(1, nil, 3, nil), list(l:with(function(...)
        assert.is_true(l:locked())
        return ...
      end, 1, nil, 3, nil)))
      assert.is_false(l:locked())
    end
  end)

  it("releases on every way out", function()
    for _, kind in ipairs {"Semaphore", "BoundedSemaphore", "Lock", "RLock", "Condition"} do
      local l = lock[kind]()
      for _, e in ipairs {"text", {}, false} do
        local ok, raised = pcall(l.with, l, function() error(e, 0) end)
        assert.is_false(ok)
        assert.equal(e, raised)
        assert.is_false(l:locked())
      end
      assert.same(list(false, nil), list(pcall(l.with, l, function() error(nil, 0) end)))
      assert.is_false(l:locked())

      local g = glua.spawn(l.with, l, glua.sleep, 10)
      glua.sleep(0)
      assert.is_true(l:locked())
      g:kill()
      assert.is_false(l:locked())

      assert.is_false((pcall(glua.with_timeout, 0.001, l.with, l, glua.sleep, 10)))
      assert.is_false(l:locked())

      l:acquire()
      g = glua.spawn(l.with, l, function() error("must not run") end)
      glua.sleep(0)
      g:kill()
      l:release()
      assert.is_false(l:locked())
    end
  end)

  it("keeps the place of an error that passes through with", function()
    local l = lock.Lock()
    local ok, e = pcall(l.with, l, function() error("failed") end)
    assert.is_false(ok)
    assert.matches("^[^:]*lock_spec.lua:%d+: failed$", e)
  end)

  it("refuses what cannot be called, and does not keep the lock", function()
    local l = lock.Lock()
    helper.misuse("bad argument #1 to 'with' (function expected, got number)",
      function() l:with(5) end)
    assert.is_false(l:locked())
  end)

  -- ---- RLock ----

  it("can be acquired again by its holder alone", function()
    local l = lock.RLock()
    assert.is_true(l:acquire())
    assert.is_true(l:acquire(0))
    assert.is_true(l:with(l.acquire, l))
    local other = glua.spawn(function()
      assert.is_false(l:acquire(0))
      helper.misuse("release: the RLock is not held by this greenlet",
        function() l:release() end)
      l:acquire()
      l:release()
      return "was in"
    end)
    for _ = 1, 3 do
      glua.sleep(0)
      assert.is_false(other:ready())
      assert.is_true(l:locked())
      l:release()
    end
    assert.equal("was in", other:get())
    assert.is_false(l:locked())
    helper.misuse("release: the RLock is not held by this greenlet", function() l:release() end)
  end)

  it("is held by the greenlet, whichever coroutine acquires it", function()
    local l = lock.RLock()
    coroutine.wrap(function()
      l:acquire()
      coroutine.wrap(function() l:acquire() end)()
    end)()
    l:release()
    l:release()
    assert.is_false(l:locked())
  end)

  -- ---- Condition ----

  it("wakes as many as were notified, in order", function()
    local c = lock.Condition()
    local log = {}
    local waiters = {}
    for i = 1, 5 do
      waiters[i] = glua.spawn(function()
        c:acquire()
        assert.is_true(c:wait())
        log[#log + 1] = i
        c:release()
      end)
    end
    glua.sleep(0)
    c:with(c.notify, c)
    waiters[1]:join()
    glua.sleep(0)
    assert.same({1}, log)
    c:with(c.notify, c, 2)
    waiters[3]:join()
    glua.sleep(0)
    assert.same({1, 2, 3}, log)
    c:with(c.notify_all, c)
    glua.joinall(waiters)
    assert.same({1, 2, 3, 4, 5}, log)
    c:with(c.notify, c)
    c:with(function() assert.is_false(c:wait(0.001)) end) -- nothing is remembered
  end)

  it("holds the lock when wait returns or raises, and not in between", function()
    for _, inner in ipairs {lock.Lock(), lock.RLock(), lock.Semaphore()} do
      local c = lock.Condition(inner)
      local seen = {}
      local waiter = glua.spawn(function()
        c:acquire()
        local ok, e = pcall(c.wait, c)
        seen[1] = inner:locked()
        c:release()
        if not ok then
          error(e, 0)
        end
      end)
      glua.sleep(0)
      assert.is_false(inner:locked())
      c:acquire()
      c:notify()
      glua.sleep(0)
      assert.same({}, seen) -- it waits for the lock
      c:release()
      waiter:get()
      assert.same({true}, seen)
      assert.is_false(inner:locked())

      local acquired = false
      waiter = glua.spawn(function()
        c:with(function()
          local ok, e = pcall(c.wait, c)
          acquired = inner:locked()
          assert.is_false(ok)
          error(e, 0)
        end)
      end)
      glua.sleep(0)
      c:acquire()
      waiter:kill(nil, {block = false})
      glua.sleep(0)
      assert.is_false(waiter:ready()) -- even a kill waits for the lock
      c:release()
      waiter:join()
      assert.is_true(acquired)
      assert.is_false(inner:locked())
    end
  end)

  it("acquires an RLock again as often as it was acquired", function()
    local c = lock.Condition()
    local waiter = glua.spawn(function()
      c:acquire()
      c:acquire()
      c:wait()
      c:release()
      assert.is_true(c:locked())
      c:release()
    end)
    glua.sleep(0)
    assert.is_false(c:locked())
    c:with(c.notify, c)
    waiter:get()
    assert.is_false(c:locked())
  end)

  it("waits for a predicate", function()
    local c = lock.Condition()
    local value = 0
    local waiter = glua.spawn(function()
      return c:with(function()
        return c:wait_for(function()
          assert.is_true(c:locked())
          return value >= 2 and "it is " .. value
        end)
      end)
    end)
    for i = 1, 2 do
      glua.sleep(0)
      assert.is_false(waiter:ready())
      value = i
      c:with(c.notify, c)
    end
    assert.equal("it is 2", waiter:get())
    c:acquire()
    assert.equal(1, c:wait_for(function() return 1 end))
    local asked = 0
    assert.is_false(c:wait_for(function()
      asked = asked + 1
      return false
    end, 0.001))
    assert.equal(2, asked)
  end)

  it("does not stay in wait_for when it is notified for nothing all the time", function()
    local c = lock.Condition()
    local notifier = glua.spawn(function()
      while true do
        c:with(c.notify, c)
        glua.sleep(0)
      end
    end)
    local before = glua.now()
    assert.is_false(c:with(c.wait_for, c, function() return false end, 0.003))
    assert.is_true(glua.now() - before >= 0.003 - 1e-9)
    notifier:kill()
  end)

  it("refuses to wait or notify without the lock", function()
    local c = lock.Condition()
    helper.misuse("wait: the Condition's lock is not held", function() c:wait() end)
    helper.misuse("notify: the Condition's lock is not held", function() c:notify() end)
    helper.misuse("notify_all: the Condition's lock is not held", function() c:notify_all() end)
    c:acquire()
    local other = glua.spawn(function()
      helper.misuse("wait: the Condition's lock is not held", function() c:wait() end)
      helper.misuse("notify: the Condition's lock is not held", function() c:notify() end)
    end)
    other:get()
    helper.misuse("bad argument #1 to 'notify' (positive integer expected, got 0)",
      function() c:notify(0) end)
    helper.misuse("bad argument #1 to 'wait_for' (function expected, got nil)",
      function() c:wait_for() end)
    c:release()
    helper.misuse("bad argument #1 to 'Condition' (lock expected, got number)",
      function() lock.Condition(5) end)
  end)

  -- ---- Barrier ----

  it("lets go when all are there, again and again", function()
    local b = lock.Barrier(3)
    local log = {}
    local greenlets = {}
    for i = 1, 3 do
      greenlets[i] = glua.spawn(function()
        for _ = 1, 3 do
          local place = b:wait()
          log[#log + 1] = place
        end
      end)
    end
    glua.joinall(greenlets)
    -- The last one to come does not wait, and the next round begins with it.
    assert.same({3, 1, 2, 3, 1, 2, 3, 1, 2}, log)
    assert.equal(1, lock.Barrier(1):wait())
  end)

  it("breaks when one gives up", function()
    for _, give_up in ipairs {
      function(g) g:kill() end,
      function(g) assert.same(list(nil, "timeout"), list(g:get())) end,
    } do
      local b = lock.Barrier(3)
      local quitter = glua.spawn(b.wait, b, 0.002)
      local other = glua.spawn(b.wait, b)
      glua.sleep(0)
      give_up(quitter)
      assert.same(list(nil, "broken"), list(other:get()))
      assert.same(list(nil, "broken"), list(b:wait()))
      b:reset()
      for i = 1, 2 do
        local g = glua.spawn(b.wait, b)
        glua.sleep(0)
        assert.matches("Barrier " .. i .. " of 3", tostring(b))
        assert.is_false(g:ready())
      end
      assert.equal(3, b:wait())
    end
  end)

  it("does not take one that gives up in this turn for present", function()
    local b = lock.Barrier(2)
    local quitter = glua.spawn(b.wait, b)
    glua.sleep(0)
    quitter:kill(nil, {block = false})
    assert.same(list(nil, "broken"), list(b:wait()))
    quitter:join()
  end)

  it("is not broken by one that gave up before the reset", function()
    local b = lock.Barrier(2)
    local quitter = glua.spawn(b.wait, b)
    glua.sleep(0)
    quitter:kill(nil, {block = false})
    b:reset()
    local first = glua.spawn(b.wait, b)
    quitter:join()
    glua.sleep(0)
    assert.equal(2, b:wait())
    assert.equal(1, first:get())
  end)

  it("tells those who wait when it is aborted or reset", function()
    local b = lock.Barrier(3)
    for _, name in ipairs {"reset", "abort"} do
      local waiters = {glua.spawn(b.wait, b), glua.spawn(b.wait, b)}
      glua.sleep(0)
      b[name](b)
      for _, g in ipairs(waiters) do
        assert.same(list(nil, "broken"), list(g:get()))
      end
    end
    assert.same(list(nil, "broken"), list(b:wait()))
  end)

  -- ---- misuse and looks ----

  it("refuses wrong counts, at the caller's line", function()
    local function refuses(what, expected, wrong)
      helper.misuse(("bad argument #1 to '%s' (%s)"):format(what, expected),
        function() lock[what](wrong) end)
    end
    for _, what in ipairs {"Semaphore", "BoundedSemaphore"} do
      refuses(what, "non-negative integer expected, got -1", -1)
      refuses(what, "non-negative integer expected, got 0.5", 0.5)
      refuses(what, "non-negative integer expected, got x", "x")
    end
    refuses("Barrier", "positive integer expected, got 0", 0)
    refuses("Barrier", "positive integer expected, got nil", nil)
  end)

  it("shows itself", function()
    local s = lock.Semaphore(2)
    assert.equal("<Semaphore 2, 0 waiting>", tostring(s))
    local l = lock.Lock()
    l:acquire()
    local g = glua.spawn(l.acquire, l)
    glua.sleep(0)
    assert.equal("<Lock 0, 1 waiting>", tostring(l))
    assert.matches("parked in Lock.acquire", tostring(g))
    l:release()
    g:join()
    assert.equal("<RLock free>", tostring(lock.RLock()))
    local r = lock.RLock()
    r:acquire()
    assert.equal(("<RLock held once by %s>"):format(tostring(glua.getcurrent())), tostring(r))
    r:acquire()
    assert.matches("^<RLock held 2 times by <Greenlet ", tostring(r))
    g = glua.spawn(r.acquire, r)
    glua.sleep(0)
    r:release()
    r:release()
    assert.equal("<RLock changing hands>", tostring(r))
    g:join()
    assert.equal("<Condition with <RLock free>, 0 waiting>", tostring(lock.Condition()))
    local b = lock.Barrier(2)
    assert.equal("<Barrier 0 of 2>", tostring(b))
    b:abort()
    assert.equal("<Barrier 0 of 2, broken>", tostring(b))
  end)

  it("says so when a method is called with '.'", function()
    local s = lock.Semaphore()
    helper.misuse("bad argument #1 to 'release' (lock expected, got nil; call it with ':')",
      function() s.release() end)
    helper.misuse("bad argument #1 to 'acquire' (lock expected, got number; call it with ':')",
      function() s.acquire(0) end)
    helper.misuse("bad argument #1 to 'with' (lock expected, got function; call it with ':')",
      function() s.with(print) end)
    helper.misuse("bad argument #1 to 'release' (RLock expected, got nil; call it with ':')",
      function() lock.RLock().release() end)
    helper.misuse("bad argument #1 to 'notify' (Condition expected, got nil; call it with ':')",
      function() lock.Condition().notify() end)
    helper.misuse("bad argument #1 to 'wait' (Barrier expected, got nil; call it with ':')",
      function() lock.Barrier(2).wait() end)
  end)

  it("an RLock has no holder outside of greenlets", function()
    local result = helper.run([[
      local r = require("glua.lock").RLock()
      kept = newproxy(true)
      getmetatable(kept).__gc = function()
        print(pcall(r.release, r))
        print(pcall(r.acquire, r))
        print(r:locked())
      end]])
    assert.matches("false\t.-release: no greenlet is running\n"
      .. "false\t.-acquire: no greenlet is running\nfalse\n", result.out)
  end)
end)
