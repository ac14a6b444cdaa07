-- pool.lua: Group and Pool: greenlets that belong together, and at most so many of them.

local _, core = ...
local check = require "glua.check"
local interrupt = require "glua.interrupt"
local lock = require "glua.lock"
local queue = require "glua.queue"
local event = require "glua.event"
require "glua.greenlet" -- gives the Greenlets that spawn returns their methods

---@class glua.Group
local Group = {}
local group_meta = {__name = "Group", __index = Group}

function group_meta:__tostring()
  return ("<%s of %d greenlets%s>"):format(getmetatable(self).__name, self.size,
    self.room and (", room for %d"):format(self.room.counter) or "")
end

local metas = {[group_meta] = true}

-- The methods whose mistakes would be taken for others when they are called with `.`.
local function check_self(self, name)
  if not metas[getmetatable(self)] then
    check.self(self, group_meta, name)
  end
end

-- Takes a greenlet in whose place in the pool is taken already.
local function adopt(self, g)
  self.members[g] = true
  self.size = self.size + 1
  g:rawlink(self.ended)
  return g
end

---Starts fn(...) in a Greenlet of the group; on a Pool that is full, parks first.
---@param fn function
---@return glua.Greenlet
function Group:spawn(fn, ...)
  check_self(self, "spawn")
  check.callable(fn, 1, "spawn")
  if self.room then
    self.room:acquire()
  end
  return adopt(self, core.spawn(fn, ...))
end

---Takes in a Greenlet from elsewhere, starting it if it is new; parks on a full Pool.
---@param g glua.Greenlet
function Group:add(g)
  check_self(self, "add")
  check.greenlet(g, 1, "add")
  if self.members[g] then
    return
  end
  if self.room then
    self.room:acquire()
    if self.members[g] then -- somebody has added it meanwhile
      self.room:release()
      return
    end
  end
  adopt(self, g)
  if core.state(g) == "new" then
    g:start()
  end
end

---Lets a Greenlet go, alive or not.
---@param g glua.Greenlet
function Group:discard(g)
  if not self.members[g] then
    return
  end
  self.members[g] = nil
  g:unlink(self.ended)
  self.size = self.size - 1
  if self.room then
    self.room:release()
  end
  if self.size == 0 then
    self.empty_event:set()
    self.empty_event:clear()
  end
end

---@return integer how many it has
function Group:count()
  return self.size
end

---@return boolean
function Group:contains(g)
  return self.members[g] ~= nil
end

