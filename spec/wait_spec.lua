-- wait_spec.lua: glua.wait, iwait, joinall, killall.

local glua = require "glua"
local event = require "glua.event"
local helper = require "spec.helper"
local lock = require "glua.lock"
local queue = require "glua.queue"

local burn, misuse = helper.burn, helper.misuse

-- The error that fn(...) raises.
local function failure(fn, ...)
  local ok, e = pcall(fn, ...)
  assert.is_false(ok)
  return e
end

-- Greenlets that end in the order of the numbers, each in a turn of its own.
local function in_order(...)
  local list = {}
  for i, n in ipairs {...} do
    list[i] = glua.spawn(function()
      for _ = 1, n do
        glua.sleep(0)
      end
      return n
    end)
  end
  return list
end

local function values(list)
  local out = {}
  for i, g in ipairs(list) do
    out[i] = g.value
  end
  return out
end

describe("glua.joinall", function()
  helper.leaves_nothing_behind()

  it("and the other waits refuse a list with a hole", function()
    local g = glua.spawn(function() end)
    for name, message in pairs {
      joinall = "item 1: Greenlet expected, got nil",
      killall = "item 1: Greenlet expected, got nil",
      wait = "item 1 cannot be waited for: nil",
      iwait = "item 1 cannot be waited for: nil",
    } do
      misuse(("bad argument #1 to '%s' (%s)"):format(name, message),
        function() glua[name]({nil, g}) end)
    end
    misuse("bad argument #1 to 'joinall' (item 2: Greenlet expected, got nil)",
      function() glua.joinall({g, nil, g}, {count = 1}) end)
    g:join()
  end)

  local reports
  before_each(function()
    reports = {}
    glua.on_error(function(_, e) reports[#reports + 1] = e end)
  end)
  after_each(function() glua.on_error(nil) end)

  it("waits for all and returns them in the order in which they ended", function()
    assert.same({1, 2, 3}, values(glua.joinall(in_order(2, 3, 1))))
    assert.same({1, 2, 3}, values(glua.joinall(in_order(1, 2, 3))))
    assert.same({1, 2, 3}, values(glua.joinall(in_order(3, 2, 1))))
  end)

  it("returns a list of its own", function()
    local list = in_order(1)
    local ended = glua.joinall(list)
    assert.not_equal(list, ended)
    ended[1] = nil
    assert.equal(1, #list)
  end)

  it("of none returns at once", function()
    assert.same({}, glua.joinall({}))
    assert.same({}, glua.joinall({}, {count = 3}))
  end)

  it("takes those that have ended before", function()
    local list = in_order(2, 1)
    glua.joinall(list)
    assert.same({1, 2}, values(glua.joinall(list)))
    assert.same({1, 2}, values(glua.joinall(list, {count = 2})))
    assert.same({1}, values(glua.joinall(list, {count = 1})))
  end)

  it("returns each once, though it be listed twice", function()
    local list = in_order(2, 1)
    list[3], list[4] = list[1], list[2]
    assert.same({1, 2}, values(glua.joinall(list, {count = 4})))
    assert.same({1, 2}, values(glua.joinall(list)))
  end)

  it("returns those that have ended when its timeout is over", function()
    local list = in_order(2, 1)
    list[3] = glua.spawn(glua.sleep, 1000)
    for _, options in ipairs {0.002, {timeout = 0.002}, {timeout = 0.002, count = 3}} do
      local before = glua.now()
      assert.same({1, 2}, values(glua.joinall(list, options)))
      assert.is_true(glua.now() - before >= 0.002)
    end
    list[3]:kill()
  end)

  it("looks only, with a timeout of 0", function()
    local list = in_order(0)
    list[2] = glua.spawn(glua.sleep, 1000)
    glua.sleep(0)
    assert.same({0}, values(glua.joinall(list, 0)))
    list[2]:kill()
  end)

  it("returns when `count` have ended", function()
    local list = in_order(100, 1, 2)
    assert.same({1, 2}, values(glua.joinall(list, {count = 2})))
    assert.is_false(list[1]:ready())
    glua.joinall(list)
  end)

  it("takes failed and killed ones as ended", function()
    local list = {glua.spawn(error, "e"), glua.spawn(glua.sleep, 1000)}
    glua.sleep(0)
    list[2]:kill(nil, {block = false})
    assert.equal(2, #glua.joinall(list))
    glua.idle()
    assert.same({"e"}, reports)
  end)

  describe("with raise_error", function()
    it("raises the failure that comes first in time", function()
      local list = {
        glua.spawn(function()
          glua.sleep(0.002)
          error("second", 0)
        end),
        glua.spawn(function()
          glua.sleep(0)
          error("first", 0)
        end),
      }
      assert.equal("first", failure(glua.joinall, list, {raise_error = true}))
      assert.is_false(list[1]:ready())
      list[1]:join()
      glua.idle()
      assert.same({"second"}, reports)
    end)

    it("raises it when it happens, and does not wait for the others", function()
      local slow = glua.spawn(glua.sleep, 1000)
      local e = failure(glua.joinall, {slow, glua.spawn(error, "e")}, {raise_error = true})
      assert.equal("e", e)
      assert.is_false(slow:ready())
      assert.same({}, debug.getfenv(slow).links)
      slow:kill()
    end)

    it("raises nil and false, too", function()
      assert.is_nil(failure(glua.joinall, {glua.spawn(error)}, {raise_error = true}))
      assert.is_false(failure(glua.joinall, {glua.spawn(error, false)}, {raise_error = true}))
    end)

    it("raises none if there is none, or none in time", function()
      assert.same({1, 2}, values(glua.joinall(in_order(2, 1), {raise_error = true})))
      local late = glua.spawn(function()
        glua.sleep(0.003)
        error("late", 0)
      end)
      assert.same({}, glua.joinall({late}, {raise_error = true, timeout = 0}))
      late:join()
      glua.idle()
      assert.same({"late"}, reports)
    end)

    it("does not raise what comes after `count`", function()
      local list = in_order(1, 2)
      list[3] = glua.spawn(function()
        list[2]:join()
        error("later", 0)
      end)
      assert.same({1, 2}, values(glua.joinall(list, {raise_error = true, count = 2})))
      list[3]:join()
    end)
  end)

  it("survives a kill in the midst, and leaves no links behind", function()
    local slow = glua.spawn(glua.sleep, 1000)
    for _, options in ipairs {{}, {count = 1}, {raise_error = true}} do
      local joiner = glua.spawn(glua.joinall, {slow}, options)
      glua.sleep(0)
      assert.is_true(joiner:kill())
    end
    assert.is_false(slow:ready())
    slow:kill()
  end)

  it("of oneself is an error", function()
    local me = glua.getcurrent()
    misuse("joinall: a greenlet cannot join itself", function() glua.joinall {me} end)
    misuse("joinall: a greenlet cannot join itself",
      function() glua.joinall({me}, {count = 1}) end)
  end)

  it("checks its arguments", function()
    misuse("bad argument #1 to 'joinall' (table expected, got nil)",
      function() glua.joinall() end)
    misuse("bad argument #1 to 'joinall' (item 1: Greenlet expected, got number)",
      function() glua.joinall {1} end)
    misuse("bad argument #1 to 'joinall' (item 1: Greenlet expected, got number)",
      function() glua.joinall({1}, {count = 1}) end)
    misuse("bad argument #2 to 'joinall' (timeout: non-negative seconds expected, got -1)",
      function() glua.joinall({}, -1) end)
    misuse("bad argument #2 to 'joinall' (timeout: non-negative seconds expected, got -1)",
      function() glua.joinall({}, {timeout = -1, count = 1}) end)
    misuse("bad argument #2 to 'joinall' (timeout: non-negative seconds expected, got boolean)",
      function() glua.joinall({}, true) end)
    misuse("bad argument #2 to 'joinall' (positive integer expected, got 0)",
      function() glua.joinall({}, {count = 0}) end)
    misuse("bad argument #2 to 'joinall' (unknown option 'counts')",
      function() glua.joinall({}, {counts = 1}) end)
  end)
end)

describe("glua.killall", function()
  helper.leaves_nothing_behind()

  it("kills all, those that run and those that have not, and waits for them", function()
    local list = {
      glua.spawn(glua.sleep, 1000), glua.spawn(glua.sleep, 1000), glua.Greenlet(print),
    }
    local cleaned = false
    list[4] = glua.spawn(function()
      pcall(glua.sleep, 1000)
      glua.shield(glua.sleep, 0.001)
      cleaned = true
    end)
    glua.sleep(0)
    list[5] = glua.spawn(print)
    assert.is_true(glua.killall(list))
    for _, g in ipairs(list) do
      assert.is_true(g.dead and g:successful())
    end
    assert.is_true(cleaned)
  end)

  it("kills them at the same time, not one after the other", function()
    local asked = 0
    local list = {}
    for i = 1, 3 do
      list[i] = glua.spawn(function()
        pcall(glua.sleep, 1000)
        asked = asked + 1
        glua.shield(function()
          while asked < 3 do
            glua.sleep(0)
          end
        end)
      end)
    end
    glua.sleep(0)
    assert.is_true(glua.killall(list))
  end)

  it("returns false when it shall not wait, or its timeout is over", function()
    local list = {glua.spawn(function()
      pcall(glua.sleep, 1000)
      glua.shield(glua.sleep, 0.005)
    end)}
    glua.sleep(0)
    assert.is_false(glua.killall(list, nil, {block = false}))
    assert.is_false(glua.killall(list, nil, {timeout = 0.001}))
    assert.is_true(glua.killall(list))
  end)

  it("raises an error of one's own in them", function()
    glua.on_error(function() end)
    finally(function() glua.on_error(nil) end)
    local list = {glua.spawn(glua.sleep, 1000), glua.spawn(glua.sleep, 1000)}
    glua.sleep(0)
    assert.is_true(glua.killall(list, "stop"))
    assert.equal("stop", list[1].exception)
    assert.equal("stop", list[2].exception)
    glua.idle()
  end)

  it("kills the running greenlet last", function()
    local other = glua.spawn(glua.sleep, 1000)
    local g
    g = glua.spawn(function() glua.killall {g, other} end)
    g:join()
    assert.is_true(g:successful())
    other:join()
    assert.is_true(other:successful())
  end)

  it("of dead ones, and of none, does nothing", function()
    local list = in_order(0)
    glua.joinall(list)
    assert.is_true(glua.killall(list))
    assert.is_true(glua.killall({}))
    assert.equal(0, list[1]:get())
  end)

  it("checks its arguments", function()
    misuse("bad argument #1 to 'killall' (table expected, got number)",
      function() glua.killall(1) end)
    misuse("bad argument #1 to 'killall' (item 1: Greenlet expected, got string)",
      function() glua.killall {"g"} end)
    misuse("bad argument #3 to 'killall' (table expected, got number)",
      function() glua.killall({}, nil, 5) end)
    misuse("bad argument #3 to 'killall' (timeout: non-negative seconds expected, got -1)",
      function() glua.killall({}, nil, {timeout = -1}) end)
  end)

  it("kills nobody when one of the list is no Greenlet", function()
    local g = glua.spawn(glua.sleep, 1000)
    glua.sleep(0)
    failure(glua.killall, {g, 5})
    glua.sleep(0)
    assert.is_false(g:ready())
    g:kill()
  end)
end)

describe("glua.wait", function()
  helper.leaves_nothing_behind()

  it("returns the objects in the order in which they become ready", function()
    local e, r, q = event.Event(), event.AsyncResult(), queue.Queue()
    local g = glua.spawn(function()
      q:put(1)
      glua.sleep(0)
      glua.sleep(0)
      e:set()
      glua.sleep(0)
      glua.sleep(0)
      r:set()
      glua.sleep(0)
      glua.sleep(0)
    end)
    assert.same({q, e, r, g}, glua.wait {g, e, r, q})
  end)

  it("returns at once what is ready already, ended greenlets first, in their order", function()
    local list = in_order(2, 1)
    glua.joinall(list)
    local e = event.Event()
    e:set()
    assert.same({list[2], list[1], e}, glua.wait({e, list[1], event.Event(), list[2]}, 0))
  end)

  it("returns each once, though it be listed twice", function()
    local e = event.Event()
    local g = glua.spawn(e.set, e)
    local found = glua.wait {e, g, e, g}
    assert.equal(2, #found)
  end)

  it("returns when `count` are ready", function()
    local list = in_order(100, 1, 2)
    assert.same({1, 2}, values(glua.wait(list, nil, 2)))
    assert.is_false(list[1]:ready())
    list[1]:join()
  end)

  it("returns what is ready when its timeout is over", function()
    local e = event.Event()
    local list = in_order(1)
    local before = glua.now()
    assert.same(list, glua.wait({e, list[1]}, 0.002))
    assert.is_true(glua.now() - before >= 0.002)
    assert.same({}, glua.wait({e}, 0.001))
    assert.same({}, glua.wait({}, 1000))
  end)

  it("is woken by an Event that is set and cleared at once", function()
    local e = event.Event()
    local g = glua.spawn(function() return glua.wait({e}, 1) end)
    glua.sleep(0)
    e:set()
    e:clear()
    assert.same({e}, g:get())
  end)

  it("waits for a Semaphore without taking it", function()
    local s = lock.Semaphore(0)
    local g = glua.spawn(function() return glua.wait {s} end)
    glua.sleep(0)
    s:release()
    assert.same({s}, g:get())
    assert.is_true(s:acquire(0))
  end)

  it("leaves no links behind", function()
    local e = event.Event()
    glua.wait({e}, 0)
    assert.same({}, e.links)
    local g = glua.spawn(glua.wait, {e})
    glua.sleep(0)
    assert.equal(1, #e.links)
    g:kill()
    assert.same({}, e.links)
    local t = glua.Timeout(0.001):start()
    assert.equal(t, failure(glua.wait, {e}))
    assert.same({}, e.links)
  end)

  it("checks its arguments", function()
    misuse("bad argument #1 to 'wait' (table expected, got number)",
      function() glua.wait(5) end)
    misuse("bad argument #1 to 'wait' (item 2 cannot be waited for: 1)",
      function() glua.wait {event.Event(), 1} end)
    misuse("bad argument #2 to 'wait' (timeout: non-negative seconds expected, got -1)",
      function() glua.wait({}, -1) end)
    misuse("bad argument #2 to 'wait' (timeout: non-negative seconds expected, got string)",
      function() glua.wait(nil, "1") end)
    misuse("bad argument #3 to 'wait' (positive integer expected, got 1.5)",
      function() glua.wait({}, 1, 1.5) end)
  end)

  describe("without objects", function()
    it("runs until nothing is left to do", function()
      local done = {}
      glua.spawn_later(0.05, function() done[#done + 1] = "later" end)
      glua.spawn(function()
        glua.sleep(0.001)
        done[#done + 1] = "first"
        glua.spawn(function() done[#done + 1] = "second" end)
      end)
      assert.is_true(glua.wait())
      assert.same({"first", "second", "later"}, done)
      assert.is_true(glua.wait())
    end)

    it("does not wait for those that nothing can wake", function()
      local e = event.Event()
      local stuck = glua.spawn(e.wait, e)
      assert.is_true(glua.wait())
      assert.is_false(stuck:ready())
      stuck:kill()
    end)

    it("does not wait for its own Timeout", function()
      local t = glua.Timeout(1000):start()
      assert.is_true(glua.wait())
      assert.is_true(glua.with_timeout(1000, glua.wait))
      t:cancel()
    end)

    it("waits for a Timeout of another greenlet", function()
      local e = event.Event()
      local g = glua.spawn(function() return e:wait(0.001) end)
      local h = glua.spawn(function()
        return pcall(glua.with_timeout, 0.002, e.wait, e)
      end)
      assert.is_true(glua.wait())
      assert.is_false(g:get())
      assert.is_true(h:ready())
    end)

    it("returns false when its timeout is over", function()
      local g = glua.spawn(glua.sleep, 1000)
      local before = glua.now()
      assert.is_false(glua.wait(nil, 0.002))
      assert.is_true(glua.now() - before >= 0.002)
      g:kill()
      assert.is_true(glua.wait(nil, 1000))
    end)

    it("works in several greenlets at once", function()
      local a = glua.spawn(glua.wait)
      local b = glua.spawn(glua.wait, nil, 1000)
      assert.is_true(glua.wait())
      assert.is_true(a:get())
      assert.is_true(b:get())
    end)

    it("can be killed", function()
      local worker = glua.spawn(glua.sleep, 1000)
      local g = glua.spawn(glua.wait)
      glua.sleep(0)
      assert.is_true(g:kill())
      worker:kill()
    end)
  end)
end)

describe("glua.iwait", function()
  helper.leaves_nothing_behind()

  it("gives the objects in the order in which they become ready", function()
    local order = {}
    for g in glua.iwait(in_order(2, 3, 1)) do
      order[#order + 1] = g.value
    end
    assert.same({1, 2, 3}, order)
  end)

  it("gives what is ready while others still run", function()
    local list = in_order(1, 50)
    for g in glua.iwait(list) do
      if g == list[1] then
        assert.is_false(list[2]:ready())
      end
    end
    assert.is_true(list[2]:ready())
  end)

  it("misses none that becomes ready between two steps", function()
    local list = in_order(1, 2, 3, 4)
    local n = 0
    for _ in glua.iwait(list) do
      n = n + 1
      glua.sleep(0.002)
    end
    assert.equal(4, n)
  end)

  it("ends after `count`", function()
    local order = {}
    local list = in_order(100, 1, 2)
    for g in glua.iwait(list, nil, 2) do
      order[#order + 1] = g.value
    end
    assert.same({1, 2}, order)
    assert.is_false(list[1]:ready())
    list[1]:join()
  end)

  it("ends when its timeout is over, which is one for the whole iteration", function()
    local list = in_order(0, 1)
    list[3] = glua.spawn(glua.sleep, 1000)
    local before, n = glua.now(), 0
    for _ in glua.iwait(list, 0.003) do
      n = n + 1
    end
    assert.equal(2, n)
    assert.is_true(glua.now() - before >= 0.003)
    list[3]:kill()
  end)

  it("gives what is ready although its time is over", function()
    local list = in_order(0, 0)
    local n = 0
    for _ in glua.iwait(list, 0.001) do
      n = n + 1
      burn(0.002)
    end
    assert.equal(2, n)
  end)

  it("goes on returning nil at its end", function()
    local step = glua.iwait(in_order(0))
    assert.equal(0, step().value)
    assert.is_nil(step())
    assert.is_nil(step())
    step = glua.iwait({event.Event()}, 0)
    assert.is_nil(step())
    assert.is_nil(step())
  end)

  it("leaves no links behind at its end", function()
    local e, other = event.Event(), event.Event()
    assert.is_nil(glua.iwait({e, other}, 0.001)())
    assert.same({}, e.links)
    e:set()
    for object in glua.iwait({e, other}, nil, 1) do
      assert.equal(e, object)
    end
    assert.same({}, other.links)
  end)

  it("left early leaves no links behind, once it is collected", function()
    local e = event.Event()
    local stuck = glua.spawn(e.wait, e)
    local first = glua.spawn(function() end)
    assert.equal(first, glua.iwait {first, e, stuck}())
    assert.equal(1, #e.links)
    collectgarbage()
    collectgarbage()
    glua.idle()
    assert.same({}, e.links)
    stuck:kill()
  end)

  it("left early does not disturb later ones of the same objects", function()
    local list = in_order(1, 2, 3)
    assert.equal(list[1], glua.iwait(list)())
    local order = {}
    for g in glua.iwait(list) do
      order[#order + 1] = g.value
    end
    assert.same({1, 2, 3}, order)
    collectgarbage()
    collectgarbage()
    glua.idle()
  end)

  it("can be killed in the midst", function()
    local e = event.Event()
    local g = glua.spawn(glua.iwait {e})
    glua.sleep(0)
    assert.is_true(g:kill())
    assert.same({}, e.links)
  end)

  it("takes a Timeout that is started, and raises another one", function()
    local e = event.Event()
    local t = glua.Timeout(0.001):start()
    assert.is_nil(glua.iwait({e}, t)())
    t:start()
    assert.equal(t, failure(glua.iwait({e})))
  end)

  it("checks its arguments", function()
    misuse("bad argument #1 to 'iwait' (table expected, got nil)",
      function() glua.iwait() end)
    misuse("bad argument #1 to 'iwait' (item 1 cannot be waited for: x)",
      function() glua.iwait {"x"} end)
    misuse("bad argument #2 to 'iwait' (timeout: non-negative seconds expected, got nan)",
      function() glua.iwait({}, 0/0) end)
    misuse("bad argument #3 to 'iwait' (positive integer expected, got 0)",
      function() glua.iwait({}, 1, 0) end)
  end)
end)

describe("links of an object that can become ready again", function()
  helper.leaves_nothing_behind()

  it("are called each time it becomes ready, and only then", function()
    local e = event.Event()
    local order = {}
    local function a() order[#order + 1] = "a" end
    local function b() order[#order + 1] = "b" end
    e:rawlink(a)
    glua.idle()
    assert.same({}, order)
    e:set()
    glua.idle()
    assert.same({"a"}, order)
    e:rawlink(b)
    glua.idle()
    assert.same({"a", "b"}, order)
    e:clear()
    e:set()
    glua.idle()
    assert.same({"a", "b", "a", "b"}, order)
    e:unlink(a)
    e:set()
    glua.idle()
    assert.same({"a", "b", "a", "b", "b"}, order)
    e:unlink(b)
  end)

  it("are not called when they were taken away in time", function()
    local e = event.Event()
    local called = false
    local function fn() called = true end
    e:rawlink(fn)
    e:set()
    e:unlink(fn)
    glua.idle()
    assert.is_false(called)
  end)

  it("are not called when one before them took them away", function()
    local e = event.Event()
    local called = {}
    local function second() called[#called + 1] = "second" end
    e:rawlink(function()
      called[#called + 1] = "first"
      e:unlink(second)
    end)
    e:rawlink(second)
    e:set()
    glua.idle()
    assert.same({"first"}, called)
  end)

  it("are not called for a Semaphore that is taken again by then", function()
    local s = lock.Semaphore(0)
    local called = 0
    s:rawlink(function() called = called + 1 end)
    s:release()
    assert.is_true(s:acquire(0))
    glua.idle()
    assert.equal(0, called)
    s:release()
    glua.idle()
    assert.equal(1, called)
  end)

  it("that fail are reported, and the next ones are called", function()
    local reports = {}
    glua.on_error(function(_, e) reports[#reports + 1] = e end)
    finally(function() glua.on_error(nil) end)
    local e = event.Event()
    local called = false
    e:rawlink(function() error("bad link", 0) end)
    e:rawlink(function() called = true end)
    e:set()
    glua.idle()
    assert.same({"bad link"}, reports)
    assert.is_true(called)
  end)
end)
