-- scope.lua: structured concurrency: a function whose greenlets end before it does.

local _, core = ...
local check = require "glua.check"
local errors = require "glua.errors"
local interrupt = require "glua.interrupt"
local Timeout = require("glua.timeout").new

---@class glua.Scope
local Scope = {}
local meta = {__name = "Scope", __index = Scope}

function meta:__tostring()
  return ("<Scope of %s, %d children%s>"):format(tostring(self.owner), self.count,
    self.entry.cancelled and ", cancelled" or "")
end

local function new(owner)
  return setmetatable({
    owner = owner,
    children = {},   -- set of the living Greenlets
    count = 0,       -- of them
    closed = false,  -- scope() has returned
    failure = nil,   -- {error} of the first that failed
    ended = core.waitlist("scope"),
    entry = nil,     -- its place among the owner's scopes, see interrupt.lua
  }, meta)
end

local function kill_children(s)
  for child in pairs(s.children) do
    child:kill(nil, {block = false})
  end
end

---Cancels: kills the children, and raises a Cancelled in the owner while that is inside
---the scope. scope() itself then returns normally.
function Scope:cancel()
  check.self(self, meta, "cancel")
  if self.closed or self.entry.cancelled then
    return
  end
  self.entry.cancelled = true
  if self.owner == core.current() then
    interrupt.refresh(interrupt.state_of(self.owner))
  else
    core.interrupt(self.owner, self.entry.shield)
  end
  kill_children(self)
end

local function child_ended(s, child)
  s.children[child] = nil
  s.count = s.count - 1
  if core.state(child) == "failed" and not s.failure then
    s.failure = {child.exception, child = child}
    s:cancel()
  end
  if s.count == 0 then
    core.wake_all(s.ended)
  end
end

---Starts fn(...) in a Greenlet that ends before the scope does. Its failure cancels the
---others and is raised by scope().
---@param fn function
---@return glua.Greenlet
function Scope:spawn(fn, ...)
  check.self(self, meta, "spawn")
  check.callable(fn, 1, "spawn")
  if self.closed then
    check.misuse("spawn: the scope has ended")
  end
  local child = core.spawn(fn, ...)
  core.await(child, 1)
  self.children[child] = true
  self.count = self.count + 1
  child:rawlink(function() child_ended(self, child) end)
  if self.entry.cancelled then
    child:kill(nil, {block = false})
  end
  return child
end

-- Parks until all children have ended, whatever comes: what is raised meanwhile cancels
-- them, and is returned for the time after. {error} or nil. Only when the wait is
-- impossible, or would be for ever, it is given up.
local function wait_for_children(s)
  local raised
  while s.count > 0 do
    local st, message = core.park(s.ended)
    if st then
      local given_up = raised or message
      local _, e = pcall(interrupt.interrupted, nil, message)
      if not raised then
        s.entry.cancelled = true
        kill_children(s)
        core.add_shield(s.owner, 1)
      end
      raised = {e}
      if given_up then
        break
      end
    end
  end
  if raised then
    core.add_shield(s.owner, -1)
  end
  return raised
end

local function keep(ok, ...)
  return {ok = ok, n = select("#", ...), ...}
end

-- Raises what scope() has to raise: the first failure, of a child or of the body; then what
-- came from outside while it waited; then its own timeout. The echo of its own
-- cancellation is none of these.
local function raise(s, raised)
  local entry = s.entry
  if s.failure and s.failure.child then
    interrupt.raise_from(s.failure.child)
  elseif s.failure then
    error(s.failure[1], 0)
  elseif raised and not rawequal(raised[1], entry.error) then
    error(raised[1], 0)
  elseif entry.alarm and core.expired(entry.alarm) then
    error(entry.error, 0)
  end
end

local OPTIONS = {timeout = true}

---Runs fn(s) and returns what it returns, once all greenlets that it spawned with
---`s:spawn` have ended. The first failure, of one of them or of fn, cancels the rest and
---is raised. Killing the owner cancels the children.
---@param fn fun(s: glua.Scope): ...
---@param options? {timeout: number} seconds; then a Timeout is raised
---@return any ...
local function scope(fn, options)
  check.callable(fn, 1, "scope")
  options = check.options(options, OPTIONS, 2, "scope")
  local seconds = check.timeout(options.timeout, 2, "scope")
  local s = new(core.current())
  local entry = {
    error = seconds and Timeout(seconds) or errors.new("Cancelled", "the scope was cancelled"),
    alarm = seconds and core.alarm() or nil,
    cancelled = false,
  }
  s.entry = entry
  local env = interrupt.enter(entry)
  if seconds then
    core.arm(entry.alarm, seconds)
  end
  local result = keep(interrupt.protect(fn, s))
  if not result.ok then
    if not s.failure and not rawequal(result[1], entry.error) then
      s.failure = {result[1]}
    end
    entry.cancelled = true
    kill_children(s)
  end
  local raised = wait_for_children(s)
  s.closed = true
  interrupt.leave(env, entry)
  local ok, e = pcall(raise, s, raised)
  if entry.alarm then
    core.disarm(entry.alarm)
  end
  if not ok then
    error(e, 0)
  end
  if result.ok then
    return unpack(result, 1, result.n)
  end
end

return scope
