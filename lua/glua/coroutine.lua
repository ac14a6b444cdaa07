-- coroutine.lua: the script's own coroutines, in which blocking calls work.
--
-- A coroutine that parks yields core.PARKED to the resume that runs it, which passes it on
-- outwards, down to the hub; the wake comes back inwards the same way. Until then the
-- coroutine counts as "normal": the script's own resume of it is refused.

local _, core = ...

local PARKED, pass_on = core.PARKED, core.pass_on
local create, resume, status = coroutine.create, coroutine.resume, coroutine.status

local parked = setmetatable({}, {__mode = "k"})

local function resume_parked(co, ...)
  parked[co] = nil
  return resume(co, ...)
end

local function outward(co, ok, ...)
  if ok and (...) == PARKED then
    parked[co] = true
    return outward(co, resume_parked(co, pass_on()))
  end
  return ok, ...
end

local function co_resume(co, ...)
  if parked[co] then
    return false, "cannot resume normal coroutine"
  end
  return outward(co, resume(co, ...))
end

local function co_status(co)
  if parked[co] then
    return "normal"
  end
  return status(co)
end

-- An error that is a string gets the position of the caller, as the original does.
local function results(ok, ...)
  if not ok then
    local e = ...
    error(e, type(e) == "string" and 3 or 0)
  end
  return ...
end

local function co_wrap(fn)
  local co = create(fn)
  return function(...)
    return results(co_resume(co, ...))
  end
end

coroutine.resume = co_resume
coroutine.status = co_status
coroutine.wrap = co_wrap
coroutine.yield = core.yield
coroutine.running = core.running
coroutine.isyieldable = core.isyieldable

return coroutine
