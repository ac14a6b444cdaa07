-- blocking_spec.lua: what every blocking call has in common.

local cases = require "spec.support.blocking_calls"
local glua = require "glua"
local helper = require "spec.helper"

local GreenletExit, is_error = glua.GreenletExit, glua.is_error

local function list(...)
  return {n = select("#", ...), ...}
end

local function check_results(expected, c, results)
  if type(expected) == "function" then
    expected(c, results)
  else
    assert.same(expected, results)
  end
end

-- Starts the call in a greenlet of its own, and has it parked.
local function start(case_, c, timeout)
  local record = {}
  record.g = glua.spawn(function()
    record.results = list(pcall(case_.block, c, timeout))
    record.second = list(pcall(glua.sleep, 0))
    record.third = list(pcall(glua.sleep, 0))
  end)
  -- Some need a few turns to come to the wait in question.
  for _ = 1, 4 do
    glua.sleep(0)
  end
  assert.is_nil(record.results, "it does not park")
  return record
end

-- Makes the call in a greenlet of its own, after `prepare` has been called there. Returns
-- what pcall gives, as a list, and what prepare has returned.
local function call(case_, c, timeout, prepare)
  return glua.spawn(function()
    local prepared = prepare and prepare()
    return list(pcall(case_.block, c, timeout)), prepared
  end):get()
end

local function results_of(called)
  assert.is_true(called[1], tostring(called[2]))
  return list(unpack(called, 2, called.n))
end

local function check_done(case_, c, record)
  record.g:join()
  check_results(case_.done, c, results_of(record.results))
end

local function check_raised(e, called)
  assert.is_false(called[1], "it has raised nothing")
  assert.equal(e, called[2])
end

-- A call that was given up must not have left anything that takes the next one's wake.
local function check_still_works(case_, c)
  if case_.wake and not case_.once then
    case_.again(c)
    local record = start(case_, c)
    case_.wake(c)
    check_done(case_, c, record)
  end
end

local function check_timed_out(case_, c, called)
  if case_.raises then
    assert.is_false(called[1])
    assert.is_true(is_error(called[2], "Timeout"), tostring(called[2]))
  else
    check_results(case_.timed_out, c, results_of(called))
  end
end

local function any() return true end

local function can_be_woken(case_) return case_.wake end

local function is_woken_at_once(case_) return case_.wake and not case_.late end

local function takes_timeout(case_) return case_.timed_out or case_.raises end

local function takes_timeout_object(case_)
  return case_.timed_out and not case_.unchecked
end

local function alive()
  glua.idle()
  local stats = glua.gethub().stats()
  return ("%d greenlets, %d timers, %d waiting for descriptors"):format(stats.greenlets,
    stats.timers, stats.io_waits)
end

-- What a function of for_each returns when things did not happen in the same turn, for the
-- machine was busy.
local AGAIN = {}

local function try(case_, fn)
  for _ = 1, 50 do
    local before = alive()
    local c = case_.setup()
    local ok, e = pcall(fn, case_, c)
    case_.close(c)
    if not ok then
      return type(e) == "table" and e.message or tostring(e)
    elseif alive() ~= before then
      collectgarbage() -- an iteration that was left goes with its iterator
      collectgarbage()
      if alive() ~= before then
        return ("leaves behind: %s; before it were %s"):format(alive(), before)
      end
    end
    if e ~= AGAIN then
      return nil
    end
  end
  return "never happens in the same turn"
end

