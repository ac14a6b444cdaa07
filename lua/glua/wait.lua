-- wait.lua: waiting for several things: wait, iwait, joinall, killall.

local _, core = ...
local check = require "glua.check"
local interrupt = require "glua.interrupt"

local interrupted, raise_from = interrupt.interrupted, interrupt.raise_from

local M = {}

-- A point of time for a timeout argument; nil for no limit.
local function deadline_of(seconds)
  return seconds and core.now() + seconds
end

local function left(deadline)
  return deadline and math.max(deadline - core.now(), 0)
end

local function sort_by_completion(greenlets)
  local orders, by_order = {}, {}
  for i, g in ipairs(greenlets) do
    local order = core.order(g)
    orders[i], by_order[order] = order, g
  end
  table.sort(orders)
  for i, order in ipairs(orders) do
    greenlets[i] = by_order[order]
  end
end

-- The objects, each once: those that are ready already, and the others. Greenlets that have
-- ended come first, in the order in which they did.
local function split(objects, name)
  local ready, others, seen = {}, {}, {}
  local ready_too = {}
  for i = 1, #objects do -- not ipairs, which would stop at a hole
    local object = objects[i]
    local kind = type(object)
    if kind ~= "table" and kind ~= "userdata" or not object.rawlink then
      check.fail(1, name, ("item %d cannot be waited for: %s"):format(i, tostring(object)))
    elseif not seen[object] then
      seen[object] = true
      local list = not object:ready() and others or core.is_greenlet(object) and ready
        or ready_too
      list[#list + 1] = object
    end
  end
  sort_by_completion(ready)
  for _, object in ipairs(ready_too) do
    ready[#ready + 1] = object
  end
  return ready, others
end

-- Collects objects as they become ready. The links in the objects refer to the collector
-- weakly: an iteration that was left early leaves nothing behind once it is collected. The
-- finalizer has a greenlet remove the links, for it may have come in the midst of a change
-- of the very lists in which they are.
local function collect(objects, name)
  local ready, others = split(objects, name)
  local c = {
    ready = ready, first = 1, last = #ready,
    waiting = #others,
    list = core.waitlist(name),
    remove = nil,
    guard = #others > 0 and newproxy(true) or nil,
  }
  local weak = setmetatable({c}, {__mode = "v"})
  local removed = #others == 0
  local function link(object)
    object:unlink(link)
    local self = weak[1]
    if self and not removed then
      self.last = self.last + 1
      self.ready[self.last] = object
      self.waiting = self.waiting - 1
      removed = self.waiting == 0
      core.wake_all(self.list)
    end
  end
  function c.remove()
    if not removed then
      removed = true
      for _, object in ipairs(others) do
        object:unlink(link)
      end
    end
  end
  if c.guard then
    local remove = c.remove
    getmetatable(c.guard).__gc = function()
      if not removed then
        core.spawn_raw(remove)
      end
    end
  end
  for _, object in ipairs(others) do
    object:rawlink(link)
  end
  return c
end

-- The next object that is ready; nil at the end or when the time is over.
local function next_ready(c, deadline, timeout)
  while c.first > c.last do
    if c.waiting == 0 then
      return nil
    end
    local st, message = core.park(c.list, left(deadline))
    if st then
      c.remove()
      interrupted(timeout, message)
    end
    if st ~= nil and c.first > c.last then -- else something became ready in the same turn
      c.remove()
      return nil
    end
  end
  local object = c.ready[c.first]
  c.ready[c.first] = nil
  c.first = c.first + 1
  return object
end

---Iterates over objects (Greenlets, Events, Queues ...) as they become ready.
---@param objects table
---@param timeout? number|glua.Timeout for the whole iteration
---@param count? integer stop after so many
---@return fun(): any
function M.iwait(objects, timeout, count)
  check.type(objects, "table", 1, "iwait")
  local deadline = deadline_of(check.timeout(timeout, 2, "iwait"))
  local limit = count and check.count(count, 3, "iwait") or math.huge
  local c = collect(objects, "iwait")
  local given = 0
  return function()
    if given >= limit then
      return nil
    end
    given = given + 1
    local object = next_ready(c, deadline, timeout)
    if given >= limit then
      c.remove()
    end
    return object
  end
end

-- Those of `objects` that are ready, up to `count`, in that order.
local function wait_for(objects, timeout, count)
  local found = {}
  local deadline = deadline_of(check.timeout(timeout, 2, "wait"))
  local c = collect(objects, "wait")
  while #found < count do
    local object = next_ready(c, deadline, timeout)
    if object == nil then
      break
    end
    found[#found + 1] = object
  end
  c.remove()
  return found
end

---Without objects: parks until nothing is left to do. With them: until they are ready.
---@param objects? table
---@param timeout? number|glua.Timeout
---@param count? integer return when so many are ready
---@return boolean|table # false on timeout; or the objects that are ready, in that order
function M.wait(objects, timeout, count)
  if objects == nil then
    local st, message = core.wait_drained(check.timeout(timeout, 2, "wait"))
    if st then
      interrupted(timeout, message)
    end
    return st == nil
  end
  check.type(objects, "table", 1, "wait")
  return wait_for(objects, timeout, count and check.count(count, 3, "wait") or math.huge)
end

-- Those of a list of Greenlets that have ended, each once, in that order.
local function ended_of(list)
  local ended, seen = {}, {}
  for _, g in ipairs(list) do
    if not seen[g] and g:ready() then
      seen[g] = true
      ended[#ended + 1] = g
    end
  end
  sort_by_completion(ended)
  return ended
end

-- The same when all have ended in the order of the list, as they mostly do.
local function copy_of(list)
  local all = {}
  for i = 1, #list do
    all[i] = list[i]
  end
  return all
end

local function refuse(list, name, i)
  check.fail(1, name, ("item %d: Greenlet expected, got %s"):format(i, type(list[i])))
end

-- The common case: all of them, whatever their results. One after the other is enough,
-- for the order of completion is known afterwards.
local function join_all(list, timeout, name)
  local deadline = deadline_of(check.timeout(timeout, 2, name))
  for i = 1, #list do
    if list[i] == nil then -- where the scan would end
      refuse(list, name, i)
    end
  end
  local at, order = core.join_scan(list, 1, 0)
  while at do
    local g = list[math.abs(at)]
    if at < 0 then
      refuse(list, name, -at)
    elseif g == core.current() then
      check.misuse(name .. ": a greenlet cannot join itself")
    end
    local st, message = core.join(g, left(deadline))
    if st then
      interrupted(timeout, message)
    end
    if st ~= nil then
      return ended_of(list)
    end
    at, order = core.join_scan(list, at, order)
  end
  return order >= 0 and copy_of(list) or ended_of(list)
end

-- Takes from the collector what has ended, until there are `count`, and raises the first
-- failure if `raise`.
local function take(c, options, deadline)
  local ended, count = {}, options.count or math.huge
  while #ended < count do
    local g = next_ready(c, deadline, options.timeout)
    if g == nil then
      break
    end
    ended[#ended + 1] = g
    if options.raise_error and core.state(g) == "failed" then
      raise_from(g)
    end
  end
  return ended
end

local function join_some(list, options)
  local deadline = deadline_of(check.timeout(options.timeout, 2, "joinall"))
  local all = {}
  for i = 1, #list do
    local g = list[i]
    if not core.is_greenlet(g) then
      refuse(list, "joinall", i)
    elseif g == core.current() then
      check.misuse("joinall: a greenlet cannot join itself")
    end
    all[i] = g
  end
  local c = collect(all, "joinall")
  local awaits = options.raise_error and 1 or 0
  for _, g in ipairs(all) do
    core.await(g, awaits)
  end
  local ok, result = pcall(take, c, options, deadline)
  for _, g in ipairs(all) do
    core.await(g, -awaits)
  end
  c.remove()
  if not ok then
    error(result, 0)
  end
  return result
end

local JOIN_OPTIONS = {timeout = true, count = true, raise_error = true}

---Parks until the greenlets have ended.
---@param list glua.Greenlet[]
---@param options? number|glua.Timeout|{timeout: number, count: integer, raise_error: boolean}
---  count: return when so many have; raise_error: raise the first failure when it happens
---@return glua.Greenlet[] # those that have ended, in the order in which they did
function M.joinall(list, options)
  check.type(list, "table", 1, "joinall")
  if type(options) ~= "table" or check.is_timeout(options) then
    return join_all(list, options, "joinall")
  end
  check.options(options, JOIN_OPTIONS, 2, "joinall")
  if options.count then
    check.count(options.count, 2, "joinall")
  end
  if options.count or options.raise_error then
    return join_some(list, options)
  end
  return join_all(list, options.timeout, "joinall")
end

---Kills the greenlets, all at the same time.
---@param list glua.Greenlet[]
---@param err? any as Greenlet:kill
---@param options? {block: boolean, timeout: number}
---@return boolean whether all are dead
function M.killall(list, err, options)
  check.type(list, "table", 1, "killall")
  options = check.options(options, check.KILL_OPTIONS, 3, "killall")
  check.timeout(options.timeout, 3, "killall")
  local all, itself = {}, nil
  for i = 1, #list do
    local g = list[i]
    if not core.is_greenlet(g) then
      refuse(list, "killall", i)
    end
    all[i] = g
  end
  local current = core.current()
  for _, g in ipairs(all) do
    if g == current then
      itself = g
    else
      g:kill(err, {block = false})
    end
  end
  if itself then
    itself:kill(err)
  end
  if options.block ~= false then
    join_all(all, options.timeout, "killall")
  end
  for _, g in ipairs(all) do
    if not g:ready() then
      return false
    end
  end
  return true
end

return M
