-- wait.lua: waiting for several things: wait, iwait, joinall, killall.

local _, core = ...
local check = require "glua.check"
local interrupted = require("glua.interrupt").interrupted

local M = {}

-- A point of time for a timeout argument; nil for no limit.
local function deadline_of(seconds)
  return seconds and core.now() + seconds
end

local function left(deadline)
  return deadline and math.max(deadline - core.now(), 0)
end

-- The objects, each once, those that are ready already before the others. Greenlets that
-- have ended come in the order in which they did.
local function sorted_objects(objects, name)
  local ended, others, seen = {}, {}, {}
  for i, object in ipairs(objects) do
    local kind = type(object)
    if kind ~= "table" and kind ~= "userdata" or not object.rawlink then
      check.fail(1, name, ("item %d cannot be waited for: %s"):format(i, tostring(object)), 2)
    end
    if not seen[object] then
      seen[object] = true
      local ready = core.is_greenlet(object) and object:ready()
      table.insert(ready and ended or others, object)
    end
  end
  table.sort(ended, function(a, b)
    return select(2, core.facts(a)) < select(2, core.facts(b))
  end)
  return ended, others
end

-- Collects objects as they become ready. The links in the objects refer to the collector
-- weakly: an iteration that was left early leaves nothing behind once it is collected.
local function collect(objects, name)
  local ended, others = sorted_objects(objects, name)
  local c = {
    ready = ended, first = 1, last = #ended,
    waiting = #others,
    list = core.waitlist(name),
    remove = nil,
    guard = newproxy(true),
  }
  local weak = setmetatable({c}, {__mode = "v"})
  local function link(object)
    object:unlink(link)
    local self = weak[1]
    if self then
      self.last = self.last + 1
      self.ready[self.last] = object
      self.waiting = self.waiting - 1
      core.wake_all(self.list)
    end
  end
  c.remove = function()
    for _, object in ipairs(others) do
      object:unlink(link)
    end
  end
  getmetatable(c.guard).__gc = c.remove
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
    if st ~= nil then
      if st then
        c.remove()
        interrupted(timeout, message)
      end
      if c.first > c.last then -- else something became ready in the same turn
        c.remove()
        return nil
      end
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

local function wait_for(objects, timeout, count, name)
  local found = {}
  local deadline = deadline_of(check.timeout(timeout, 2, name))
  local c = collect(objects, name)
  while #found < (count or math.huge) do
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
  if count ~= nil then
    check.count(count, 3, "wait")
  end
  return wait_for(objects, timeout, count, "wait")
end

local function by_completion(list)
  table.sort(list, function(a, b)
    return select(2, core.facts(a)) < select(2, core.facts(b))
  end)
  return list
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
  return by_completion(ended)
end

-- The same when all have ended, which mostly they do in the order of the list.
local function all_of(list)
  local alive, sorted = core.join_scan(list, 1)
  if alive or not sorted then
    return ended_of(list)
  end
  local all = {}
  for i = 1, #list do
    all[i] = list[i]
  end
  return all
end

-- The common case: all of them, whatever their results. One after the other is enough,
-- for the order of completion is known afterwards.
local function join_all(list, timeout)
  local deadline = deadline_of(check.timeout(timeout, 2, "joinall"))
  local at = core.join_scan(list, 1)
  while at do
    local g = list[math.abs(at)]
    if at < 0 then
      check.fail(1, "joinall", ("item %d: Greenlet expected, got %s"):format(-at, type(g)), 1)
    elseif g == core.current() then
      error("a greenlet cannot join itself", 3)
    end
    local st, message = core.join(g, left(deadline))
    if st then
      interrupted(timeout, message)
    end
    if st ~= nil then
      return ended_of(list)
    end
    at = core.join_scan(list, at)
  end
  return all_of(list)
end

local function join_some(list, options)
  local ended = {}
  local raise = options.raise_error
  local count = options.count and check.count(options.count, 2, "joinall")
  for i, g in ipairs(list) do
    if not core.is_greenlet(g) then
      check.fail(1, "joinall", ("item %d: Greenlet expected, got %s"):format(i, type(g)), 1)
    end
  end
  for _, g in ipairs(list) do
    core.await(g, raise and 1 or 0)
  end
  local ok, e = pcall(function()
    for g in M.iwait(list, options.timeout, count) do
      ended[#ended + 1] = g
      if raise and core.state(g) == "failed" then
        error(g.exception, 0)
      end
    end
  end)
  for _, g in ipairs(list) do
    core.await(g, raise and -1 or 0)
  end
  if not ok then
    error(e, 0)
  end
  return ended
end

---Parks until the greenlets have ended.
---@param list glua.Greenlet[]
---@param options? number|glua.Timeout|{timeout: number, count: integer, raise_error: boolean}
---  count: return when so many have; raise_error: raise the first failure when it happens
---@return glua.Greenlet[] # those that have ended, in the order in which they did
function M.joinall(list, options)
  check.type(list, "table", 1, "joinall")
  if type(options) == "table" and rawget(options, "kind") == nil then
    if options.count or options.raise_error then
      return join_some(list, options)
    end
    options = options.timeout
  end
  return join_all(list, options)
end

---Kills the greenlets, all at the same time.
---@param list glua.Greenlet[]
---@param err? any as Greenlet:kill
---@param options? {block: boolean, timeout: number}
---@return boolean whether all are dead
function M.killall(list, err, options)
  check.type(list, "table", 1, "killall")
  for i, g in ipairs(list) do
    if not core.is_greenlet(g) then
      check.fail(1, "killall", ("item %d: Greenlet expected, got %s"):format(i, type(g)), 0)
    end
  end
  local current = core.current()
  local itself = false
  for _, g in ipairs(list) do
    if g == current then
      itself = true
    else
      g:kill(err, {block = false})
    end
  end
  if itself then
    current:kill(err)
  end
  local block = not options or options.block ~= false
  if block then
    join_all(list, options and options.timeout)
  end
  for _, g in ipairs(list) do
    if not g:ready() then
      return false
    end
  end
  return true
end

return M
