-- init.lua: the everyday names: require "glua".

local _, core = ...
local errors = require "glua.errors"
local greenlet = require "glua.greenlet"
local interrupt = require "glua.interrupt"
local park = require "glua.park"
local check = require "glua.check"

---@class glua
local glua = {
  spawn = core.spawn,
  spawn_raw = core.spawn_raw,
  spawn_later = greenlet.spawn_later,
  every = greenlet.every,
  kill = greenlet.kill,
  Greenlet = greenlet.new,
  getcurrent = core.current,
  now = core.now,
  sleep = park.sleep,
  idle = park.idle,
  shield = interrupt.shield,
  GreenletExit = errors.GreenletExit,
  is_error = errors.is_error,
  version = core.version,
  _VERSION = "gluarun " .. core.version,
}

---The hub: `stats()` counts greenlets, ready, timers, io_waits, switches, polls.
local hub = setmetatable({stats = core.stats}, {
  __name = "Hub",
  __tostring = function()
    local s = core.stats()
    return ("<Hub with %d greenlets, %d ready, %d timers, %d waiting for descriptors>")
      :format(s.greenlets, s.ready, s.timers, s.io_waits)
  end,
})

---@return table
function glua.gethub()
  return hub
end

-- The error handler of `reporter`.
local function with_traceback(e)
  return rawequal(e, errors.GreenletExit) and e or debug.traceback(tostring(e), 2)
end

-- fn, for on_error. What it raises is printed, for it would come back to it; and so is the
-- report that it could not deal with.
local function reporter(fn)
  return function(g, e, traceback)
    local ok, failure = xpcall(fn, with_traceback, g, e, traceback)
    if not ok and rawequal(failure, errors.GreenletExit) then
      error(failure, 0)
    elseif not ok then
      io.stderr:write(traceback, "\n", tostring(failure), "\nthe function of on_error failed\n")
    end
  end
end

---Has fn(greenlet, error, traceback) called, in a greenlet of its own, for each greenlet
---that fails while nobody waits for its result; nil: they are printed to stderr again. The
---greenlet is nil for one of spawn_raw.
---@param fn? function
function glua.on_error(fn)
  if fn ~= nil then
    check.callable(fn, 1, "on_error")
  end
  core.hooks.on_error = fn and reporter(fn)
end

---@class glua.SignalHandler
local SignalHandler = {}
local handler_meta = {__name = "SignalHandler", __index = SignalHandler}

function handler_meta:__tostring()
  return ("<SignalHandler %s%s>"):format(self.name, self.watch and "" or ", cancelled")
end

---Stops it; the signal has its former effect again.
function SignalHandler:cancel()
  check.self(self, handler_meta, "cancel")
  if self.watch then
    core.unsignal(self.watch)
    self.watch = nil
  end
end

---Has fn(signal name, ...) called, in a greenlet of its own, at each such signal.
---@param name string|integer "SIGTERM", "TERM" or 15
---@param fn function
---@return glua.SignalHandler
function glua.signal(name, fn, ...)
  if type(name) ~= "string" and type(name) ~= "number" then
    check.fail(1, "signal", "name or number expected, got " .. type(name))
  end
  check.callable(fn, 2, "signal")
  local watch = core.signal(name, {fn, n = select("#", ...) + 1, ...})
  if not watch then
    check.fail(1, "signal", ("no signal to handle: '%s'"):format(tostring(name)))
  end
  return setmetatable({watch = watch, name = tostring(name)}, handler_meta)
end

-- What few scripts need is loaded when it is first used.
local lazy = {
  joinall = "glua.wait", killall = "glua.wait", wait = "glua.wait", iwait = "glua.wait",
  Timeout = "glua.timeout", with_timeout = "glua.timeout",
}

return setmetatable(glua, {
  __index = function(_, key)
    local module = lazy[key]
    local value
    if module then
      value = require(module)[key] or require(module).new
    elseif key == "scope" then
      value = require "glua.scope"
    end
    if value ~= nil then
      rawset(glua, key, value)
    end
    return value
  end,
})
