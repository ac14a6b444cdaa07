-- coroutine.lua: the script's own coroutines, in which blocking calls work.
--
-- A coroutine that parks yields core.PARKED to the resume that runs it, which passes it on
-- outwards, down to the hub; the wake comes back inwards the same way. Until then the
-- coroutine counts as "normal": the script's own resume of it is refused.

local _, core = ...

local PARKED, pass_on = core.PARKED, core.pass_on
local is_greenlet_itself = core.is_greenlet_itself
local create, resume, status, wrap, yield =
  coroutine.create, coroutine.resume, coroutine.status, coroutine.wrap, coroutine.yield
local type = type

-- Coroutines that only the hub may resume: those that are parked now, and the greenlets'
-- own ones that a script has got from coroutine.running.
local refused = setmetatable({}, {__mode = "k"})

local REFUSAL = "cannot resume running coroutine (it is parked in a blocking call)"

local function resume_parked(co, ...)
  refused[co] = nil
  return resume(co, ...)
end

local function outward(co, ok, ...)
  if ok and (...) == PARKED then
    refused[co] = true
    return outward(co, resume_parked(co, pass_on()))
  end
  return ok, ...
end

-- A wrong argument goes to the original as a tail call, so that its error names the
-- caller's line.
local function co_resume(co, ...)
  if type(co) ~= "thread" then
    return resume(co, ...)
  elseif refused[co] and status(co) == "suspended" then
    return false, REFUSAL
  end
  return outward(co, resume(co, ...))
end

local function co_status(co)
  if refused[co] and status(co) == "suspended" then
    return "normal"
  end
  return status(co)
end

-- An error that is a string gets the position of the caller, as the original does. This
-- is called in tail position, so the caller is at level 2.
local function results(ok, ...)
  if not ok then
    local e = ...
    error(e, type(e) == "string" and 2 or 0)
  end
  return ...
end

local function co_wrap(...)
  local fn = ...
  if type(fn) ~= "function" then
    return wrap(...)
  end
  local co = create(fn)
  return function(...)
    return results(co_resume(co, ...))
  end
end

local function co_yield(...)
  if is_greenlet_itself() then
    error("attempt to yield from outside a coroutine "
      .. "(a greenlet lets others run with glua.sleep(0))", 2)
  end
  return yield(...)
end

local function co_running()
  local co, is_greenlet = core.running()
  if is_greenlet then
    refused[co] = true
  end
  return co
end

coroutine.resume = co_resume
coroutine.status = co_status
coroutine.wrap = co_wrap
coroutine.yield = co_yield
coroutine.running = co_running
coroutine.isyieldable = core.isyieldable
debug.sethook, debug.gethook = core.sethook, core.gethook

return coroutine