-- Declares an `it` in which fn gets each case that fits, and what its setup has made. A case
-- that fails does not hide the others.
local function for_each(what, fits, fn)
  it(what, function()
    local failures, n = {}, 0
    for _, case_ in ipairs(cases) do
      if fits(case_) then
        n = n + 1
        local failure = try(case_, fn)
        if failure then
          failures[#failures + 1] = ("%s: %s"):format(case_.name, failure)
        end
      end
    end
    assert.is_true(n > 0)
    if #failures > 0 then
      error(table.concat(failures, "\n"), 0)
    end
  end)
end

describe("every blocking call", function()
  helper.leaves_nothing_behind()

  for_each("goes on when what it waits for is there", can_be_woken, function(case_, c)
    local record = start(case_, c)
    case_.wake(c)
    check_done(case_, c, record)
    assert.is_true(record.second[1])
  end)

  for_each("honours its timeout", takes_timeout, function(case_, c)
    local called, before = call(case_, c, 0.002, glua.now)
    assert.is_true(glua.now() - before >= 0.002 - 1e-9)
    check_timed_out(case_, c, called)
    check_still_works(case_, c)
  end)

  for_each("gives up with a timeout of 0", takes_timeout, function(case_, c)
    check_timed_out(case_, c, (call(case_, c, 0)))
    check_still_works(case_, c)
  end)

  for_each("takes a Timeout for the number, and does not start it", takes_timeout_object,
    function(case_, c)
      local t = glua.Timeout(0.002)
      local called, before = call(case_, c, t, glua.now)
      assert.is_true(glua.now() - before >= 0.002 - 1e-9)
      check_timed_out(case_, c, called)
      assert.is_false(t.pending)
      check_still_works(case_, c)
    end)

  for_each("takes a Timeout that runs already as its own", takes_timeout_object,
    function(case_, c)
      local t = glua.Timeout(0.002)
      check_timed_out(case_, c, (call(case_, c, t, function() t:start() end)))
      assert.is_false(t.pending)
      check_still_works(case_, c)
    end)

  for_each("does not lose a started Timeout", any, function(case_, c)
    local called, t = call(case_, c, nil, function() return glua.Timeout(0.002):start() end)
    check_raised(t, called)
    check_still_works(case_, c)
  end)

  for_each("does not lose a started Timeout for a longer one of its own", takes_timeout,
    function(case_, c)
      local called, t = call(case_, c, 10, function() return glua.Timeout(0.002):start() end)
      check_raised(t, called)
      check_still_works(case_, c)
    end)

  for_each("leaves a started Timeout alone when its own comes first", takes_timeout,
    function(case_, c)
      local called, t = call(case_, c, 0.001, function() return glua.Timeout(10):start() end)
      check_timed_out(case_, c, called)
      t:cancel()
    end)

  for_each("does not lose the deadline of with_timeout", any, function(case_, c)
    local first, second
    local g = glua.spawn(function()
      glua.with_timeout(0.002, function()
        first = list(pcall(case_.block, c))
        second = list(pcall(glua.sleep, 10))
      end)
    end)
    g:join()
    assert.is_false(first[1])
    assert.is_true(is_error(first[2], "Timeout"), tostring(first[2]))
    check_raised(first[2], second)
    check_still_works(case_, c)
  end)

  for_each("dies when it is killed, which cannot be swallowed", any, function(case_, c)
    local record = start(case_, c)
    record.g:kill()
    assert.is_true(record.g.dead)
    assert.is_true(record.g:successful())
    check_raised(GreenletExit, record.results)
    check_raised(GreenletExit, record.second)
    check_raised(GreenletExit, record.third)
    check_still_works(case_, c)
  end)

  for_each("raises at once when a kill came before it", any, function(case_, c)
    local called
    local g
    g = glua.spawn(function()
      glua.spawn(g.kill, g)
      pcall(glua.sleep, 0)
      called = list(pcall(case_.block, c))
    end)
    g:join()
    check_raised(GreenletExit, called)
    check_still_works(case_, c)
  end)

  for_each("raises an error that is thrown into it, once", any, function(case_, c)
    local record = start(case_, c)
    record.g:throw("thrown")
    record.g:join()
    check_raised("thrown", record.results)
    assert.is_true(record.second[1])
    check_still_works(case_, c)
  end)

  for_each("keeps what it got before a kill in the same turn", is_woken_at_once,
    function(case_, c)
      local record = start(case_, c)
      case_.wake(c)
      record.g:kill(nil, {block = false})
      check_done(case_, c, record)
      check_raised(GreenletExit, record.second)
      check_still_works(case_, c)
    end)

  for_each("leaves what comes after a kill in the same turn to others", is_woken_at_once,
    function(case_, c)
      local record = start(case_, c)
      record.g:kill(nil, {block = false})
      case_.wake(c, true)
      record.g:join()
      check_raised(GreenletExit, record.results)
      check_still_works(case_, c)
    end)

  for_each("keeps what it got before a Timeout in the same turn", is_woken_at_once,
    function(case_, c)
      local second, t
      local record = {}
      record.g = glua.spawn(function()
        t = glua.Timeout(0.001):start()
        record.results = list(pcall(case_.block, c))
        second = list(pcall(glua.sleep, 10))
      end)
      glua.sleep(0)
      helper.burn(0.0015)
      if record.results then -- the Timeout came before the burning
        record.g:kill()
        return AGAIN
      end
      case_.wake(c)
      check_done(case_, c, record)
      check_raised(t, second)
      check_still_works(case_, c)
    end)

  for_each("leaves what comes after a Timeout in the same turn to others", function(case_)
    return is_woken_at_once(case_) and not case_.owned
  end, function(case_, c)
    local called, t, early
    local waker = glua.spawn(function()
      glua.sleep(0.001)
      early = not t or glua.now() < t.deadline
      case_.wake(c, not early)
    end)
    local g = glua.spawn(function()
      t = glua.Timeout(0.001):start()
      called = list(pcall(case_.block, c))
    end)
    glua.sleep(0)
    -- Both timers are due now: the waker comes first into the ready queue, and finds a
    -- greenlet that is to raise.
    helper.burn(0.002)
    glua.joinall {waker, g}
    assert.is_true(waker:successful(), tostring(waker.exception))
    if early then
      return AGAIN
    end
    check_raised(t, called)
    check_still_works(case_, c)
  end)

  for_each("works in a coroutine of the script, at any depth", can_be_woken,
    function(case_, c)
      local seen = {}
      local g = glua.spawn(function()
        local outer = coroutine.wrap(function()
          local inner = coroutine.wrap(function(...)
            seen[1] = list(...)
            seen[2] = list(coroutine.yield("a", nil))
            return case_.block(c)
          end)
          seen[3] = list(inner(1, nil))
          coroutine.yield("b")
          return inner(2, nil)
        end)
        seen[4] = outer()
        return outer()
      end)
      for _ = 1, 4 do
        glua.sleep(0)
      end
      case_.wake(c)
      check_results(case_.done, c, list(g:get()))
      assert.same({list(1, nil), list(2, nil), list("a", nil), "b"}, seen)
    end)

  for_each("dies by a kill in a coroutine of the script", any, function(case_, c)
    local resumed
    local g = glua.spawn(function()
      coroutine.wrap(function()
        resumed = list(coroutine.resume(coroutine.create(function() case_.block(c) end)))
        glua.sleep(3600)
      end)()
    end)
    for _ = 1, 4 do
      glua.sleep(0)
    end
    g:kill()
    assert.is_true(g.dead)
    assert.is_true(g:successful())
    check_raised(GreenletExit, resumed)
    check_still_works(case_, c)
  end)

  for_each("refuses a timeout that is none, at the caller's line", function(case_)
    return takes_timeout(case_) and not case_.unchecked
  end, function(case_, c)
    for _, wrong in ipairs {-1, -math.huge, 0 / 0, "soon", true} do
      local called = call(case_, c, wrong)
      assert.is_false(called[1])
      assert.matches("blocking_%l+.lua:%d+: .*seconds expected", tostring(called[2]))
    end
  end)

  for_each("refuses seconds that are no number, at the caller's line", function(case_)
    return takes_timeout(case_) and case_.unchecked
  end, function(case_, c)
    for _, wrong in ipairs {0 / 0, "soon", true} do
      local called = call(case_, c, wrong)
      assert.is_false(called[1])
      assert.matches("blocking_%l+.lua:%d+: .*number expected", tostring(called[2]))
    end
  end)

  it("does not lose the wake of a finalizer that runs while it gets ready to wait", function()
    local result = helper.gluarun {"spec/fixtures/finalizers.lua"}
    assert.equal("", result.err)
    local n = 0
    for name, outcome in result.out:gmatch("([^\t\n]*)\t([^\n]*)") do
      n = n + 1
      assert.equal(name .. " ok", name .. " " .. outcome)
    end
    assert.is_true(n >= 15)
  end)
end)

describe("glua.wait without objects", function()
  helper.leaves_nothing_behind()

  it("goes on when nothing is left to do, and before LoopExit", function()
    local result = helper.run [[
      local glua = require "glua"
      local log = {}
      for i = 3, 1, -1 do
        glua.spawn_later(i / 1000, function() log[#log + 1] = i end)
      end
      local waiting = glua.spawn(glua.wait)
      glua.spawn(function() require("glua.event").Event():wait() end)
      print(glua.wait(), table.concat(log, " "), waiting:get())
      print(glua.wait(nil, 10))
    ]]
    assert.equal("", result.err)
    assert.equal("true\t1 2 3\ttrue\ntrue\n", result.out)
    assert.equal(0, result.status)
  end)
end)
