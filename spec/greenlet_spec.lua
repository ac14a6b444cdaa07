-- greenlet_spec.lua: the Greenlet object: its states and results, kill, throw, links.

local glua = require "glua"
local event = require "glua.event"
local helper = require "spec.helper"

local misuse = helper.misuse

-- (started, dead, ready(), successful()) in four letters.
local function states(g)
  local letters = {}
  for i, value in ipairs {g.started, g.dead, g:ready(), g:successful()} do
    letters[i] = value and "T" or "F"
  end
  return table.concat(letters)
end

-- A greenlet that is parked for good.
local function parked(fn)
  local g = glua.spawn(fn or function() glua.sleep(1000) end)
  glua.sleep(0)
  return g
end

-- The error that fn raises.
local function failure(fn, ...)
  local ok, e = pcall(fn, ...)
  assert.is_false(ok)
  return e
end

describe("glua.greenlet", function()
  helper.leaves_nothing_behind()

  -- What was reported since the last it began: {greenlet, error, traceback} each.
  local reports
  before_each(function()
    reports = {}
    glua.on_error(function(...) reports[#reports + 1] = {...} end)
  end)
  after_each(function() glua.on_error(nil) end)

  describe("states", function()
    it("is FFFF when it is new", function()
      local g = glua.Greenlet(print)
      assert.equal("FFFF", states(g))
      g:kill()
    end)

    it("is TFFF when it is scheduled, runs, or is parked", function()
      local inside
      local g = glua.spawn(function()
        inside = states(glua.getcurrent())
        glua.sleep(0)
      end)
      assert.equal("TFFF", states(g))
      glua.sleep(0)
      assert.equal("TFFF", states(g))
      g:join()
      assert.equal("TFFF", inside)
    end)

    it("is TFFF while it waits for a delayed start", function()
      local g = glua.Greenlet(print)
      g:start_later(1000)
      assert.equal("TFFF", states(g))
      g:kill()
    end)

    it("is FTTT when it has finished", function()
      local g = glua.spawn(function() end)
      g:join()
      assert.equal("FTTT", states(g))
      assert.is_nil(g.exception)
    end)

    it("is FTTF when it has failed", function()
      local g = glua.spawn(error, "oops")
      g:join()
      assert.equal("FTTF", states(g))
      assert.equal("oops", g.exception)
    end)

    it("is FTTT when it was killed before it started, and never runs", function()
      local ran = false
      local function run() ran = true end
      for _, make in ipairs {
        function() return glua.Greenlet(run) end,
        function() return glua.spawn(run) end,
        function() return glua.spawn_later(0.001, run) end,
      } do
        local g = make()
        assert.is_true(g:kill())
        assert.equal("FTTT", states(g))
        assert.is_nil(g.value)
      end
      glua.sleep(0.005)
      assert.is_false(ran)
    end)

    it("is FTTT when it was killed while it was parked", function()
      local g = parked()
      assert.is_true(g:kill())
      assert.equal("FTTT", states(g))
      assert.is_nil(g.value)
      assert.is_nil(g.exception)
    end)

    it("cannot start twice", function()
      local g = glua.Greenlet(function() end)
      g:start()
      local text = tostring(g)
      misuse("start: " .. text .. " was started already", function() g:start() end)
      misuse("start_later: " .. text .. " was started already", function() g:start_later(1) end)
      g:join()
      assert.has_error(function() g:start() end)
    end)

    it("cannot start when it was killed", function()
      local g = glua.Greenlet(function() end)
      g:kill()
      assert.has_error(function() g:start() end)
    end)
  end)

  describe("results", function()
    it("are all returned by get, nil among them", function()
      local g = glua.spawn(function(...) return nil, ... end, false, "b", nil)
      assert.same({n = 4, [2] = false, [3] = "b"}, {n = select("#", g:get()), g:get()})
      assert.is_nil(g.value)
    end)

    it("are none where there are none", function()
      local g = glua.spawn(function() end)
      assert.equal(0, select("#", g:get()))
      assert.equal(0, select("#", g:get()))
    end)

    it("can be thousands, and so can the arguments", function()
      local list = {}
      for i = 1, 5000 do
        list[i] = i
      end
      local g = glua.spawn(function(...) return ... end, unpack(list))
      assert.same(list, {g:get()})
      assert.equal(1, g.value)
    end)

    it("stay when they were got", function()
      local g = glua.spawn(function() return "x", false end)
      assert.same({"x", false}, {g:get()})
      assert.same({"x", false}, {g:get()})
      assert.equal("x", g.value)
    end)

    it("of any type of error are raised as they are", function()
      local object = setmetatable({}, {__tostring = function() return "an object" end})
      for _, e in ipairs {"text", 42, true, object, print, coroutine.create(print)} do
        local g = glua.spawn(error, e, 0)
        assert.equal(e, failure(g.get, g))
        assert.equal(e, g.exception)
      end
      local g = glua.spawn(error, false)
      assert.is_false(failure(g.get, g))
      g = glua.spawn(error, nil)
      assert.is_nil(failure(g.get, g))
      assert.equal("FTTF", states(g))
      assert.equal(0, #reports)
    end)

    it("of a killed one are nil, 'killed'", function()
      local g = parked()
      g:kill()
      assert.same({nil, "killed"}, {g:get()})
      assert.equal(2, select("#", g:get()))
    end)

    it("are given to every greenlet that waits for them", function()
      local g = glua.spawn(function()
        glua.sleep(0)
        return "r"
      end)
      local got = {}
      local waiters = {}
      for i = 1, 3 do
        waiters[i] = glua.spawn(function()
          local result = g:get()
          got[#got + 1] = i .. result
        end)
      end
      glua.joinall(waiters)
      assert.same({"1r", "2r", "3r"}, got)
    end)

    it("come in time, or not: get and join honour their timeout", function()
      local g = parked()
      local before = glua.now()
      assert.same({nil, "timeout"}, {g:get(0.002)})
      assert.is_false(g:join(0.002))
      assert.is_true(glua.now() - before >= 0.004)
      assert.is_false(g:join(0))
      g:kill()
      assert.is_true(g:join(0))
    end)

    it("are not lost when they come in the turn in which the time is over", function()
      local release = event.Event()
      local g = glua.spawn(function()
        release:wait()
        return "in time"
      end)
      local getter = glua.spawn(function() return g:get(0.001) end)
      local joiner = glua.spawn(function() return g:join(0.001) end)
      local failing = glua.spawn(function()
        release:wait()
        error("in time", 0)
      end)
      local catcher = glua.spawn(function() return pcall(failing.get, failing, 0.001) end)
      glua.sleep(0)
      release:set()
      helper.burn(0.003)
      assert.equal("in time", getter:get())
      assert.is_true(joiner:get())
      assert.same({false, "in time"}, {catcher:get()})
      glua.idle()
      assert.equal(0, #reports)
    end)

    it("cannot be waited for by the greenlet itself", function()
      local g = glua.getcurrent()
      misuse("join: a greenlet cannot join itself", function() g:join() end)
      misuse("get: a greenlet cannot wait for its own result", function() g:get() end)
    end)
  end)

  describe("kill", function()
    it("raises GreenletExit where the greenlet is parked", function()
      local caught
      local g = parked(function()
        local ok, e = pcall(glua.sleep, 1000)
        caught = not ok and e
      end)
      assert.is_true(g:kill())
      assert.equal(glua.GreenletExit, caught)
      assert.is_true(glua.is_error(caught, "GreenletExit"))
      assert.equal("FTTT", states(g))
    end)

    it("is not reported", function()
      parked():kill()
      glua.spawn(print):kill()
      glua.idle()
      assert.equal(0, #reports)
    end)

    it("waits for the end of the greenlet, cleanup and all", function()
      local cleaned = false
      local g = parked(function()
        pcall(glua.sleep, 1000)
        glua.shield(function() glua.sleep(0.002) end)
        cleaned = true
      end)
      assert.is_true(g:kill())
      assert.is_true(cleaned)
    end)

    it("returns false at once if it shall not wait, or when its timeout is over", function()
      local g = parked(function()
        pcall(glua.sleep, 1000)
        glua.shield(glua.sleep, 0.005)
      end)
      assert.is_false(g:kill(nil, {block = false}))
      assert.is_false(g:kill(nil, {timeout = 0.001}))
      assert.equal("TFFF", states(g))
      assert.is_true(g:kill())
    end)

    it("of a dead one does nothing", function()
      local g = glua.spawn(function() return 1 end)
      g:join()
      assert.is_true(g:kill())
      assert.equal(1, g:get())
      local failed = glua.spawn(error, "e")
      failed:join()
      assert.is_true(failed:kill("other"))
      assert.equal("e", failed.exception)
    end)

    it("twice is as good as once", function()
      local exits = 0
      local g = parked(function()
        local ok, e = pcall(glua.sleep, 1000)
        exits = exits + (not ok and e == glua.GreenletExit and 1 or 0)
      end)
      g:kill(nil, {block = false})
      g:kill(nil, {block = false})
      assert.is_true(g:kill())
      assert.equal(1, exits)
    end)

    it("lets one that is ready have what it waited for, and ends it at its next park", function()
      local steps = {}
      local e = event.Event()
      local g = parked(function()
        steps[1] = e:wait()
        glua.sleep(0)
        steps[2] = "not reached"
      end)
      e:set()
      assert.is_true(g:kill())
      assert.same({true}, steps)
    end)

    it("overtakes a sleep(0)", function()
      local went_on = false
      local g = parked(function()
        glua.sleep(0)
        glua.sleep(0)
        went_on = true
      end)
      g:kill()
      assert.is_false(went_on)
    end)

    it("of oneself raises at once", function()
      local after = false
      local g = glua.spawn(function()
        glua.getcurrent():kill()
        after = true
      end)
      g:join()
      assert.is_false(after)
      assert.equal("FTTT", states(g))
      assert.same({nil, "killed"}, {g:get()})
    end)

    it("of oneself is sticky too", function()
      local caught = {}
      local g = glua.spawn(function()
        local me = glua.getcurrent()
        caught[1] = select(2, pcall(me.kill, me))
        caught[2] = select(2, pcall(glua.sleep, 0))
      end)
      g:join()
      assert.same({glua.GreenletExit, glua.GreenletExit}, caught)
    end)

    it("cannot be swallowed by pcall: it is raised at every park", function()
      local caught = 0
      local g = parked(function()
        for _ = 1, 10 do
          local ok, e = pcall(glua.sleep, 1000)
          if not ok and e == glua.GreenletExit then
            caught = caught + 1
          end
        end
      end)
      g:kill()
      assert.equal(10, caught)
      assert.equal("FTTT", states(g))
    end)

    it("gives up one that swallows it for ever, and reports it", function()
      local rounds = 0
      local g = parked(function()
        while true do
          pcall(glua.sleep, 1000)
          rounds = rounds + 1
        end
      end)
      assert.is_true(g:kill())
      assert.equal("FTTF", states(g))
      glua.idle()
      assert.equal(1, #reports)
      assert.equal(g, reports[1][1])
      assert.matches("it was killed, and went on", reports[1][2], 1, true)
      local now = rounds
      glua.sleep(0.002)
      assert.equal(now, rounds)
    end)

    it("gives up one that swallows it inside of its own coroutine", function()
      local g = parked(function()
        coroutine.wrap(function()
          while true do
            pcall(glua.sleep, 1000)
          end
        end)()
      end)
      assert.is_true(g:kill())
      assert.equal("FTTF", states(g))
    end)

    it("wakes the greenlet out of every kind of wait", function()
      local other = parked()
      for _, wait in ipairs {
        function() glua.sleep(1000) end,
        function() event.Event():wait() end,
        function() other:join() end,
        function() other:get() end,
        function() glua.joinall({other}) end,
        function() glua.joinall({other}, {count = 1}) end,
        function() glua.wait({other}) end,
        function() glua.scope(function(s) s:spawn(glua.sleep, 1000) end) end,
        function() glua.with_timeout(1000, glua.sleep, 1000) end,
        function() coroutine.wrap(function() glua.sleep(1000) end)() end,
      } do
        local g = parked(wait)
        assert.is_true(g:kill())
        assert.equal("FTTT", states(g))
      end
      other:kill()
    end)

    it("with an error of one's own raises that, once, and is a failure", function()
      local caught
      local g = parked(function()
        caught = select(2, pcall(glua.sleep, 1000))
        glua.sleep(0)
        error("after", 0)
      end)
      assert.is_true(g:kill("stop"))
      assert.equal("stop", caught)
      assert.equal("after", g.exception)
      g = parked()
      g:kill("stop")
      assert.equal("FTTF", states(g))
      assert.equal("stop", g.exception)
      glua.idle()
      assert.equal(2, #reports)
    end)

    it("with an error of one's own fails one that has not run", function()
      local ran = false
      local function run() ran = true end
      for _, make in ipairs {
        function() return glua.Greenlet(run) end,
        function() return glua.spawn(run) end,
        function() return glua.spawn(run, 1, 2, 3) end,
        function() return glua.spawn_later(1000, run) end,
      } do
        local g = make()
        assert.is_true(g:kill("never"))
        assert.equal("FTTF", states(g))
        assert.equal("never", g.exception)
      end
      assert.is_false(ran)
      glua.idle()
      assert.equal(4, #reports)
    end)

    it("of one that was not started wakes who joins it and calls its links", function()
      local g = glua.Greenlet(function() end)
      local linked = 0
      g:link(function() linked = linked + 1 end)
      local joiner = glua.spawn(function() return g:join() end)
      local getter = glua.spawn(function() return select(2, g:get()) end)
      glua.sleep(0)
      g:kill()
      assert.is_true(joiner:get())
      assert.equal("killed", getter:get())
      glua.idle()
      assert.equal(1, linked)
    end)

    it("of one who joins leaves the joined one alone", function()
      local g = parked()
      local joiner = parked(function() g:join() end)
      joiner:kill()
      assert.equal("TFFF", states(g))
      g:kill()
    end)

    it("is available as glua.kill", function()
      local g = parked()
      assert.is_true(glua.kill(g))
      assert.equal("FTTT", states(g))
      g = parked()
      assert.is_false(glua.kill(g, nil, {block = false}))
      g:join()
    end)

    it("checks its options", function()
      local g = parked()
      misuse("bad argument #2 to 'kill' (table expected, got number)",
        function() g:kill(nil, 5) end)
      misuse("bad argument #2 to 'kill' (unknown option 'blocking')",
        function() g:kill(nil, {blocking = true}) end)
      misuse("bad argument #2 to 'kill' (timeout: non-negative seconds expected, got -1)",
        function() g:kill(nil, {timeout = -1}) end)
      assert.equal("TFFF", states(g))
      g:kill()
    end)
  end)

  describe("throw", function()
    it("raises the error once, where the greenlet is parked, and does not wait", function()
      local caught = {}
      local g = parked(function()
        caught[1] = {pcall(glua.sleep, 1000)}
        caught[2] = {pcall(glua.sleep, 0)}
      end)
      g:throw("hey")
      assert.same({}, caught)
      g:join()
      assert.same({{false, "hey"}, {true}}, caught)
    end)

    it("raises one after the other, in their order", function()
      local caught = {}
      local g = parked(function()
        for i = 1, 3 do
          caught[i] = select(2, pcall(glua.sleep, 1000))
        end
      end)
      g:throw("a")
      g:throw({"b"})
      g:throw(false)
      g:join()
      assert.same({"a", {"b"}, false}, caught)
    end)

    it("without an error is a kill", function()
      local g = parked()
      g:throw()
      g:join()
      assert.equal("FTTT", states(g))
      g = parked(function()
        pcall(glua.sleep, 1000)
        glua.sleep(1000)
      end)
      g:throw(glua.GreenletExit)
      g:join()
      assert.equal("FTTT", states(g))
    end)

    it("in the running greenlet raises at once", function()
      local g = glua.getcurrent()
      assert.equal("now", failure(g.throw, g, "now"))
    end)

    it("in a dead one does nothing", function()
      local g = glua.spawn(function() end)
      g:join()
      g:throw("late")
      assert.equal("FTTT", states(g))
    end)
  end)

  describe("links", function()
    it("are called in order, with the greenlet, when it has ended", function()
      local order = {}
      local g = glua.spawn(function() order[#order + 1] = "end" end)
      for i = 1, 3 do
        g:link(function(ended)
          assert.equal(g, ended)
          assert.is_true(ended:ready())
          order[#order + 1] = i
        end)
      end
      assert.same({}, order)
      g:join()
      glua.idle()
      assert.same({"end", 1, 2, 3}, order)
    end)

    it("run each in a greenlet of its own, in which they may park", function()
      local seen = {}
      local g = glua.spawn(function() end)
      for i = 1, 2 do
        g:link(function()
          glua.sleep(i == 1 and 0.002 or 0)
          seen[#seen + 1] = i
          seen[glua.getcurrent()] = true
        end)
      end
      g:join()
      glua.sleep(0.004)
      glua.idle()
      assert.equal(2, seen[1])
      assert.equal(1, seen[2])
      assert.is_nil(seen[g])
    end)

    it("of values and of exceptions are called as they say", function()
      local called = {}
      local function note(name)
        return function() called[#called + 1] = name end
      end
      for _, g in ipairs {glua.spawn(function() end), glua.spawn(error, "e"), parked()} do
        g:link_value(note("value"))
        g:link_exception(note("exception"))
        g:link(note("any"))
        g:kill()
        glua.idle()
        called[#called + 1] = "."
      end
      assert.equal("value any . exception any . value any .", table.concat(called, " "))
    end)

    it("of exceptions take the report over", function()
      local g = glua.spawn(error, "e")
      g:link_exception(function() end)
      glua.idle()
      assert.equal(0, #reports)
      g = glua.spawn(error, "e")
      local function fn() end
      g:link_exception(fn)
      g:unlink(fn)
      glua.idle()
      assert.equal(1, #reports)
    end)

    it("that are added after the end are called soon", function()
      local order = {}
      local g = glua.spawn(function() end)
      g:join()
      g:link(function() order[#order + 1] = "link" end)
      g:rawlink(function() order[#order + 1] = "rawlink" end)
      g:link_exception(function() order[#order + 1] = "never" end)
      assert.same({}, order)
      glua.idle()
      table.sort(order)
      assert.same({"link", "rawlink"}, order)
    end)

    it("that are raw are called by one greenlet, in order", function()
      local who = {}
      local g = glua.spawn(function() end)
      for i = 1, 3 do
        g:rawlink(function() who[i] = glua.getcurrent() end)
      end
      glua.idle()
      assert.equal(3, #who)
      assert.equal(who[1], who[2])
      assert.equal(who[2], who[3])
    end)

    it("that fail are reported, and the next ones are called", function()
      local called = {}
      local g = glua.spawn(function() end)
      g:link(function() error("one", 0) end)
      g:link(function() called[1] = true end)
      g:rawlink(function() error("two", 0) end)
      g:rawlink(function() called[2] = true end)
      glua.idle()
      assert.same({true, true}, called)
      local errors = {}
      for i, report in ipairs(reports) do
        errors[i] = report[2]
      end
      table.sort(errors)
      assert.same({"one", "two"}, errors)
    end)

    it("that fail, raw, are reported with their traceback", function()
      local function culprit() error("two", 0) end
      glua.spawn(function() end):rawlink(function() culprit() end)
      glua.idle()
      assert.matches("in function 'culprit'", reports[1][3], 1, true)
    end)

    it("are taken away by unlink, one at a time", function()
      local n = 0
      local function count() n = n + 1 end
      local g = glua.spawn(function() end)
      g:link(count)
      g:link(count)
      g:unlink(count)
      g:unlink(print)
      glua.idle()
      assert.equal(1, n)
    end)

    it("may take away the ones after them", function()
      local g = glua.spawn(function() end)
      local called = {}
      local function second() called[#called + 1] = "second" end
      g:rawlink(function()
        called[#called + 1] = "first"
        g:unlink(second)
      end)
      g:rawlink(second)
      glua.idle()
      assert.same({"first"}, called)
    end)

    it("can be added and taken away while they are called", function()
      local g = glua.spawn(function() end)
      local called = {}
      local function note(name)
        return function() called[#called + 1] = name end
      end
      local second, fourth = note("second"), note("fourth")
      local function first()
        called[#called + 1] = "first"
        g:unlink(first) -- which is off the list
        g:unlink(fourth)
        g:rawlink(note("added"))
      end
      g:rawlink(first)
      g:rawlink(second)
      g:rawlink(note("third"))
      g:rawlink(fourth)
      glua.idle()
      assert.same({"first", "second", "third", "added"}, called)
      g:rawlink(second)
      glua.idle()
      assert.same({"first", "second", "third", "added", "second"}, called)
    end)

    it("are called in a time that grows with their number", function()
      local g = glua.spawn(function() end)
      local n, called = helper.many(200000), 0
      local function count() called = called + 1 end
      for _ = 1, n do
        g:rawlink(count)
      end
      local before = os.clock()
      glua.idle()
      assert.equal(n, called)
      assert.is_true(os.clock() - before < 5)
    end)

    it("can be callable tables, as an AsyncResult is", function()
      local result = event.AsyncResult()
      glua.spawn(function() return 1, nil, 3 end):link(result)
      assert.same({1, nil, 3}, {result:get()})
    end)

    it("are checked", function()
      local g = parked()
      misuse("bad argument #1 to 'link' (function expected, got number)",
        function() g:link(5) end)
      misuse("bad argument #1 to 'rawlink' (function expected, got nil)",
        function() g:rawlink() end)
      misuse("bad argument #1 to 'link_exception' (Greenlet expected, got function)",
        function() g.link_exception(print) end)
      misuse("bad argument #1 to 'link_value' (Greenlet expected, got table)",
        function() g.link_value({}, print) end)
      g:kill()
    end)
  end)

  describe("fields", function()
    it("locals are the greenlet's own", function()
      local a = parked(function()
        glua.getcurrent().locals.x = "a"
        glua.sleep(1000)
      end)
      local b = parked()
      assert.equal("a", a.locals.x)
      assert.is_nil(b.locals.x)
      b.locals.y = 1
      glua.killall({a, b})
      assert.equal("a", a.locals.x)
      assert.equal(1, b.locals.y)
    end)

    it("tree_locals are shared with all descendants, those before and those after", function()
      local seen = {}
      local g = glua.spawn(function()
        local early = glua.spawn(function()
          glua.sleep(0)
          seen.early = glua.getcurrent().tree_locals.x
        end)
        glua.sleep(0)
        glua.getcurrent().tree_locals.x = 1
        local late = glua.spawn(function()
          seen.late = glua.getcurrent().tree_locals.x
          glua.spawn(function()
            seen.grandchild = glua.getcurrent().tree_locals.x
            glua.getcurrent().tree_locals.y = 2
          end):join()
        end)
        glua.joinall {early, late}
        seen.y = glua.getcurrent().tree_locals.y
      end)
      local stranger = glua.spawn(function()
        glua.sleep(0)
        glua.sleep(0)
        return glua.getcurrent().tree_locals.x
      end)
      g:get()
      assert.same({early = 1, late = 1, grandchild = 1, y = 2}, seen)
      assert.is_nil(stranger:get())
    end)

    it("tree_locals of a branch outlive the one that spawned it", function()
      local child
      local g = glua.spawn(function()
        child = glua.spawn(function()
          glua.sleep(0.002)
          return glua.getcurrent().tree_locals.x
        end)
        glua.getcurrent().tree_locals.x = "kept"
      end)
      g:join()
      assert.equal("kept", child:get())
    end)

    it("name is shown, and is a string", function()
      local g = parked()
      assert.is_nil(g.name)
      g.name = "fetch"
      assert.equal("fetch", g.name)
      assert.matches('^<Greenlet %d+ "fetch" parked in sleep, ', tostring(g))
      misuse("a Greenlet's name is a string, got number", function() g.name = 5 end)
      misuse("a Greenlet has no field 'nick' to set; use g.locals", function() g.nick = 5 end)
      g.name = nil
      assert.is_nil(g.name)
      assert.is_nil(g.nick)
      g:kill()
    end)

    it("id is a number of its own, and 0 before the start", function()
      local g = glua.Greenlet(function() end)
      assert.equal(0, g.id)
      g:start()
      local other = glua.spawn(function() end)
      assert.is_true(other.id > g.id and g.id > 0)
      glua.joinall {g, other}
      assert.is_true(other.id > g.id and g.id > 0)
    end)

    it("spawned_at is the line that spawned it", function()
      local here = debug.getinfo(1, "S").short_src .. ":"
      local line = debug.getinfo(1, "l").currentline
      local list = {
        glua.spawn(function() end),
        glua.Greenlet(function() end),
        glua.spawn_later(1000, function() end),
        glua.every(1000, function() end),
      }
      for i, g in ipairs(list) do
        assert.equal(here .. line + 1 + i, g.spawned_at)
      end
      glua.killall(list)
      assert.equal(here .. line + 2, list[1].spawned_at)
    end)

    it("parent is the one that spawned it, while that lives", function()
      local child
      local g = glua.spawn(function()
        child = glua.spawn(glua.sleep, 1000)
        glua.sleep(1000)
      end)
      glua.sleep(0)
      assert.equal(g, child.parent)
      assert.equal(glua.getcurrent(), g.parent)
      g:kill()
      assert.is_nil(child.parent)
      child:kill()
    end)

    it("value, exception and traceback are nil until there is one", function()
      local g = parked()
      assert.is_nil(g.value)
      assert.is_nil(g.exception)
      assert.is_nil(g.traceback)
      g:kill()
      assert.is_nil(g.traceback)
    end)

    it("tostring shows the state and the place", function()
      local here = debug.getinfo(1, "S").short_src:gsub("%p", "%%%0")
      local g = glua.Greenlet(function() glua.sleep(1000) end)
      assert.matches("^<Greenlet new, spawned at " .. here .. ":%d+>$", tostring(g))
      g:start()
      assert.matches("^<Greenlet %d+ scheduled, spawned at " .. here .. ":%d+>$", tostring(g))
      glua.sleep(0)
      assert.matches("^<Greenlet %d+ parked in sleep, " .. here .. ":%d+>$", tostring(g))
      g:kill()
      assert.matches("^<Greenlet %d+ killed, spawned at " .. here .. ":%d+>$", tostring(g))
      g = glua.spawn(function() return tostring(glua.getcurrent()) end)
      assert.matches("^<Greenlet %d+ running, ", g:get())
      assert.matches("^<Greenlet %d+ finished, ", tostring(g))
      g = glua.spawn(error, "e")
      g:join()
      assert.matches("^<Greenlet %d+ failed, ", tostring(g))
      g = glua.spawn(function() glua.sleep(0) end)
      glua.sleep(0)
      assert.matches("^<Greenlet %d+ ready, ", tostring(g))
      g:join()
    end)
  end)

  describe("traceback", function()
    local function culprit() error("boom", 0) end
    local function middle() culprit() end

    -- The traceback of a greenlet that fails with fn, and its text up to "which is passed
    -- on", where there is that.
    local function traceback_of(fn)
      local g = glua.spawn(fn)
      g:join()
      assert.equal("boom", g.exception)
      return g.traceback, (g.traceback:gsub("\nwhich is passed on by.*", ""))
    end

    it("shows where the error was raised", function()
      local text = traceback_of(function() middle() end)
      assert.matches("^boom\nstack traceback:\n", text)
      assert.matches("in function 'culprit'", text, 1, true)
    end)

    it("is kept through with_timeout", function()
      local text = traceback_of(function() glua.with_timeout(1, middle) end)
      assert.matches("in function 'culprit'", text, 1, true)
    end)

    it("is kept through shield", function()
      local text = traceback_of(function() glua.shield(middle) end)
      assert.matches("in function 'culprit'", text, 1, true)
    end)

    it("is kept through the body of a scope", function()
      local text = traceback_of(function() glua.scope(middle) end)
      assert.matches("in function 'culprit'", text, 1, true)
    end)

    it("is kept through get, which shows also where it was got", function()
      local line
      local text, first = traceback_of(function()
        line = debug.getinfo(1, "l").currentline + 1
        glua.spawn(middle):get()
      end)
      assert.matches("in function 'culprit'", first, 1, true)
      assert.matches("which is passed on by <Greenlet %d+ failed, ", text)
      assert.matches("greenlet_spec.lua:" .. line .. ":", text, 1, true)
    end)

    it("is kept through a child of a scope", function()
      local _, first = traceback_of(function()
        glua.scope(function(s) s:spawn(middle) end)
      end)
      assert.matches("in function 'culprit'", first, 1, true)
    end)

    it("is kept through joinall with raise_error", function()
      local _, first = traceback_of(function()
        glua.joinall({glua.spawn(middle)}, {raise_error = true})
      end)
      assert.matches("in function 'culprit'", first, 1, true)
    end)

    it("is kept through a pool's apply", function()
      local _, first = traceback_of(function()
        require("glua.pool").Pool(1):apply(middle)
      end)
      assert.matches("in function 'culprit'", first, 1, true)
    end)

    it("is kept through a pool's map", function()
      local _, first = traceback_of(function()
        require("glua.pool").Pool(1):map(middle, {1})
      end)
      assert.matches("in function 'culprit'", first, 1, true)
    end)

    it("is that of the last error, where there were several", function()
      local text = traceback_of(function()
        pcall(glua.with_timeout, 1, function() error("first", 0) end)
        glua.with_timeout(1, middle)
      end)
      assert.matches("in function 'culprit'", text, 1, true)
      assert.not_matches("first", text, 1, true)
    end)

    it("shows also an error that is no string", function()
      local object = setmetatable({}, {__tostring = function() return "shown" end})
      local g = glua.spawn(error, object)
      g:join()
      assert.matches("^shown\nstack traceback:", g.traceback)
      g = glua.spawn(error, {})
      g:join()
      assert.matches("^%(error object is a table value%)\n", g.traceback)
    end)
  end)

  it("checks that its methods are called on a Greenlet", function()
    local g = parked()
    for _, name in ipairs {
      "join", "get", "kill", "throw", "ready", "successful", "start", "unlink",
    } do
      local line = debug.getinfo(1, "l").currentline + 1
      local e = failure(function() g[name](5) end)
      assert.equal(("%s:%d: bad argument #1 to '%s' (Greenlet expected, got number)"):format(
        debug.getinfo(1, "S").short_src, line, name), e)
    end
    g:kill()
  end)

  it("can be started again when there was no room on the stack to do it", function()
    local args, got = {}, nil
    for i = 1, 7000 do
      args[i] = i
    end
    local g = glua.Greenlet(function(...) got = select("#", ...) end, unpack(args))
    local function start_at(depth)
      if depth == 0 then
        return pcall(g.start, g)
      end
      local ok, e = start_at(depth - 1)
      return ok, e
    end
    local depth, reached, ok = 20000
    repeat -- the deepest place that can be reached has no room for so many arguments
      depth = depth - 50
      reached, ok = pcall(start_at, depth)
    until reached
    assert.is_false(ok)
    assert.is_false(g.started)
    g:start()
    g:join()
    assert.equal(7000, got)
  end)

  it("checks its timeouts", function()
    local g = parked()
    misuse("bad argument #1 to 'join' (timeout: non-negative seconds expected, got -1)",
      function() g:join(-1) end)
    misuse("bad argument #1 to 'join' (timeout: non-negative seconds expected, got nan)",
      function() g:join(0/0) end)
    misuse("bad argument #1 to 'get' (timeout: non-negative seconds expected, got string)",
      function() g:get("1") end)
    misuse("bad argument #1 to 'start_later' (seconds: number expected, got string)",
      function() glua.Greenlet(print):start_later("soon") end)
    misuse("bad argument #1 to 'Greenlet' (function expected, got nil)",
      function() glua.Greenlet() end)
    misuse("bad argument #1 to 'kill' (Greenlet expected, got nil)",
      function() glua.kill(nil) end)
    g:kill()
  end)
end)
