-- timeout_spec.lua: Timeout, with_timeout, shield.

local glua = require "glua"
local event = require "glua.event"
local helper = require "spec.helper"
local queue = require "glua.queue"

local burn, misuse = helper.burn, helper.misuse

-- The error that fn(...) raises.
local function failure(fn, ...)
  local ok, e = pcall(fn, ...)
  assert.is_false(ok)
  return e
end

describe("glua.Timeout", function()
  helper.leaves_nothing_behind()

  it("is raised in the greenlet that started it, after its time", function()
    local t = glua.Timeout(0.002)
    local before = glua.now()
    assert.equal(t, t:start())
    assert.equal(t, failure(glua.sleep, 1000))
    assert.is_true(glua.now() - before >= 0.002)
  end)

  it("is raised once", function()
    glua.Timeout(0.001):start()
    failure(glua.sleep, 1000)
    glua.sleep(0.002)
    glua.sleep(0)
  end)

  it("is an error of kind Timeout with its seconds", function()
    local t = glua.Timeout(0.001):start()
    local e = failure(glua.sleep, 1000)
    assert.equal(t, e)
    assert.is_true(glua.is_error(e))
    assert.is_true(glua.is_error(e, "Timeout"))
    assert.is_false(glua.is_error(e, "LoopExit"))
    assert.equal(0.001, e.seconds)
    assert.equal("Timeout: 0.001 seconds", tostring(e))
    assert.equal("Timeout: never", tostring(glua.Timeout()))
  end)

  it("raises an error of one's own in its place", function()
    for _, e in ipairs {"too slow", false, {}} do
      glua.Timeout(0, e):start()
      assert.equal(e, failure(glua.sleep, 1000))
    end
  end)

  it("is not raised when it was cancelled", function()
    local t = glua.Timeout(0.001):start()
    t:cancel()
    glua.sleep(0.003)
    t:cancel()
    glua.Timeout(1):cancel()
  end)

  it("is not raised when it was cancelled after its time, before the next park", function()
    local t = glua.Timeout(0.001):start()
    burn(0.002)
    t:cancel()
    glua.sleep(0)
  end)

  it("is not raised when it was cancelled after it has fired, before the next park", function()
    local e = event.Event()
    local g = glua.spawn(function()
      local t = glua.Timeout(0.001):start()
      e:wait()
      assert(t.pending)
      t:cancel()
      glua.sleep(0)
      return "fine"
    end)
    glua.sleep(0)
    -- The hub polls after a while, before g at the end of the queue has its turn.
    for _ = 1, 200 do
      glua.spawn(function() end)
    end
    e:set()
    burn(0.002)
    assert.equal("fine", g:get())
  end)

  it("is raised at the next park when its time is over in the midst of work", function()
    local t = glua.Timeout(0.001):start()
    burn(0.002)
    glua.spawn(function() end)
    assert.equal(t, failure(function()
      while true do
        glua.sleep(0)
      end
    end))
  end)

  it("is pending between its start and its end", function()
    local t = glua.Timeout(0.001)
    assert.is_false(t.pending)
    t:start()
    assert.is_true(t.pending)
    failure(glua.sleep, 1000)
    assert.is_false(t.pending)
    t:start()
    t:cancel()
    assert.is_false(t.pending)
  end)

  it("can be started again when it is over", function()
    local t = glua.Timeout(0.001)
    for _ = 1, 3 do
      t:start()
      assert.equal(t, failure(glua.sleep, 1000))
    end
  end)

  it("cannot be started while it is pending", function()
    local t = glua.Timeout(1000):start()
    misuse("start: the Timeout is started already", function() t:start() end)
    t:cancel()
  end)

  it("without seconds is never raised", function()
    local t = glua.Timeout():start()
    assert.is_false(t.pending)
    glua.sleep(0.001)
    t:cancel()
  end)

  it("is let go when its greenlet ends", function()
    local t = glua.Timeout(0.001)
    glua.spawn(function() t:start() end):join()
    assert.is_false(t.pending)
    glua.sleep(0.003)
  end)

  it("interrupts whatever its greenlet waits for", function()
    local g = glua.spawn(glua.sleep, 1000)
    local q = queue.Queue()
    for _, wait in ipairs {
      function() glua.sleep(1000) end,
      function() g:join() end,
      function() g:get() end,
      function() event.Event():wait() end,
      function() q:get() end,
      function() glua.wait({g}) end,
      function() glua.joinall({g}) end,
      function() glua.scope(function(s) s:spawn(glua.sleep, 1000) end) end,
      function() coroutine.wrap(function() glua.sleep(1000) end)() end,
    } do
      local t = glua.Timeout(0.001):start()
      assert.equal(t, failure(wait))
    end
    g:kill()
  end)

  it("interrupts only its own greenlet", function()
    local other = glua.spawn(function()
      glua.sleep(0.003)
      return "slept"
    end)
    local t = glua.Timeout(0.001):start()
    assert.equal(t, failure(other.join, other))
    assert.equal("slept", other:get())
  end)

  it("cancelled by another greenlet is not raised, if that came in time", function()
    local t
    local g = glua.spawn(function()
      t = glua.Timeout(0.002):start()
      glua.sleep(0.004)
      return "slept"
    end)
    glua.sleep(0)
    t:cancel()
    assert.equal("slept", g:get())
  end)

  it("cancelled by another greenlet in the turn in which it fires is raised", function()
    local t
    local g = glua.spawn(function()
      t = glua.Timeout(0.002):start()
      glua.sleep(1000)
    end)
    glua.sleep(0)
    local canceller = glua.spawn(function()
      burn(0.003)
      local polls = glua.gethub().stats().polls
      repeat -- until the hub has fired it: then this one goes on before its greenlet
        glua.sleep(0)
      until glua.gethub().stats().polls > polls
      t:cancel()
    end)
    assert.equal(t, failure(g.get, g))
    canceller:join()
  end)

  describe("nested", function()
    it("a shorter one inside keeps its own, and so does the outer one", function()
      local outer = glua.Timeout(0.004):start()
      local inner = glua.Timeout(0.001):start()
      assert.equal(inner, failure(glua.sleep, 1000))
      inner:cancel()
      assert.is_true(outer.pending)
      assert.equal(outer, failure(glua.sleep, 1000))
    end)

    it("a longer one inside does not delay the outer one", function()
      local outer = glua.Timeout(0.001):start()
      local inner = glua.Timeout(0.004):start()
      assert.equal(outer, failure(glua.sleep, 1000))
      assert.is_true(inner.pending)
      assert.equal(inner, failure(glua.sleep, 1000))
    end)

    it("tell by == whose it is", function()
      local a = glua.Timeout(0.001)
      local b = glua.Timeout(0.002)
      a:start()
      b:start()
      local order = {failure(glua.sleep, 1000), failure(glua.sleep, 1000)}
      assert.equal(a, order[1])
      assert.equal(b, order[2])
      assert.not_equal(a, b)
    end)

    it("are all raised when all their times are over", function()
      local list = {}
      for i = 1, 3 do
        list[i] = glua.Timeout(0.001):start()
      end
      burn(0.002)
      for i = 1, 3 do
        assert.equal(list[i], failure(glua.sleep, 1000))
      end
      glua.sleep(0)
    end)
  end)

  describe("as a timeout argument", function()
    it("is as good as its seconds, if it is not started", function()
      local t = glua.Timeout(0.001)
      local g = glua.spawn(glua.sleep, 1000)
      local q = queue.Queue()
      local before = glua.now()
      assert.is_false(event.Event():wait(t))
      assert.same({nil, "empty"}, {q:get(t)})
      assert.is_false(g:join(t))
      assert.same({nil, "timeout"}, {g:get(t)})
      assert.same({}, glua.joinall({g}, t))
      assert.same({}, glua.wait({g}, t))
      assert.is_true(glua.now() - before >= 0.006)
      assert.is_false(t.pending)
      g:kill()
    end)

    it("bounds several calls together, if it is started", function()
      local before = glua.now()
      local t = glua.Timeout(0.004):start()
      local q = queue.Queue()
      q:put(1)
      glua.spawn(q.put, q, 2)
      assert.equal(1, q:get(t))
      assert.equal(2, q:get(t))
      assert.is_true(t.pending)
      assert.same({nil, "empty"}, {q:get(t)})
      assert.is_true(glua.now() - before >= 0.004)
      assert.is_false(t.pending)
      glua.sleep(0.001)
    end)

    it("leaves an outer one to be raised", function()
      local outer = glua.Timeout(0.001):start()
      local q = queue.Queue()
      assert.equal(outer, failure(q.get, q, glua.Timeout(1000)))
      assert.equal(outer:start(), failure(q.get, q, 1000))
    end)

    it("of another greenlet counts as its seconds", function()
      local t = glua.Timeout(0.002):start()
      local g = glua.spawn(function() return event.Event():wait(t) end)
      assert.equal(t, failure(glua.sleep, 1000))
      assert.is_false(g:get())
    end)
  end)

  it("checks its arguments", function()
    misuse("bad argument #1 to 'Timeout' (timeout: non-negative seconds expected, got -1)",
      function() glua.Timeout(-1) end)
    misuse("bad argument #1 to 'Timeout' (timeout: non-negative seconds expected, got nan)",
      function() glua.Timeout(0/0) end)
    misuse("bad argument #1 to 'Timeout' (timeout: non-negative seconds expected, got string)",
      function() glua.Timeout("1") end)
    misuse("bad argument #1 to 'Timeout' (seconds expected, got a Timeout)",
      function() glua.Timeout(glua.Timeout(1)) end)
    misuse("bad argument #1 to 'start' (Timeout expected, got number; call it with ':')",
      function() glua.Timeout(1).start(5) end)
  end)
end)

