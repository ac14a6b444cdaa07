-- event_spec.lua: Event and AsyncResult.

local event = require "glua.event"
local glua = require "glua"
local helper = require "spec.helper"

local function list(...)
  return {n = select("#", ...), ...}
end

describe("glua.event", function()
  helper.leaves_nothing_behind()

  -- ---- Event ----

  it("lets through while it is set, and parks while it is clear", function()
    local ev = event.Event()
    assert.is_false(ev:is_set())
    assert.is_false(ev:wait(0))
    ev:set()
    assert.is_true(ev:is_set())
    assert.is_true(ev:wait())
    assert.is_true(ev:wait(0))
    ev:set()
    ev:clear()
    assert.is_false(ev:is_set())
    assert.is_false(ev:wait(0.001))
  end)

  it("wakes all who wait, in the order of their coming", function()
    local ev = event.Event()
    local log = {}
    for i = 1, 5 do
      glua.spawn(function()
        assert.is_true(ev:wait(i % 2 == 1 and 10 or nil))
        log[#log + 1] = i
      end)
    end
    glua.sleep(0)
    assert.same({}, log)
    ev:set()
    assert.same({}, log) -- set does not run them itself
    glua.sleep(0)
    assert.same({1, 2, 3, 4, 5}, log)
  end)

  it("wakes a thousand waiters by a set that is cleared at once", function()
    local ev = event.Event()
    local woken, late = 0, 0
    for _ = 1, 1000 do
      glua.spawn(function()
        if ev:wait() then
          woken = woken + 1
        end
        if ev:wait(0) then
          late = late + 1
        end
      end)
    end
    glua.sleep(0)
    ev:set()
    ev:clear()
    local after = glua.spawn(ev.wait, ev, 0)
    glua.sleep(0)
    assert.equal(1000, woken)
    assert.is_false(after:get())
    glua.idle()
    assert.equal(0, late)
  end)

  it("wakes nobody who has given up", function()
    local ev = event.Event()
    local killed, late = glua.spawn(ev.wait, ev), glua.spawn(ev.wait, ev, 0.001)
    glua.sleep(0)
    assert.equal("<Event clear, 2 waiting>", tostring(ev))
    killed:kill()
    late:join()
    assert.equal("<Event clear, 0 waiting>", tostring(ev))
    ev:set()
    assert.equal("<Event set, 0 waiting>", tostring(ev))
    assert.same(list(nil, "killed"), list(killed:get()))
    assert.same(list(false), list(late:get()))
  end)

  it("calls its links each time it is set, even if it is cleared at once", function()
    local ev = event.Event()
    local log = {}
    local function link(object)
      assert.equal(ev, object)
      log[#log + 1] = "link"
    end
    ev:rawlink(link)
    glua.sleep(0)
    assert.equal(0, #log)
    ev:set()
    assert.equal(0, #log)
    glua.sleep(0)
    assert.equal(1, #log)
    glua.sleep(0)
    assert.equal(1, #log)
    ev:clear()
    ev:set()
    ev:clear()
    glua.sleep(0)
    assert.equal(2, #log)
    ev:unlink(link)
    ev:clear()
    ev:set()
    glua.sleep(0)
    assert.equal(2, #log)
    ev:rawlink(link) -- it is set already
    glua.sleep(0)
    assert.equal(3, #log)
  end)

  -- ---- AsyncResult ----

  it("gives its values to all who get them, before and after", function()
    local r = event.AsyncResult()
    local early = {glua.spawn(r.get, r), glua.spawn(r.get, r, 10)}
    local waiting = glua.spawn(r.wait, r)
    glua.sleep(0)
    assert.is_false(r:ready())
    assert.is_false(r:successful())
    r:set(1, nil, false, nil)
    assert.is_true(r:ready())
    assert.is_true(r:successful())
    for _, g in ipairs(early) do
      assert.same(list(1, nil, false, nil), list(g:get()))
    end
    assert.is_true(waiting:get())
    assert.same(list(1, nil, false, nil), list(r:get()))
    assert.same(list(1, nil, false, nil), list(r:get(0)))
    assert.is_true(r:wait(0))
    local empty = event.AsyncResult()
    empty:set()
    assert.same(list(), list(empty:get()))
  end)

  it("raises its error in all who get it, whatever it is", function()
    for _, e in ipairs {"text", {}, false, 5} do
      local r = event.AsyncResult()
      local g = glua.spawn(function() return pcall(r.get, r) end)
      glua.sleep(0)
      r:set_error(e)
      assert.same(list(false, e), list(g:get()))
      assert.same(list(false, e), list(pcall(r.get, r)))
      assert.is_true(r:wait())
      assert.is_true(r:ready())
      assert.is_false(r:successful())
    end
    local r = event.AsyncResult()
    r:set_error(nil)
    assert.same(list(false, nil), list(pcall(r.get, r)))
  end)

  it("refuses a second result, at the caller's line", function()
    for _, first in ipairs {"set", "set_error"} do
      local r = event.AsyncResult()
      r[first](r, "first")
      helper.misuse("set: the AsyncResult has its result already", function() r:set(2) end)
      helper.misuse("set_error: the AsyncResult has its result already",
        function() r:set_error(2) end)
      assert.same(list(first == "set", "first"), list(pcall(r.get, r)))
    end
  end)

  it("serves as a link of a greenlet", function()
    local function outcome_of(fn)
      local r = event.AsyncResult()
      local g = glua.spawn(fn)
      g:link(r)
      local seen = list(pcall(r.get, r))
      local ended = event.AsyncResult()
      g:link(ended) -- it has ended already
      assert.same(seen, list(pcall(ended.get, ended)))
      return seen
    end
    assert.same(list(true, 1, nil, 3), outcome_of(function() return 1, nil, 3 end))
    assert.same(list(true), outcome_of(function() end))
    assert.same(list(true, nil, "killed"), outcome_of(function() error(glua.GreenletExit) end))

    local r = event.AsyncResult()
    local g = glua.spawn(error, {"failed"})
    g:link_exception(r)
    assert.same(list(false, {"failed"}), list(pcall(r.get, r)))
    assert.equal(g.exception, select(2, pcall(r.get, r)))
    local other = event.AsyncResult()
    helper.misuse("bad argument #1 to 'AsyncResult' (Greenlet expected, got number)",
      function() other(5) end)
    local alive = glua.spawn(glua.sleep, 10)
    helper.misuse("AsyncResult: the Greenlet has not ended", function() other(alive) end)
    assert.is_false(other:ready())
    alive:kill()
  end)

  it("can be waited for", function()
    local r, ev = event.AsyncResult(), event.Event()
    glua.spawn(r.set, r, 1)
    assert.same({r}, glua.wait({ev, r}, 10, 1))
    ev:set()
    local seen = {}
    for object in glua.iwait {ev, r} do
      seen[object] = true
    end
    assert.same({[ev] = true, [r] = true}, seen)
  end)

  it("says what is wrong when it is called with a dot", function()
    local ev, r = event.Event(), event.AsyncResult()
    for _, name in ipairs {"set", "clear", "wait", "is_set"} do
      helper.misuse(("bad argument #1 to '%s' (Event expected, got nil; call it with ':')")
        :format(name), function() ev[name]() end)
    end
    for _, name in ipairs {"set", "set_error", "get", "wait", "ready", "successful"} do
      helper.misuse(("bad argument #1 to '%s' (AsyncResult expected, got nil; call it with ':')")
        :format(name), function() r[name]() end)
    end
  end)

  it("shows itself", function()
    local r = event.AsyncResult()
    assert.equal("<AsyncResult pending>", tostring(r))
    local g = glua.spawn(r.get, r)
    glua.sleep(0)
    assert.matches("parked in AsyncResult.get", tostring(g))
    r:set()
    assert.equal("<AsyncResult set>", tostring(r))
    r = event.AsyncResult()
    r:set_error("e")
    assert.equal("<AsyncResult failed>", tostring(r))
    g:join()
  end)
end)
