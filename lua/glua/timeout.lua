-- timeout.lua: Timeout and with_timeout.

local _, core = ...
local check = require "glua.check"
local errors = require "glua.errors"
local interrupt = require "glua.interrupt"

---@class glua.Timeout
---@field seconds number?
---@field error any what is raised in its place
---@field pending boolean started, and not yet raised or cancelled
local Timeout = {}
local meta = {__name = "Timeout"}
errors.add_class(meta)

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
  if check.is_timeout(seconds) then
    check.fail(1, "Timeout", "seconds expected, got a Timeout")
  end
  check.timeout(seconds, 1, "Timeout")
  return setmetatable({
    kind = "Timeout",
    seconds = seconds,
    error = err,
    alarm = nil,
    deadline = nil,
    owner = nil,
  }, meta)
end

---Starts the time, for the running greenlet.
---@return glua.Timeout self
function Timeout:start()
  check.self(self, meta, "start")
  if self.pending then
    check.misuse("start: the Timeout is started already")
  end
  if self.seconds == nil then
    return self
  end
  self.alarm = self.alarm or core.alarm()
  self.owner = core.current()
  local timeouts = interrupt.state_of(self.owner).timeouts
  timeouts[#timeouts + 1] = self
  self.deadline = core.now() + self.seconds
  core.arm(self.alarm, self.seconds)
  return self
end

---Takes it back; nothing if it was not started, or was raised already. In another greenlet
---than its own it comes too late when the time is over, though it be not raised yet.
function Timeout:cancel()
  check.self(self, meta, "cancel")
  local own = self.owner == core.current()
  if not self.pending or not own and core.expired(self.alarm) then
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
  if own then
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
  if scope.alarm then
    core.disarm(scope.alarm)
  end
  interrupt.leave(env, scope)
  if ok then
    return ...
  end
  local e = ...
  if rawequal(e, scope.error) and options.value ~= nil then
    return options.value
  end
  return error(e, 0)
end

local OPTIONS = {seconds = true, value = true, hard = true}

local function options_of(seconds)
  if type(seconds) ~= "table" or check.is_timeout(seconds) then
    return {seconds = seconds}
  end
  check.options(seconds, OPTIONS, 1, "with_timeout")
  if seconds.hard then
    check.fail(1, "with_timeout", "option 'hard' is not supported by this version")
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
  local own = options.seconds
  if not check.is_timeout(own) then
    own = new(check.timeout(own, 1, "with_timeout"))
  end
  check.callable(fn, 2, "with_timeout")
  if own.seconds == nil or own.seconds == math.huge then
    return fn(...)
  end
  local scope = {error = own:raised()}
  local env = interrupt.enter(scope)
  if not own.pending then -- else it is raised as what it is, once
    scope.alarm = core.alarm()
    core.arm(scope.alarm, own.seconds)
  end
  return leave(env, scope, options, interrupt.protect(fn, ...))
end

return {new = new, with_timeout = with_timeout}
