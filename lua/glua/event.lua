-- event.lua: Event and AsyncResult: one greenlet tells many.

local _, core = ...
local check = require "glua.check"
local interrupted = require("glua.interrupt").interrupted
local links = require "glua.links"

local park, wake_all = core.park, core.wake_all

---@class glua.Event
local Event = {}
local event_meta = {__name = "Event", __index = Event}

function event_meta:__tostring()
  local n = self.waiters and core.waiters(self.waiters) or 0
  return ("<Event %s, %d waiting>"):format(self.flag and "set" or "clear", n)
end

---A flag to wait for.
---@return glua.Event
local function new_event()
  return setmetatable({flag = false, waiters = nil, links = nil, notifying = nil}, event_meta)
end

---Sets it, and wakes everyone who waits, even if it is cleared at once.
function Event:set()
  check.self(self, event_meta, "set")
  self.flag = true
  if self.waiters then
    wake_all(self.waiters)
  end
  self:notify()
end

---Clears it: from now on wait parks.
function Event:clear()
  check.self(self, event_meta, "clear")
  self.flag = false
end

---@return boolean
function Event:is_set()
  check.self(self, event_meta, "is_set")
  return self.flag
end

Event.ready = Event.is_set

---Parks until it is set.
---@param timeout? number|glua.Timeout
---@return boolean whether it was set
function Event:wait(timeout)
  check.self(self, event_meta, "wait")
  local seconds = timeout
  if timeout ~= nil then
    seconds = check.timeout(timeout, 1, "wait")
  end
  if self.flag then
    return true
  end
  if not self.waiters then
    self.waiters = core.waitlist("Event.wait")
    return self:wait(timeout) -- for a finalizer may have set it just now
  end
  local st, message = park(self.waiters, seconds)
  if st == nil then
    return true
  elseif st then
    interrupted(timeout, message)
  end
  return false
end

links.mix_into(Event, true)

---@class glua.AsyncResult
local AsyncResult = {}
local result_meta = {__name = "AsyncResult", __index = AsyncResult}

function result_meta:__tostring()
  local state = not self.done and "pending" or self.failed and "failed" or "set"
  return ("<AsyncResult %s>"):format(state)
end

---A result that somebody will set once.
---@return glua.AsyncResult
local function new_result()
  return setmetatable({
    done = false, failed = false, error = nil,
    values = nil,   -- {n=, ...}
    waiters = nil, links = nil, notifying = nil,
  }, result_meta)
end

local function settle(self, name)
  check.self(self, result_meta, name)
  if self.done then
    check.misuse(name .. ": the AsyncResult has its result already")
  end
  self.done = true
  if self.waiters then
    wake_all(self.waiters)
  end
end

---Gives it its result: any number of values.
function AsyncResult:set(...)
  settle(self, "set")
  self.values = {n = select("#", ...), ...}
  self:notify()
end

---Gives it an error, which get raises.
---@param e any
function AsyncResult:set_error(e)
  settle(self, "set_error")
  self.failed, self.error = true, e
  self:notify()
end

---As a link of a Greenlet: takes over what its get returns or raises.
---@param g glua.Greenlet
function result_meta:__call(g)
  check.greenlet(g, 1, "AsyncResult")
  if not g:ready() then
    check.misuse("AsyncResult: the Greenlet has not ended")
  elseif not g:successful() then
    return self:set_error(g.exception)
  end
  return self:set(g:get())
end

---@return boolean whether it has its result or error
function AsyncResult:ready()
  check.self(self, result_meta, "ready")
  return self.done
end

---@return boolean whether it has a result
function AsyncResult:successful()
  check.self(self, result_meta, "successful")
  return self.done and not self.failed
end

---Parks until it is ready.
---@param timeout? number|glua.Timeout
---@return boolean whether it is
function AsyncResult:wait(timeout)
  check.self(self, result_meta, "wait")
  local seconds = check.timeout(timeout, 1, "wait")
  if self.done then
    return true
  end
  if not self.waiters then
    self.waiters = core.waitlist("AsyncResult.wait")
    return self:wait(timeout)
  end
  local st, message = park(self.waiters, seconds)
  if st then
    interrupted(timeout, message)
  end
  return st == nil
end

---Parks until it is ready; returns its values or raises its error. nil, "timeout".
---@param timeout? number|glua.Timeout
function AsyncResult:get(timeout)
  check.self(self, result_meta, "get")
  local seconds = check.timeout(timeout, 1, "get")
  if not self.done then
    if not self.waiters then
      self.waiters = core.waitlist("AsyncResult.get")
      return self:get(timeout)
    end
    local st, message = park(self.waiters, seconds)
    if st then
      interrupted(timeout, message)
    end
    if st ~= nil then
      return nil, "timeout"
    end
  end
  if self.failed then
    error(self.error, 0)
  end
  return unpack(self.values, 1, self.values.n)
end

links.mix_into(AsyncResult)

return {Event = new_event, AsyncResult = new_result}
