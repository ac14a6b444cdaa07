-- greenlet.lua: the Greenlet object, spawn and kill.

local _, core = ...
local check = require "glua.check"
local errors = require "glua.errors"
local interrupt = require "glua.interrupt"
local links = require "glua.links"

local interrupted = interrupt.interrupted
local GreenletExit = errors.GreenletExit

---@class glua.Greenlet
---@field started boolean scheduled or running
---@field dead boolean ended
---@field value any the first result of the function
---@field exception any what the function raised
---@field traceback string? of a failed one
---@field name string?
---@field id integer number of the spawn; 0 before the start
---@field spawned_at string? "script.lua:12"
---@field parent glua.Greenlet? the one that spawned it, while that lives
---@field locals table of its own
---@field tree_locals table shared with its descendants
local Greenlet = {}

local state = core.state

local function is_dead(g)
  local s = state(g)
  return s ~= "new" and s ~= "alive"
end

local getters = {
  started = function(g) return state(g) == "alive" end,
  dead = is_dead,
  value = function(g)
    local env = core.peek_env(g)
    return env and env[1]
  end,
  exception = function(g)
    local env = core.peek_env(g)
    return env and env.error
  end,
  traceback = function(g)
    local env = core.peek_env(g)
    return env and env.traceback
  end,
  name = function(g)
    local env = core.peek_env(g)
    return env and env.name
  end,
  id = function(g) return (core.facts(g)) end,
  spawned_at = function(g) return (select(2, core.facts(g))) end,
  parent = core.parent,
  locals = function(g)
    local env = core.env(g)
    env.locals = env.locals or {}
    return env.locals
  end,
  tree_locals = function(g)
    local env = core.env(g)
    if not env.tree then
      env.tree = {}
      core.plant_tree(g, env.tree)
    end
    return env.tree
  end,
}

local meta = core.greenlet_meta
meta.__name = "Greenlet"
meta.__tostring = core.describe

function meta.__index(g, key)
  local method = Greenlet[key]
  if method then
    return method
  end
  local getter = getters[key]
  if getter then
    return getter(g)
  end
end

function meta.__newindex(g, key, value)
  if key ~= "name" then
    check.misuse(("a Greenlet has no field '%s' to set; use g.locals"):format(tostring(key)))
  elseif value ~= nil and type(value) ~= "string" then
    check.misuse("a Greenlet's name is a string, got " .. type(value))
  end
  core.env(g).name = value
end

---A Greenlet that is not started.
---@param fn function
---@return glua.Greenlet
local function new(fn, ...)
  check.callable(fn, 1, "Greenlet")
  local g = core.new()
  local env = core.env(g)
  env.fn, env.args = fn, {n = select("#", ...), ...}
  return g
end

local function start(g, seconds, name)
  check.greenlet(g, 1, name)
  if state(g) ~= "new" then
    check.misuse(("%s: %s was started already"):format(name, tostring(g)))
  end
  local env = core.env(g)
  local fn, args = env.fn, env.args
  core.start(g, seconds, fn, unpack(args, 1, args.n))
  env.fn, env.args = nil, nil
end

---Has the hub run it, after what is ready now.
function Greenlet:start()
  start(self, nil, "start")
end

---Has the hub run it after so many seconds.
---@param seconds number
function Greenlet:start_later(seconds)
  check.greenlet(self, 1, "start_later")
  check.seconds(seconds, 1, "start_later")
  start(self, math.max(seconds, 0), "start_later")
end

---Whether it has ended.
---@return boolean
function Greenlet:ready()
  return is_dead(check.greenlet(self, 1, "ready"))
end

---Whether it has ended without a failure; a killed one has.
---@return boolean
function Greenlet:successful()
  local s = state(check.greenlet(self, 1, "successful"))
  return s == "finished" or s == "killed"
end

---Parks until it has ended.
---@param timeout? number|glua.Timeout
---@return boolean whether it has
function Greenlet:join(timeout)
  check.greenlet(self, 1, "join")
  local seconds = check.timeout(timeout, 1, "join")
  if self == core.current() then
    check.misuse("join: a greenlet cannot join itself")
  end
  local st, message = core.join(self, seconds)
  if st then
    interrupted(timeout, message)
  end
  return st == nil or is_dead(self) -- it may have ended since the time was over
end

-- What get returns for a dead greenlet.
local function outcome(g)
  local s = state(g)
  local env = core.peek_env(g)
  if s == "killed" then
    return nil, "killed"
  elseif s == "failed" then
    interrupt.raise_from(g)
  elseif env and env.n then
    return unpack(env, 1, env.n)
  end
end