describe("glua.with_timeout", function()
  helper.leaves_nothing_behind()

  it("returns all that the function returns", function()
    assert.same({1, nil, 3}, {glua.with_timeout(1, function(...) return ... end, 1, nil, 3)})
    assert.equal(2, select("#", glua.with_timeout(1, function() return nil, nil end)))
    assert.equal(0, select("#", glua.with_timeout(1, function() end)))
  end)

  it("passes on what the function raises", function()
    local object = {}
    assert.equal(object, failure(glua.with_timeout, 1, error, object))
    assert.is_nil(failure(glua.with_timeout, 1, error))
  end)

  it("raises a Timeout when its time is over", function()
    local before = glua.now()
    local e = failure(glua.with_timeout, 0.002, glua.sleep, 1000)
    assert.is_true(glua.now() - before >= 0.002)
    assert.is_true(glua.is_error(e, "Timeout"))
    assert.equal(0.002, e.seconds)
  end)

  it("is a deadline that pcall cannot swallow: sticky until the function is left", function()
    local caught, first = 0, nil
    local e = failure(glua.with_timeout, 0.001, function()
      for _ = 1, 5 do
        local _, raised = pcall(glua.sleep, 1000)
        first = first or raised
        caught = caught + (raised == first and 1 or 0)
      end
      glua.sleep(0)
    end)
    assert.equal(5, caught)
    assert.equal(first, e)
    glua.sleep(0)
  end)

  it("returns results although its time was over, when the function does", function()
    assert.equal("late", glua.with_timeout(0.001, function()
      burn(0.002)
      return "late"
    end))
    assert.equal("anyway", glua.with_timeout(0.001, function()
      pcall(glua.sleep, 1000)
      return "anyway"
    end))
    glua.sleep(0.002)
  end)

  it("returns `value` in its place", function()
    assert.equal("default", glua.with_timeout({seconds = 0.001, value = "default"},
      glua.sleep, 1000))
    assert.is_false(glua.with_timeout({seconds = 0.001, value = false}, glua.sleep, 1000))
    assert.equal("result", glua.with_timeout({seconds = 1, value = "default"},
      function() return "result" end))
    assert.equal("other", failure(glua.with_timeout, {seconds = 1, value = "default"},
      error, "other"))
  end)

  it("does not give its value for a Timeout that is not its own", function()
    local outer = glua.Timeout(0.001):start()
    assert.equal(outer, failure(glua.with_timeout, {seconds = 1000, value = "default"},
      glua.sleep, 1000))
  end)

  it("without a time is a plain call", function()
    assert.equal(1, glua.with_timeout(nil, function() return 1 end))
    assert.equal(1, glua.with_timeout(math.huge, function() return 1 end))
    assert.equal(1, glua.with_timeout({value = 2}, function() return 1 end))
  end)

  it("of no seconds lets the function run to its first wait", function()
    local ran = false
    failure(glua.with_timeout, 0, function()
      ran = true
      glua.sleep(1000)
    end)
    assert.is_true(ran)
    assert.equal(1, glua.with_timeout(0, function() return 1 end))
  end)

  it("takes a Timeout, and raises that one", function()
    local t = glua.Timeout(0.001)
    assert.equal(t, failure(glua.with_timeout, t, glua.sleep, 1000))
    local u = glua.Timeout(0.001, "too slow")
    assert.equal("too slow", failure(glua.with_timeout, u, glua.sleep, 1000))
    assert.equal("v", glua.with_timeout({seconds = t, value = "v"}, glua.sleep, 1000))
  end)

  it("takes a Timeout that is started", function()
    local t = glua.Timeout(0.001):start()
    assert.equal("v", glua.with_timeout({seconds = t, value = "v"}, glua.sleep, 1000))
    t:start()
    assert.equal(t, failure(glua.with_timeout, t, glua.sleep, 1000))
    t:start()
    assert.equal(1, glua.with_timeout(t, function() return 1 end))
    assert.is_true(t.pending)
    t:cancel()
  end)

  describe("nested", function()
    it("a shorter one inside is its own, and the outer one goes on", function()
      local inner
      local outer = failure(glua.with_timeout, 0.1, function()
        inner = failure(glua.with_timeout, 0.001, glua.sleep, 1000)
        glua.sleep(1000)
      end)
      assert.equal(0.001, inner.seconds)
      assert.equal(0.1, outer.seconds)
    end)

    it("a longer one inside does not outlive the outer one", function()
      local after = false
      local e = failure(glua.with_timeout, 0.001, function()
        glua.with_timeout({seconds = 1000, value = "inner"}, glua.sleep, 1000)
        after = true
      end)
      assert.equal(0.001, e.seconds)
      assert.is_false(after)
      glua.sleep(0.001)
    end)

    it("the outer one is raised first when the times of both are over", function()
      local e = failure(glua.with_timeout, 0.001, function()
        glua.with_timeout(0.001, function()
          burn(0.003)
          glua.sleep(1000)
        end)
      end)
      assert.equal(0.001, e.seconds)
      local order = {}
      pcall(glua.with_timeout, glua.Timeout(0.001, "outer"), function()
        order[1] = failure(glua.with_timeout, glua.Timeout(0.001, "inner"), function()
          burn(0.003)
          glua.sleep(1000)
        end)
      end)
      assert.same({"outer"}, order)
    end)

    it("works inside of a Timeout, and the other way round", function()
      local t = glua.Timeout(1000):start()
      assert.equal(0.001, failure(glua.with_timeout, 0.001, glua.sleep, 1000).seconds)
      t:cancel()
      t = glua.Timeout(0.001):start()
      assert.equal(t, failure(glua.with_timeout, 1000, glua.sleep, 1000))
      glua.with_timeout(1000, function()
        local u = glua.Timeout(0.001):start()
        assert.equal(u, failure(glua.sleep, 1000))
      end)
      local u = glua.Timeout(1000)
      assert.equal(0.001, failure(glua.with_timeout, 0.001, function()
        u:start()
        glua.sleep(1000)
      end).seconds)
      u:cancel()
    end)
  end)

  it("does not end the greenlets that the function spawned", function()
    local g
    failure(glua.with_timeout, 0.001, function()
      g = glua.spawn(function()
        glua.sleep(0.003)
        return "alive"
      end)
      glua.sleep(1000)
    end)
    assert.equal("alive", g:get())
  end)

  describe("in a coroutine of the script's", function()
    it("bounds what parks there", function()
      local wait = coroutine.wrap(function()
        return pcall(glua.with_timeout, 0.001, glua.sleep, 1000)
      end)
      local ok, e = wait()
      assert.is_false(ok)
      assert.equal(0.001, e.seconds)
    end)

    it("goes on when that has yielded and is resumed", function()
      local generate = coroutine.wrap(function()
        return glua.with_timeout({seconds = 0.003, value = "over"}, function()
          coroutine.yield(1)
          glua.sleep(1000)
        end)
      end)
      assert.equal(1, generate())
      assert.equal("over", generate())
      glua.sleep(0)
    end)

    it("may be left after one that was entered later", function()
      local generate
      local e = failure(glua.with_timeout, 0.002, function()
        generate = coroutine.wrap(function()
          return glua.with_timeout({seconds = 0.004, value = "over"}, function()
            coroutine.yield()
            glua.sleep(1000)
          end)
        end)
        generate()
        glua.sleep(1000)
      end)
      assert.equal(0.002, e.seconds)
      assert.equal("over", generate())
      glua.sleep(0.003)
    end)

    it("is raised once outside, if that never goes on", function()
      local generate = coroutine.wrap(function() glua.with_timeout(0.001, coroutine.yield) end)
      generate()
      assert.equal(0.001, failure(glua.sleep, 1000).seconds)
      glua.sleep(0.001)
      glua.sleep(0)
    end)
  end)

  it("checks its arguments", function()
    misuse("bad argument #1 to 'with_timeout' "
      .. "(timeout: non-negative seconds expected, got -1)",
      function() glua.with_timeout(-1, print) end)
    misuse("bad argument #1 to 'with_timeout' "
      .. "(timeout: non-negative seconds expected, got string)",
      function() glua.with_timeout({seconds = "1"}, print) end)
    misuse("bad argument #1 to 'with_timeout' (unknown option 'second')",
      function() glua.with_timeout({second = 1}, print) end)
    misuse("bad argument #1 to 'with_timeout' (option 'hard' is not supported by this version)",
      function() glua.with_timeout({seconds = 1, hard = true}, print) end)
    misuse("bad argument #2 to 'with_timeout' (function expected, got nil)",
      function() glua.with_timeout(1) end)
  end)
end)

