-- scope_spec.lua: glua.scope: greenlets that end before the function that has them.

local glua = require "glua"
local event = require "glua.event"
local helper = require "spec.helper"

local misuse = helper.misuse

-- The error that fn(...) raises.
local function failure(fn, ...)
  local ok, e = pcall(fn, ...)
  assert.is_false(ok)
  return e
end

describe("glua.scope", function()
  helper.leaves_nothing_behind()

  -- The errors that were reported in the running spec.
  local reports
  before_each(function()
    reports = {}
    glua.on_error(function(_, e) reports[#reports + 1] = e end)
  end)
  after_each(function() glua.on_error(nil) end)

  it("returns what its function returns, all of it", function()
    assert.same({1, nil, 3}, {glua.scope(function() return 1, nil, 3 end)})
    assert.equal(0, select("#", glua.scope(function() end)))
    assert.equal(1, select("#", glua.scope(function() return nil end)))
  end)

  it("waits for all its greenlets", function()
    local order = {}
    glua.scope(function(s)
      s:spawn(function()
        glua.sleep(0.002)
        order[#order + 1] = "slow"
      end)
      s:spawn(function() order[#order + 1] = "fast" end)
      order[#order + 1] = "body"
    end)
    assert.same({"body", "fast", "slow"}, order)
  end)

  it("waits for those that its greenlets spawn into it", function()
    local done = {}
    glua.scope(function(s)
      s:spawn(function()
        glua.sleep(0.001)
        s:spawn(function()
          glua.sleep(0.001)
          done[#done + 1] = "grandchild"
        end)
        done[#done + 1] = "child"
      end)
    end)
    assert.same({"child", "grandchild"}, done)
  end)

  it("gives the arguments on, and the Greenlet back", function()
    local g
    glua.scope(function(s)
      g = s:spawn(function(...) return ... end, 1, nil, 3)
    end)
    assert.same({1, nil, 3}, {g:get()})
  end)

  it("does not mind a greenlet of it that is killed", function()
    assert.equal("fine", glua.scope(function(s)
      local g = s:spawn(glua.sleep, 1000)
      glua.sleep(0)
      g:kill()
      s:spawn(glua.sleep, 1000):kill()
      return "fine"
    end))
  end)

  describe("whose greenlet fails", function()
    it("raises the failure", function()
      local object = {}
      assert.equal(object, failure(glua.scope, function(s) s:spawn(error, object) end))
      assert.is_nil(failure(glua.scope, function(s) s:spawn(error) end))
      assert.equal(0, #reports)
    end)

    it("cancels the siblings and waits for their cleanup", function()
      local order = {}
      local e = failure(glua.scope, function(s)
        for i = 1, 2 do
          s:spawn(function()
            local _, caught = pcall(glua.sleep, 1000)
            assert(caught == glua.GreenletExit)
            glua.shield(glua.sleep, 0.001 * i)
            order[#order + 1] = i
          end)
        end
        s:spawn(function()
          glua.sleep(0)
          error("boom", 0)
        end)
      end)
      assert.equal("boom", e)
      assert.same({1, 2}, order)
    end)

    it("interrupts its own function, with an error of kind Cancelled", function()
      local caught
      local e = failure(glua.scope, function(s)
        s:spawn(error, "boom", 0)
        caught = failure(glua.sleep, 1000)
        glua.sleep(1000)
      end)
      assert.equal("boom", e)
      assert.is_true(glua.is_error(caught, "Cancelled"))
      assert.equal("the scope was cancelled", tostring(caught))
    end)

    it("raises the first failure of several", function()
      local e = failure(glua.scope, function(s)
        s:spawn(error, "first", 0)
        s:spawn(error, "second", 0)
        s:spawn(function()
          pcall(glua.sleep, 1000)
          error("third", 0)
        end)
      end)
      assert.equal("first", e)
    end)

    it("kills at once what is spawned into it afterwards", function()
      local ran = false
      failure(glua.scope, function(s)
        s:spawn(error, "boom", 0)
        pcall(glua.sleep, 1000)
        s:spawn(function() ran = true end)
        glua.shield(glua.sleep, 0)
      end)
      assert.is_false(ran)
    end)

    it("raises it also when its function has ended", function()
      assert.equal("late", failure(glua.scope, function(s)
        s:spawn(function()
          glua.sleep(0.001)
          error("late", 0)
        end)
        return "result"
      end))
    end)

    it("leaves nothing to be raised later", function()
      failure(glua.scope, function(s) s:spawn(error, "boom", 0) end)
      glua.sleep(0)
      glua.sleep(0.001)
    end)

    it("works under a shield", function()
      glua.shield(function()
        local caught
        local e = failure(glua.scope, function(s)
          s:spawn(error, "boom", 0)
          caught = failure(glua.sleep, 1000)
        end)
        assert.equal("boom", e)
        assert.is_true(glua.is_error(caught, "Cancelled"))
      end)
    end)

    it("waits for a shield inside of its function", function()
      local slept = false
      local e = failure(glua.scope, function(s)
        s:spawn(error, "boom", 0)
        glua.shield(function()
          glua.sleep(0.001)
          glua.with_timeout(1000, glua.sleep, 0)
          glua.sleep(0.001)
          slept = true
        end)
        glua.sleep(1000)
      end)
      assert.equal("boom", e)
      assert.is_true(slept)
    end)
  end)

  describe("whose function fails", function()
    it("cancels its greenlets, waits for them, and raises the failure", function()
      local cleaned = false
      local e = failure(glua.scope, function(s)
        s:spawn(function()
          pcall(glua.sleep, 1000)
          glua.shield(glua.sleep, 0.001)
          cleaned = true
        end)
        glua.sleep(0)
        error("body", 0)
      end)
      assert.equal("body", e)
      assert.is_true(cleaned)
    end)

    it("raises that failure, and not what its greenlets raise then", function()
      assert.equal("body", failure(glua.scope, function(s)
        s:spawn(function()
          pcall(glua.sleep, 1000)
          error("child", 0)
        end)
        glua.sleep(0)
        error("body", 0)
      end))
    end)

    it("with nil raises nil", function()
      assert.is_nil(failure(glua.scope, function() error() end))
    end)
  end)

  describe("whose owner is killed", function()
    it("kills its greenlets, and no child outlives it", function()
      local child
      local cleaned = false
      local owner = glua.spawn(function()
        glua.scope(function(s)
          child = s:spawn(function()
            pcall(glua.sleep, 1000)
            glua.shield(glua.sleep, 0.001)
            cleaned = true
          end)
          glua.sleep(1000)
        end)
      end)
      glua.sleep(0)
      glua.sleep(0)
      assert.is_true(owner:kill())
      assert.is_true(child.dead)
      assert.is_true(cleaned)
      assert.same({nil, "killed"}, {owner:get()})
    end)

    it("does so also while it waits for them", function()
      local child
      local owner = glua.spawn(function()
        glua.scope(function(s) child = s:spawn(glua.sleep, 1000) end)
      end)
      glua.sleep(0)
      glua.sleep(0)
      assert.is_true(owner:kill())
      assert.is_true(child.dead)
      assert.is_true(owner:successful())
    end)

    it("raises in it what is thrown into it, after the children have ended", function()
      local order = {}
      local owner = glua.spawn(function()
        local e = failure(glua.scope, function(s)
          s:spawn(function()
            pcall(glua.sleep, 1000)
            order[#order + 1] = "child"
          end)
        end)
        order[#order + 1] = e
      end)
      glua.sleep(0)
      glua.sleep(0)
      owner:throw("thrown")
      owner:join()
      assert.same({"child", "thrown"}, order)
    end)
  end)

  describe("cancel", function()
    it("ends the children and the function, and scope returns normally", function()
      local child
      local results = {n = 0}
      local after = false
      local function keep(...) results = {n = select("#", ...), ...} end
      keep(glua.scope(function(s)
        child = s:spawn(glua.sleep, 1000)
        s:cancel()
        glua.sleep(0)
        after = true
      end))
      assert.equal(0, results.n)
      assert.is_true(child.dead)
      assert.is_false(after)
    end)

    it("can come from one of its greenlets, or from outside", function()
      local scopes = {}
      local g = glua.spawn(function()
        glua.scope(function(s)
          scopes[1] = s
          s:spawn(glua.sleep, 1000)
          glua.sleep(1000)
        end)
        return "went on"
      end)
      glua.sleep(0)
      scopes[1]:cancel()
      assert.equal("went on", g:get())
      assert.equal("also", (function()
        glua.scope(function(s)
          s:spawn(function() s:cancel() end)
          glua.sleep(1000)
        end)
        return "also"
      end)())
    end)

    it("keeps the results of a function that has returned", function()
      assert.equal("result", glua.scope(function(s)
        s:spawn(function()
          glua.sleep(0)
          s:cancel()
          glua.sleep(1000)
        end)
        return "result"
      end))
    end)

    it("twice, or of one that is over, does nothing", function()
      local kept
      glua.scope(function(s)
        kept = s
        s:cancel()
        s:cancel()
      end)
      kept:cancel()
      glua.sleep(0)
    end)

    it("reaches an owner that is parked in an inner scope", function()
      local order = {}
      glua.scope(function(outer)
        outer:spawn(function()
          glua.sleep(0.001)
          outer:cancel()
        end)
        glua.scope(function(inner)
          inner:spawn(function()
            pcall(glua.sleep, 1000)
            order[#order + 1] = "inner child"
          end)
          glua.sleep(1000)
        end)
        order[#order + 1] = "not reached"
      end)
      assert.same({"inner child"}, order)
    end)

    it("of an inner scope leaves the outer one alone", function()
      local order = {}
      glua.scope(function(outer)
        local sibling = outer:spawn(function()
          glua.sleep(0.002)
          return "sibling"
        end)
        glua.scope(function(inner)
          inner:spawn(function() inner:cancel() end)
          glua.sleep(1000)
        end)
        order[1] = sibling:get()
      end)
      assert.same({"sibling"}, order)
    end)
  end)

  describe("with a timeout", function()
    it("raises a Timeout when that is over, and its greenlets have ended", function()
      local child
      local e = failure(glua.scope, function(s)
        child = s:spawn(glua.sleep, 1000)
        glua.sleep(1000)
      end, {timeout = 0.001})
      assert.is_true(glua.is_error(e, "Timeout"))
      assert.equal(0.001, e.seconds)
      assert.is_true(child.dead)
      glua.sleep(0.001)
    end)

    it("bounds the wait for the greenlets too", function()
      local e = failure(glua.scope, function(s)
        s:spawn(glua.sleep, 1000)
      end, {timeout = 0.001})
      assert.is_true(glua.is_error(e, "Timeout"))
    end)

    it("does not mind when all is done in time", function()
      assert.equal(1, glua.scope(function(s)
        s:spawn(glua.sleep, 0)
        return 1
      end, {timeout = 1000}))
    end)

    it("takes a Timeout, started or not", function()
      local t = glua.Timeout(0.001)
      local e = failure(glua.scope, function(s) s:spawn(glua.sleep, 1000) end, {timeout = t})
      assert.is_true(glua.is_error(e, "Timeout"))
      t:start()
      e = failure(glua.scope, function(s) s:spawn(glua.sleep, 1000) end, {timeout = t})
      assert.equal(t, e)
    end)

    it("lets an outer Timeout through", function()
      local child
      local t = glua.Timeout(0.001):start()
      assert.equal(t, failure(glua.scope, function(s)
        child = s:spawn(glua.sleep, 1000)
        glua.sleep(1000)
      end, {timeout = 1000}))
      assert.is_true(child.dead)
    end)
  end)

  it("works for many greenlets", function()
    local n, sum = helper.many(1000), 0
    glua.scope(function(s)
      for i = 1, n do
        s:spawn(function()
          glua.sleep(0)
          sum = sum + i
        end)
      end
    end)
    assert.equal(n * (n + 1) / 2, sum)
  end)

  it("is left although its greenlets wait for one another, when it is cancelled", function()
    local e = event.Event()
    glua.scope(function(s)
      for _ = 1, 3 do
        s:spawn(function() e:wait() end)
      end
      glua.sleep(0)
      s:cancel()
    end)
    assert.matches("0 waiting", tostring(e))
  end)

  it("shows itself", function()
    glua.scope(function(s)
      assert.matches("^<Scope of <Greenlet .+>, 0 children>$", tostring(s))
      s:spawn(glua.sleep, 0)
      assert.matches("1 children>$", tostring(s))
      s:cancel()
      assert.matches("cancelled>$", tostring(s))
    end)
  end)

  it("cannot spawn when it is over", function()
    local kept
    glua.scope(function(s) kept = s end)
    misuse("spawn: the scope has ended", function() kept:spawn(print) end)
  end)

  it("gives up when its greenlets can never end, and main with it", function()
    local result = helper.run [[
      local glua = require "glua"
      local event = require "glua.event"
      local ok, e = pcall(glua.scope, function(s)
        s:spawn(function()
          glua.shield(function() event.Event():wait() end)
        end)
        glua.sleep(0)
        error("body")
      end)
      print(ok, e.kind or e)
    ]]
    assert.matches("^false\t.*body", result.out)
    assert.equal(0, result.status)
  end)

  it("checks its arguments", function()
    misuse("bad argument #1 to 'scope' (function expected, got number)",
      function() glua.scope(5) end)
    misuse("bad argument #2 to 'scope' (table expected, got number)",
      function() glua.scope(print, 5) end)
    misuse("bad argument #2 to 'scope' (unknown option 'time')",
      function() glua.scope(print, {time = 5}) end)
    misuse("bad argument #2 to 'scope' (timeout: non-negative seconds expected, got -5)",
      function() glua.scope(print, {timeout = -5}) end)
    glua.scope(function(s)
      misuse("bad argument #1 to 'spawn' (function expected, got nil)",
        function() s:spawn() end)
      misuse("bad argument #1 to 'spawn' (Scope expected, got function; call it with ':')",
        function() s.spawn(print) end)
    end)
  end)
end)