---Parks until it has ended, and returns the results of its function, all of them; raises
---what that raised. nil, "timeout"; nil, "killed".
---@param timeout? number|glua.Timeout
function Greenlet:get(timeout)
  check.greenlet(self, 1, "get")
  local seconds = check.timeout(timeout, 1, "get")
  if self == core.current() then
    check.misuse("get: a greenlet cannot wait for its own result")
  end
  core.await(self, 1)
  local st, message = core.join(self, seconds)
  core.await(self, -1)
  if st then
    interrupted(timeout, message)
  end
  if not is_dead(self) then -- else it has ended since the time was over
    return nil, "timeout"
  end
  return outcome(self)
end

-- Has err raised in a living greenlet that is not the running one.
local function inject(g, err)
  if err == nil or rawequal(err, GreenletExit) then
    if not core.discard(g) then
      interrupt.kill(g)
    end
  elseif state(g) == "new" then
    core.start(g, nil, error, err, 0)
  elseif not core.call_instead(g, error, err, 0) then
    interrupt.throw(g, err)
  end
end

local function kill_self(g, err)
  if err == nil or rawequal(err, GreenletExit) then
    interrupt.kill(g)
    err = GreenletExit
  end
  error(err, 0)
end

---Ends it: raises GreenletExit where it is parked, and at each of its parks from then on.
---One that has never run does not run. With an error of one's own, that is raised, once.
---@param err? any
---@param options? {block: boolean, timeout: number} block: wait for its end, the default
---@return boolean whether it is dead
function Greenlet:kill(err, options)
  check.greenlet(self, 1, "kill")
  options = check.options(options, check.KILL_OPTIONS, 2, "kill")
  local block, timeout = options.block ~= false, options.timeout
  check.timeout(timeout, 2, "kill")
  if is_dead(self) then
    return true
  elseif self == core.current() then
    kill_self(self, err)
  end
  inject(self, err)
  return is_dead(self) or (block and self:join(timeout))
end

---Raises err in it once, where it is parked; GreenletExit if nil. Does not wait.
---@param err? any
function Greenlet:throw(err)
  check.greenlet(self, 1, "throw")
  if is_dead(self) then
    return
  elseif self == core.current() then
    kill_self(self, err)
  end
  inject(self, err)
end

---Has fn(g) called, in a greenlet of its own, when it has ended.
---@param fn function
function Greenlet:link(fn)
  check.greenlet(self, 1, "link")
  check.callable(fn, 1, "link")
  links.add_to_greenlet(self, fn, false)
end

---As link, if it ends without a failure.
---@param fn function
function Greenlet:link_value(fn)
  check.greenlet(self, 1, "link_value")
  check.callable(fn, 1, "link_value")
  links.add_to_greenlet(self, fn, false, false)
end

---As link, if it fails; the failure is not reported then.
---@param fn function
function Greenlet:link_exception(fn)
  check.greenlet(self, 1, "link_exception")
  check.callable(fn, 1, "link_exception")
  links.add_to_greenlet(self, fn, false, true)
end

---As link, but fn is called by the notifier itself and must not park.
---@param fn function
function Greenlet:rawlink(fn)
  check.greenlet(self, 1, "rawlink")
  check.callable(fn, 1, "rawlink")
  links.add_to_greenlet(self, fn, true)
end

---Takes a link to fn away.
---@param fn function
function Greenlet:unlink(fn)
  links.remove_from_greenlet(check.greenlet(self, 1, "unlink"), fn)
end

local M = {new = new}

---Starts fn(...) in a Greenlet after so many seconds.
---@param seconds number
---@param fn function
---@return glua.Greenlet
function M.spawn_later(seconds, fn, ...)
  check.seconds(seconds, 1, "spawn_later")
  check.callable(fn, 2, "spawn_later")
  local g = core.new()
  core.start(g, math.max(seconds, 0), fn, ...)
  return g
end

---Kills a Greenlet, or the greenlet of a spawn_raw handle; does not wait for the latter.
---@param g glua.Greenlet|number
---@param err? any
---@param options? table as Greenlet:kill
---@return boolean whether it is dead
function M.kill(g, err, options)
  if type(g) == "number" then
    local found = core.find(g)
    if not found then
      return true
    end
    return found:kill(err, options or {block = false})
  end
  return check.greenlet(g, 1, "kill"):kill(err, options)
end

---Calls fn(...) in a Greenlet every so many seconds, on a beat that does not drift; a beat
---that fn overruns is left out.
---@param seconds number
---@param fn function
---@return glua.Greenlet
function M.every(seconds, fn, ...)
  check.seconds(seconds, 1, "every")
  if seconds <= 0 then
    check.fail(1, "every", "positive seconds expected, got " .. seconds)
  end
  check.callable(fn, 2, "every")
  local sleep = require("glua.park").sleep
  return core.spawn(function(...)
    local beat = core.now() + seconds
    while true do
      sleep(beat - core.now())
      fn(...)
      local behind = core.now() - beat
      beat = beat + seconds * math.max(1, math.ceil(behind / seconds))
    end
  end, ...)
end

return M
