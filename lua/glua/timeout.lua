-- timeout.lua: Timeout and with_timeout.

local _, core = ...
local check = require "glua.check"
local interrupt = require "glua.interrupt"

---@class glua.Timeout
---@field seconds number?
---@field error any what is raised in its place
---@field pending boolean started, and not yet raised or cancelled
local Timeout = {}
local meta = {__name = "Timeout"}

function meta.__index(self, key)
  if key == "pending" then
    local alarm = rawget(self, "alarm")
    return alarm ~= nil and (core.armed(alarm) or core.expired(alarm))
  end
  return Timeout[key]
end

function meta:__tostring()
  return self.seconds and ("Timeout: %g seconds"):format(self.seconds) or "Timeout: never"
end

---A time after which an error is raised in the greenlet that starts it.
---@param seconds? number nil: never
---@param err? any raised in place of the Timeout itself
---@return glua.Timeout
local function new(seconds, err)
  if seconds ~= nil and (type(seconds) ~= "number" or not (seconds >= 0)) then
    check.timeout(seconds, 1, "Timeout")
    check.fail(1, "Timeout", "non-negative seconds expected", 0)
  end
  return setmetatable({
    kind = "Timeout",
    seconds = seconds,
    error = err,
    alarm = nil,
    owner = nil,
  }, meta)
end

---Starts the time, for the running greenlet.
---@return glua.Timeout self
function Timeout:start()
  check.self(self, meta, "start")
  if self.pending then
    error("Timeout is already started", 2)
  end
  if self.seconds == nil then
    return self
  end
  self.alarm = self.alarm or core.alarm()
  self.owner = core.current()
  local timeouts = interrupt.state_of(self.owner).timeouts
  timeouts[#timeouts + 1] = self
  core.arm(self.alarm, self.seconds)
  return self
end

---Takes it back; nothing if it was not started, or was raised already.
function Timeout:cancel()
  check.self(self, meta, "cancel")
  if not self.pending then
    return
  end
  core.disarm(self.alarm)
  local env = interrupt.state_of(self.owner)
  for i, timeout in ipairs(env.timeouts) do
    if timeout == self then
      table.remove(env.timeouts, i)
      break
    end
  end
  if self.owner == core.current() then
    interrupt.refresh(env)
  end
end

-- What interrupt.lua raises for it.
function Timeout:raised()
  if self.error ~= nil then
    return self.error
  end
  return self
end

-- After fn: takes the scope off, and passes on what fn returned or raised.
local function leave(env, scope, options, ok, ...)
  core.disarm(scope.alarm)
  table.remove(env.scopes)
  interrupt.refresh(env)
  if ok then
    return ...
  end
  local e = ...
  if rawequal(e, scope.error) and options.value ~= nil then
    return options.value
  end
  return error(e, 0)
end

local function options_of(seconds)
  if type(seconds) ~= "table" or getmetatable(seconds) == meta then
    return {seconds = seconds}
  end
  for key in pairs(seconds) do
    if key ~= "seconds" and key ~= "value" and key ~= "hard" then
      check.fail(1, "with_timeout", ("unknown option '%s'"):format(tostring(key)), 1)
    end
  end
  if seconds.hard then
    check.fail(1, "with_timeout", "option 'hard' is not supported by this version", 1)
  end
  return seconds
end

---Runs fn(...) for at most so many seconds; then raises a Timeout in it, at every park
---until fn is left.
---@param seconds number|glua.Timeout|{seconds: number, value: any} with `value`, that is
---  returned and nothing raised
---@param fn function
---@return any ... what fn returns
local function with_timeout(seconds, fn, ...)
  local options = options_of(seconds)
  local limit = options.seconds
  if getmetatable(limit) == meta then
    limit = limit.seconds
  end
  if limit ~= nil and (type(limit) ~= "number" or not (limit >= 0)) then
    check.fail(1, "with_timeout", "non-negative seconds expected, got " .. tostring(limit), 0)
  end
  check.callable(fn, 2, "with_timeout")
  if limit == nil or limit == math.huge then
    return fn(...)
  end
  local own = getmetatable(options.seconds) == meta and options.seconds or new(limit)
  local env = interrupt.state_of(core.current())
  local scope = {error = own:raised(), alarm = core.alarm(), shield = core.shield(0)}
  env.scopes[#env.scopes + 1] = scope
  core.arm(scope.alarm, limit)
  return leave(env, scope, options, interrupt.protect(fn, ...))
end

return {new = new, with_timeout = with_timeout}