---Iterates over its Greenlets, in no order.
function Group:each()
  local list = {}
  for g in pairs(self.members) do
    list[#list + 1] = g
  end
  local i = 0
  return function()
    i = i + 1
    return list[i]
  end
end

---Parks until it is empty.
---@param timeout? number|glua.Timeout
---@return boolean whether it is
function Group:join(timeout)
  check_self(self, "join")
  local seconds = check.timeout(timeout, 1, "join")
  local deadline = seconds and core.now() + seconds
  while self.size > 0 do
    local limit = deadline and math.max(deadline - core.now(), 0) or timeout
    if not self.empty_event:wait(limit) then
      return self.size == 0
    end
  end
  return true
end

local NO_BLOCK = {block = false}

-- Kills those that are in it now, the calling greenlet last; returns them as a list.
local function kill_members(self, err)
  local current, list = core.current(), {}
  for g in self:each() do
    list[#list + 1] = g
    if g ~= current then
      g:kill(err, NO_BLOCK)
    end
  end
  if self.members[current] then
    current:kill(err)
  end
  return list
end

-- Parks until those of the list that are still in it have ended; returns whether they have.
local function join_members(self, list, deadline, timeout)
  for _, g in ipairs(list) do
    if self.members[g] then
      if not g:join(deadline and math.max(deadline - core.now(), 0) or timeout) then
        return false
      end
      self:discard(g) -- as its link will do soon
    end
  end
  return true
end

---Kills all its Greenlets, also those that come meanwhile, and parks until they have ended.
---@param err? any
---@param options? {block: boolean, timeout: number|glua.Timeout}
---@return boolean whether it is empty
function Group:kill(err, options)
  check_self(self, "kill")
  options = check.options(options, check.KILL_OPTIONS, 2, "kill")
  local block, timeout = options.block ~= false, options.timeout
  local seconds = check.timeout(timeout, 2, "kill")
  local deadline = seconds and core.now() + seconds
  repeat
    local list = kill_members(self, err)
    if block and not join_members(self, list, deadline, timeout) then
      return false
    end
  until not block or self.size == 0
  return self.size == 0
end

---Calls fn(...) in a Greenlet of the group and returns its results, or raises its error. A
---greenlet of the group itself calls it directly: in a full Pool it could wait for ever.
---@param fn function
---@return any ...
function Group:apply(fn, ...)
  check_self(self, "apply")
  check.callable(fn, 1, "apply")
  if self.members[core.current()] then
    return fn(...)
  end
  return self:spawn(fn, ...):get()
end

---As apply, without waiting for it.
---@param fn function
---@return glua.Greenlet
function Group:apply_async(fn, ...)
  check_self(self, "apply_async")
  check.callable(fn, 1, "apply_async")
  return self:spawn(fn, ...)
end

-- An iterator over a list, or the iterator itself, or a queue's.
local function iterate(source, name)
  if type(source) == "function" then
    return source
  elseif type(source) == "table" and getmetatable(source) == nil then
    local i = 0
    return function()
      i = i + 1
      return source[i]
    end
  elseif type(source) == "table" and source.iter then
    return source:iter()
  end
  return check.fail(2, name, "list or iterator expected, got " .. type(source))
end

-- One feeder takes the items and spawns; the outcomes come to the queue `out`, each as
-- {index=, value=} of an item, or {failed=Greenlet}; the feeder's own has no index, and the
-- number of items as its value.
local function start_feeder(self, fn, source, out, window)
  local children = {}
  local feeder = core.spawn(function()
    local index = 0
    while true do
      if window then
        window:acquire()
      end
      local item = source()
      if item == nil then
        break
      end
      index = index + 1
      local i = index
      local child = self:spawn(fn, item)
      core.await(child, 1)
      children[child] = true
      child:rawlink(function()
        children[child] = nil
        if child:successful() then
          out:put_nowait {index = i, value = child.value}
        else
          out:put_nowait {index = i, failed = child}
        end
      end)
    end
    out:put_nowait {value = index}
  end)
  feeder:link_exception(function()
    out:put_nowait {failed = feeder}
  end)
  return function()
    feeder:kill(nil, {block = false})
    for child in pairs(children) do
      child:kill(nil, {block = false})
    end
  end
end

-- What the iterations share: `take` returns the next outcome of an item, or nothing when
-- all have come; it raises what the iterator of the items has raised. `stop` kills what
-- still runs, as does, soon, the collection of an iteration that was left early; `fail` does
-- so and raises what a greenlet has raised.
local function run(self, fn, source, window)
  local out = queue.Queue()
  local stop = start_feeder(self, fn, source, out, window)
  local taken, total = 0, nil
  local guard = newproxy(true)
  getmetatable(guard).__gc = function()
    if taken ~= total then
      core.spawn_raw(stop)
    end
  end
  local r = {guard = guard}
  function r.take()
    while taken ~= total do
      local outcome = out:get()
      if outcome.index then
        taken = taken + 1
        return outcome
      elseif outcome.failed then
        r.fail(outcome.failed)
      end
      total = outcome.value
    end
  end
  function r.stop()
    taken, total = 0, 0
    stop()
  end
  function r.fail(g)
    r.stop()
    interrupt.raise_from(g)
  end
  function r.release()
    if window then
      window:release()
    end
  end
  return r
end

---fn(item) for each item of the list, at the same time; the results in the order of the
---list. Raises the first error, and kills the rest.
---@param fn function
---@param list table|function
---@return table # with `n`
function Group:map(fn, list)
  check_self(self, "map")
  check.callable(fn, 1, "map")
  local r = run(self, fn, iterate(list, "map"))
  local results, n = {}, 0
  local ok, e = interrupt.protect(function()
    for outcome in r.take do
      if outcome.failed then
        interrupt.raise_from(outcome.failed)
      end
      n = n + 1
      results[outcome.index] = outcome.value
    end
  end)
  if not ok then
    r.stop()
    error(e, 0)
  end
  results.n = n
  return results
end

local function window_of(options, name)
  local maxsize = check.options(options, {maxsize = true}, 3, name).maxsize
  if maxsize == nil then
    return nil
  end
  return lock.Semaphore(check.count(maxsize, 3, name))
end

---Iterates over index, fn(item) for each item, in the order of the items, while they are
---computed at the same time. An error of fn is raised when its turn comes, and ends the
---iteration and what still runs of it.
---@param fn function
---@param it table|function list or iterator
---@param options? {maxsize: integer} how many items may be ahead of the iteration
---@return fun(): integer?, any
function Group:imap(fn, it, options)
  check_self(self, "imap")
  check.callable(fn, 1, "imap")
  local r = run(self, fn, iterate(it, "imap"), window_of(options, "imap"))
  local waiting, nextup = {}, 1
  return function()
    local outcome = waiting[nextup]
    while not outcome do
      local new = r.take()
      if not new then
        return nil
      end
      waiting[new.index] = new
      outcome = waiting[nextup]
    end
    waiting[nextup] = nil
    nextup = nextup + 1
    r.release()
    if outcome.failed then
      waiting = {}
      r.fail(outcome.failed)
    end
    return outcome.index, outcome.value
  end
end

---As imap, in the order in which the results come.
---@param fn function
---@param it table|function
---@param options? {maxsize: integer}
---@return fun(): integer?, any
function Group:imap_unordered(fn, it, options)
  check_self(self, "imap_unordered")
  check.callable(fn, 1, "imap_unordered")
  local r = run(self, fn, iterate(it, "imap_unordered"), window_of(options, "imap_unordered"))
  return function()
    local outcome = r.take()
    if not outcome then
      return nil
    end
    r.release()
    if outcome.failed then
      r.fail(outcome.failed)
    end
    return outcome.index, outcome.value
  end
end

---@class glua.Pool: glua.Group
local Pool = {}
for key, value in pairs(Group) do
  Pool[key] = value
end
local pool_meta = {__name = "Pool", __index = Pool, __tostring = group_meta.__tostring}
metas[pool_meta] = true

---@return integer how many more it can take now
function Pool:free_count()
  return self.room.counter
end

---@return boolean whether spawn would park
function Pool:full()
  return self.room.counter == 0
end

---Parks until there is room.
---@param timeout? number|glua.Timeout
---@return boolean whether there is
function Pool:wait_available(timeout)
  check.self(self, pool_meta, "wait_available")
  if self.room:acquire(timeout) then
    self.room:release()
    return true
  end
  return false
end

local function new(meta, size)
  local self = setmetatable({
    members = {}, size = 0,
    ended = nil,                 -- the link of all members
    room = size and lock.Semaphore(size) or nil,
    empty_event = event.Event(),
  }, meta)
  function self.ended(g)
    self:discard(g)
  end
  return self
end

local M = {}

---Greenlets that are joined or killed together.
---@return glua.Group
function M.Group()
  return new(group_meta)
end

---A group of at most so many greenlets at a time.
---@param size integer
---@return glua.Pool
function M.Pool(size)
  return new(pool_meta, check.count(size, 1, "Pool"))
end

return M