describe("glua.shield", function()
  helper.leaves_nothing_behind()

  it("returns all that the function returns, and raises what it raises", function()
    assert.same({1, nil, 3}, {glua.shield(function(...) return ... end, 1, nil, 3)})
    assert.equal("e", failure(glua.shield, error, "e", 0))
  end)

  it("holds a kill back until the function has returned", function()
    local steps = {}
    local g = glua.spawn(function()
      glua.shield(function()
        glua.sleep(0.002)
        steps[1] = "shielded"
      end)
      steps[2] = "after"
      steps[3] = failure(glua.sleep, 0)
    end)
    glua.sleep(0)
    g:kill()
    assert.same({"shielded", "after", glua.GreenletExit}, steps)
  end)

  it("lets a killed greenlet clean up with calls that park", function()
    local cleaned
    local g = glua.spawn(function()
      pcall(glua.sleep, 1000)
      glua.shield(function()
        glua.sleep(0.001)
        cleaned = event.Event():wait(0.001)
      end)
    end)
    glua.sleep(0)
    assert.is_true(g:kill())
    assert.is_false(cleaned)
  end)

  it("holds back what is thrown, in order", function()
    local caught = {}
    local g = glua.spawn(function()
      glua.shield(glua.sleep, 0.002)
      for i = 1, 2 do
        caught[i] = failure(glua.sleep, 1000)
      end
    end)
    glua.sleep(0)
    g:throw("a")
    g:throw("b")
    g:join()
    assert.same({"a", "b"}, caught)
  end)

  it("holds back a Timeout from outside", function()
    local t = glua.Timeout(0.001):start()
    glua.shield(function()
      glua.sleep(0.002)
      glua.with_timeout(1000, glua.sleep, 0)
      glua.sleep(0)
    end)
    assert.equal(t, failure(glua.sleep, 1000))
    local after = false
    local e = failure(glua.with_timeout, 0.001, function()
      glua.shield(glua.sleep, 0.002)
      after = true
      glua.sleep(1000)
    end)
    assert.equal(0.001, e.seconds)
    assert.is_true(after)
  end)

  it("lets through what was started inside", function()
    glua.shield(function()
      local t = glua.Timeout(0.001):start()
      assert.equal(t, failure(glua.sleep, 1000))
      assert.equal(0.001, failure(glua.with_timeout, 0.001, glua.sleep, 1000).seconds)
      assert.equal("boom", failure(glua.scope, function(s)
        s:spawn(error, "boom", 0)
        glua.sleep(1000)
      end))
    end)
    glua.sleep(0)
  end)

  it("can be nested", function()
    local steps = {}
    local g = glua.spawn(function()
      glua.shield(function()
        glua.shield(glua.sleep, 0.001)
        steps[#steps + 1] = "inner left"
        glua.sleep(0.001)
        steps[#steps + 1] = "outer left"
      end)
      glua.sleep(0)
      steps[#steps + 1] = "not reached"
    end)
    glua.sleep(0)
    g:kill()
    assert.same({"inner left", "outer left"}, steps)
  end)

  it("is left when the function fails", function()
    local g = glua.spawn(function()
      pcall(glua.shield, error, "e")
      glua.sleep(1000)
    end)
    glua.sleep(0)
    assert.is_true(g:kill())
  end)

  it("does not hold back the kill of oneself", function()
    local after = false
    local g = glua.spawn(function()
      glua.shield(function()
        glua.getcurrent():kill()
        after = true
      end)
    end)
    g:join()
    assert.is_false(after)
    assert.is_true(g:successful())
  end)

  it("checks its argument", function()
    misuse("bad argument #1 to 'shield' (function expected, got number)",
      function() glua.shield(5) end)
  end)
end)
