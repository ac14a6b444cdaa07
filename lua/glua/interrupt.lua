-- interrupt.lua: what is raised in a greenlet from outside, and when.
--
-- A parked greenlet that shall raise is woken by the core, whose park then returns true;
-- the primitive comes here, and `interrupted` finds out what to raise. A greenlet that is
-- not parked finds its core flag set at the next park. The sources, in order:
--
--   the hub's     LoopExit and SIGINT's "interrupted", in main only; once each
--   env.kill      sticky: raised again at every park until the greenlet ends
--   env.thrown    a list, each raised once
--   env.timeouts  started Timeout objects; one that has expired is raised once
--   env.scopes    with_timeout and scope, innermost last: one that has expired or was
--                 cancelled is raised at every park until its function is left
--
-- shield() holds back SIGINT, kill and thrown, and what was started outside of it.

local _, core = ...
local errors = require "glua.errors"

local interrupt = {}

-- A greenlet that has caught its kill this often and parks again is given up.
local MAX_SWALLOWED = 100

---The tables of a greenlet that this module keeps.
---@return table env
local function state_of(g)
  local env = core.env(g)
  if not env.scopes then
    env.scopes, env.timeouts, env.thrown = {}, {}, {}
  end
  return env
end

interrupt.state_of = state_of

local function loop_exit()
  local limit = 50
  local lines, all = core.parked(limit)
  local text = "this operation would block forever: nothing can wake the main greenlet"
  if all > limit then
    lines[limit + 1] = ("... and %d more"):format(all - limit)
  end
  return errors.new("LoopExit", text .. "\n  " .. table.concat(lines, "\n  "),
    {greenlets = lines})
end

-- The hub's own event, or nil. The event is kept until it can be raised.
local function take_event()
  local event = core.take_event()
  if event == "LoopExit" then
    return loop_exit()
  elseif event then
    return errors.new("interrupted", "interrupted")
  end
end

-- Whether a scope or an alarm has to be raised under the shield of now.
local function is_due(entry, shield)
  if entry.cancelled then
    return entry.shield >= shield
  end
  if not entry.alarm then
    return false
  end
  local expired, allowed = core.expired(entry.alarm)
  return expired and allowed
end

local function due_scope(env, shield)
  for i, scope in ipairs(env.scopes) do
    if is_due(scope, shield) then
      return scope, i
    end
  end
end

-- Of several, the one whose time was over first.
local function due_timeout(env, shield)
  local first, at
  for i, timeout in ipairs(env.timeouts) do
    if is_due(timeout, shield) and (not first or timeout.deadline < first.deadline) then
      first, at = timeout, i
    end
  end
  return first, at
end

-- Whether the script's coroutine in which a scope was entered has yielded, or died, in
-- the midst of it.
local function is_outside(scope)
  local status = scope.within and coroutine.status(scope.within)
  return status == "suspended" or status == "dead"
end

---Sets the core's flag anew: after something was raised, cancelled or left.
---@param env table of the running greenlet
function interrupt.refresh(env)
  local shield = core.shield()
  local open = shield == 0 and (env.kill or env.thrown[1] ~= nil)
  core.set_interrupted(open or due_scope(env, shield) ~= nil
    or due_timeout(env, shield) ~= nil or core.has_event())
end

local function killed(env)
  env.swallowed = (env.swallowed or -1) + 1
  if env.swallowed >= MAX_SWALLOWED then
    core.abandon()
  end
  return env.kill
end

local function pick(env)
  local shield = core.shield()
  local event = take_event()
  if event then
    return event
  end
  if shield == 0 and env.kill then
    return killed(env)
  end
  if shield == 0 and env.thrown[1] ~= nil then
    return table.remove(env.thrown, 1).error
  end
  local timeout, i = due_timeout(env, shield)
  if timeout then
    table.remove(env.timeouts, i)
    core.disarm(timeout.alarm)
    return timeout:raised(), timeout
  end
  local scope, at = due_scope(env, shield)
  if scope and is_outside(scope) then
    table.remove(env.scopes, at) -- its function may never go on: it is raised once
  end
  return scope and scope.error
end

---Raises what a park has to raise. Returns only when that is the Timeout object which the
---blocking call was given as its own timeout: then its time is over.
---@param timeout? any the blocking call's timeout argument
---@param message? string from the core: why the park is impossible
function interrupt.interrupted(timeout, message)
  if message then
    error(message, 0)
  end
  local env = state_of(core.current())
  local e, source = pick(env)
  interrupt.refresh(env)
  if source ~= nil and source == timeout then
    return
  end
  error(e, 0)
end

---Has `e` raised in a greenlet once, at its next park or now.
function interrupt.throw(g, e)
  local thrown = state_of(g).thrown
  thrown[#thrown + 1] = {error = e}
  core.interrupt(g)
end

---Has GreenletExit raised in a greenlet at every park.
function interrupt.kill(g)
  state_of(g).kill = errors.GreenletExit
  core.interrupt(g)
end

---Adds a scope to those of the running greenlet.
---@param scope {error: any, alarm: userdata?, cancelled: boolean?}
---@return table env of the greenlet
function interrupt.enter(scope)
  local env = state_of(core.current())
  scope.shield = core.shield()
  scope.within = core.isyieldable() and coroutine.running() or nil
  env.scopes[#env.scopes + 1] = scope
  return env
end

---Takes it off. It is not always the innermost: a coroutine of the script's may have yielded
---in the midst of one.
---@param env table that enter has returned
function interrupt.leave(env, scope)
  local scopes = env.scopes
  for i = #scopes, 1, -1 do
    if scopes[i] == scope then
      table.remove(scopes, i)
      break
    end
  end
  interrupt.refresh(env)
end

-- The traceback of an error that is passed on, for who reports it in the end: see box.c.
local function keep_traceback(e)
  local g = core.current()
  if g and not errors.is_error(e) then
    local env = core.env(g)
    if not env.passing or not rawequal(env.passing.error, e) then
      env.passing = {error = e, traceback = debug.traceback("", 2)}
    end
  end
  return e
end

---As pcall; an error that is raised again keeps its first traceback.
function interrupt.protect(fn, ...)
  return xpcall(fn, keep_traceback, ...)
end

---Raises what a failed Greenlet has raised; its traceback goes with it.
---@param g glua.Greenlet
function interrupt.raise_from(g)
  local env = core.env(g)
  local e, traceback = env.error, env.traceback
  if not errors.is_error(e) then
    core.env(core.current()).passing = {
      error = e,
      traceback = ("%s\nwhich is passed on by %s\n%s"):format(
        traceback:sub((traceback:find("\nstack traceback:", 1, true))), tostring(g),
        debug.traceback("", 2):sub(2)),
    }
  end
  error(e, 0)
end

-- The shield is taken from the greenlet that has it: a coroutine of the script's may have
-- begun the call in one and end it in another.
local function leave_shield(owner, ok, ...)
  core.add_shield(owner, -1)
  if owner == core.current() then
    interrupt.refresh(state_of(owner))
  end
  if not ok then
    error((...), 0)
  end
  return ...
end

---Runs fn(...) while kills, cancellations and outer timeouts wait until it has returned. Only
---LoopExit comes through: what would wait for ever never returns.
---@param fn function
---@return any ... what fn returns
function interrupt.shield(fn, ...)
  require("glua.check").callable(fn, 1, "shield")
  local owner = core.current()
  if not owner then -- in a finalizer, that nothing interrupts
    return fn(...)
  end
  core.add_shield(owner, 1)
  return leave_shield(owner, interrupt.protect(fn, ...))
end

return interrupt
