-- pool.lua: Group and Pool: greenlets that belong together, and at most so many of them.

local _, core = ...
local check = require "glua.check"
local lock = require "glua.lock"
local queue = require "glua.queue"
local event = require "glua.event"

---@class glua.Group
local Group = {}
local group_meta = {__name = "Group", __index = Group}

function group_meta:__tostring()
  return ("<%s of %d greenlets%s>"):format(getmetatable(self).__name, self.size,
    self.room and (", room for %d"):format(self.room.counter) or "")
end

-- Takes a greenlet in whose place in the pool is taken already.
local function adopt(self, g)
  self.members[g] = true
  self.size = self.size + 1
  local function ended()
    self:discard(g)
  end
  self.links[g] = ended
  g:rawlink(ended)
  return g
end

---Starts fn(...) in a Greenlet of the group; on a Pool that is full, parks first.
---@param fn function
---@return glua.Greenlet
function Group:spawn(fn, ...)
  check.callable(fn, 1, "spawn")
  if self.room then
    self.room:acquire()
  end
  return adopt(self, core.spawn(fn, ...))
end

---Takes in a Greenlet from elsewhere, starting it if it is new; parks on a full Pool.
---@param g glua.Greenlet
function Group:add(g)
  check.greenlet(g, 1, "add")
  if self.members[g] then
    return
  end
  if self.room then
    self.room:acquire()
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
  g:unlink(self.links[g])
  self.links[g] = nil
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

---Kills all its Greenlets, and parks until they have ended.
---@param err? any
---@param options? {block: boolean, timeout: number}
---@return boolean whether it is empty
function Group:kill(err, options)
  for g in self:each() do
    g:kill(err, {block = false})
  end
  if options and options.block == false then
    return self.size == 0
  end
  return self:join(options and options.timeout)
end

---Calls fn(...) in a Greenlet of the group and returns its results, or raises its error.
---@param fn function
function Group:apply(fn, ...)
  return self:spawn(fn, ...):get()
end

---As apply, without waiting for it.
---@param fn function
---@return glua.Greenlet
function Group:apply_async(fn, ...)
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
  return check.fail(2, name, "list or iterator expected, got " .. type(source), 1)
end

---fn(item) for each item of the list, at the same time; the results in the order of the
---list. Raises the first error, and kills the rest.
---@param fn function
---@param list table|function
---@return table # with `n`
function Group:map(fn, list)
  check.callable(fn, 1, "map")
  local results, n = {}, 0
  for index, value in self:imap(function(item) return {fn(item)} end,
    iterate(list, "map")) do
    n = index
    results[index] = value[1]
  end
  results.n = n
  return results
end

-- One feeder takes the items and spawns; its greenlets put {index, ok, result} into out.
local function start_feeder(self, fn, source, out, window)
  local children = {}
  local feeder
  feeder = core.spawn(function()
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
        local ok = child:successful()
        out:put_nowait({i, ok, ok and child.value or child.exception, child})
      end)
    end
    out:put_nowait({false, true, index})
  end)
  feeder:link_exception(function()
    out:put_nowait({false, false, feeder.exception})
  end)
  return function()
    feeder:kill(nil, {block = false})
    for child in pairs(children) do
      child:kill(nil, {block = false})
    end
  end
end

local function window_of(options, name)
  local maxsize = options and options.maxsize
  if maxsize == nil then
    return nil
  end
  return lock.Semaphore(check.count(maxsize, 3, name))
end

---Iterates over index, fn(item) for each item, in the order of the items, while they are
---computed at the same time. An error of fn is raised by the iteration.
---@param fn function
---@param it table|function list or iterator
---@param options? {maxsize: integer} how many results may wait to be taken
function Group:imap(fn, it, options)
  check.callable(fn, 1, "imap")
  local window = window_of(options, "imap")
  local out = queue.Queue()
  local stop = start_feeder(self, fn, iterate(it, "imap"), out, window)
  local waiting, nextup, total = {}, 1, nil
  return function()
    while not waiting[nextup] do
      if total and nextup > total then
        return nil
      end
      local message = out:get()
      if not message[2] then
        stop()
        error(message[3], 0)
      elseif message[1] then
        waiting[message[1]] = message
      else
        total = message[3]
      end
    end
    local message = waiting[nextup]
    waiting[nextup] = nil
    nextup = nextup + 1
    if window then
      window:release()
    end
    return message[1], message[3]
  end
end

---As imap, in the order in which the results come: index, result.
---@param fn function
---@param it table|function
---@param options? {maxsize: integer}
function Group:imap_unordered(fn, it, options)
  check.callable(fn, 1, "imap_unordered")
  local window = window_of(options, "imap_unordered")
  local out = queue.Queue()
  local stop = start_feeder(self, fn, iterate(it, "imap_unordered"), out, window)
  local given, total = 0, nil
  return function()
    while not (total and given >= total) do
      local message = out:get()
      if not message[2] then
        stop()
        error(message[3], 0)
      elseif message[1] then
        given = given + 1
        if window then
          window:release()
        end
        return message[1], message[3]
      else
        total = message[3]
      end
    end
  end
end

---@class glua.Pool: glua.Group
local Pool = {}
for key, value in pairs(Group) do
  Pool[key] = value
end
local pool_meta = {__name = "Pool", __index = Pool, __tostring = group_meta.__tostring}

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
  if self.room:acquire(timeout) then
    self.room:release()
    return true
  end
  return false
end

local function new(meta, size)
  return setmetatable({
    members = {}, size = 0,
    links = {},                  -- by Greenlet: the function that it calls at its end
    room = size and lock.Semaphore(size) or nil,
    empty_event = event.Event(),
  }, meta)
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
