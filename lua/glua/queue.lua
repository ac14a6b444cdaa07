-- queue.lua: queues between greenlets.
--
-- An item that is put goes to the greenlet that has waited longest in get, if there is one;
-- else into the queue, if there is room; else the putter waits, with its item offered under
-- a number (its tag in the wait list), and whoever makes room takes the item from there.
-- So items come out in the order in which put was called, and a waiter that gives up can
-- neither lose nor keep one.
--
-- `getting` and `putting` count the greenlets in the wait lists, so that put and get know
-- without a call into C that nobody waits. They may be too high for a moment, when somebody
-- was taken off the list by its timeout and has not run since; never too low.

local _, core = ...
local check = require "glua.check"
local interrupted = require("glua.interrupt").interrupted
local links = require "glua.links"

local park, wake, wake_all = core.park, core.wake, core.wake_all
local band = bit.band

---@class glua.Queue
local Queue = {}

local function describe(self)
  local size = self.maxsize < math.huge and ("%d of %d"):format(self.count, self.maxsize)
    or ("%d"):format(self.count)
  return ("<%s %s, %d getting, %d putting%s>"):format(getmetatable(self).__name, size,
    self.getting, self.putting, self.closed and ", closed" or "")
end

local function class(name, parent)
  local methods = {} -- copies, so that a call finds each of them in one step
  for key, value in pairs(parent) do
    methods[key] = value
  end
  return methods, {__name = name, __index = methods, __tostring = describe}
end

-- FIFO: a ring of a power of two, from `head` on.

function Queue:push(item)
  local n, mask = self.count, self.mask
  if n > mask then
    local ring, old = {}, self.ring
    for i = 0, n - 1 do
      ring[i + 1] = old[band(self.head + i, mask) + 1]
    end
    for i = n + 1, 2 * n do
      ring[i] = false
    end
    mask = 2 * n - 1
    self.ring, self.head, self.mask = ring, 0, mask
  end
  self.ring[band(self.head + n, mask) + 1] = item
  self.count = n + 1
end

function Queue:pop()
  local head = self.head
  local item = self.ring[head + 1]
  self.ring[head + 1] = false
  self.head = band(head + 1, self.mask)
  self.count = self.count - 1
  return item
end

function Queue:first()
  return self.ring[self.head + 1]
end

-- Peekers and links see an item that has come into the queue.
local function stored(self)
  if self.peekers then
    wake_all(self.peekers)
  end
  self:notify()
end

-- Takes in what is offered, as long as there is room. An item that cannot be compared with
-- those of a PriorityQueue is an error of its putter, not of the one who made room.
local function admit(self)
  while self.putting > 0 and self.count < self.maxsize do
    local tag = wake(self.putters, true)
    if not tag then
      return
    end
    self.putting = self.putting - 1
    local item = self.offers[tag]
    self.offers[tag] = nil
    local ok, e = true, nil
    if self.less then
      ok, e = pcall(self.push, self, item)
    else
      self:push(item)
    end
    if not ok then
      self.refused[tag] = {e}
    elseif self.unfinished then
      self.unfinished = self.unfinished + 1
    end
  end
end

local INCOMPARABLE = "PriorityQueue: attempt to compare"

-- Raises what admit has kept for the putter with this tag.
local function raise_if_refused(self, tag)
  local refusal = self.refused and self.refused[tag]
  if refusal then
    self.refused[tag] = nil
    local e = refusal[1]
    local at = type(e) == "string" and e:find(INCOMPARABLE, 1, true)
    if at then -- with the line of the one who made room
      check.misuse(e:sub(at))
    end
    error(e, 0)
  end
end

-- Makes the wait lists. The collector may run a finalizer here, which puts or gets: who
-- wants to wait looks at the queue again afterwards, and then waits without allocating.
local function make_lists(self)
  local name = getmetatable(self).__name
  local getters, putters = core.waitlist(name .. ".get"), core.waitlist(name .. ".put")
  if not self.getters then
    self.getters, self.putters, self.offers = getters, putters, {}
  end
end

-- The number of a new offer.
local function offer(self, item)
  self.offered = self.offered + 1
  self.offers[self.offered] = item
  self.putting = self.putting + 1
  if self.maxsize == 0 and self.watched then
    self:notify() -- a Channel becomes ready by an offer
  end
  return self.offered
end

-- Puts without waiting: true; or false: it would have to wait.
local function put_now(self, item)
  if self.getting > 0 and wake(self.getters, item) then
    self.getting = self.getting - 1
  elseif self.count < self.maxsize then
    self:push(item)
    if self.watched then
      stored(self)
    end
  else
    return false
  end
  if self.unfinished then
    self.unfinished = self.unfinished + 1
  end
  return true
end

-- Parks with the item until somebody takes it in.
local function put_waiting(self, item, seconds, timeout)
  if not self.putters then
    make_lists(self)
    return self:put(item, timeout)
  end
  local tag = offer(self, item)
  local st, taken = park(self.putters, seconds, tag)
  if st == nil then
    if taken then
      raise_if_refused(self, tag)
      return true
    end
    return nil, "closed"
  end
  self.putting = self.putting - 1
  self.offers[tag] = nil
  if st then
    interrupted(timeout, taken)
  end
  return nil, "full"
end

-- Parks until somebody puts.
local function get_waiting(self, seconds, timeout)
  if not self.getters then
    make_lists(self)
    return self:get(timeout)
  end
  self.getting = self.getting + 1
  local st, item = park(self.getters, seconds)
  if st == nil then
    if item == nil then
      return nil, "closed"
    end
    return item
  end
  self.getting = self.getting - 1
  if st then
    interrupted(timeout, item)
  end
  return nil, "empty"
end

local function check_item(self, item, name)
  if item == nil then
    if type(self) ~= "table" then
      check.fail(1, name, ("Queue expected, got %s; call it with ':'"):format(type(self)))
    end
    check.fail(1, name, "item expected, got nil")
  end
end

---Puts an item, and parks as long as there is no room for it.
---@param item any not nil
---@param timeout? number|glua.Timeout
---@return boolean? # true; or nil, "full"; or nil, "closed"
---@return string?
function Queue:put(item, timeout)
  if item == nil then
    check_item(self, item, "put")
  end
  local seconds = timeout
  if timeout ~= nil then
    seconds = check.timeout(timeout, 1, "put")
  end
  if self.closed then
    return nil, "closed"
  end
  if put_now(self, item) then
    return true
  end
  return put_waiting(self, item, seconds, timeout)
end

---Puts an item if there is room for it now.
---@return boolean? # true; or nil, "full"; or nil, "closed"
---@return string?
function Queue:put_nowait(item)
  check_item(self, item, "put_nowait")
  if self.closed then
    return nil, "closed"
  elseif put_now(self, item) then
    return true
  end
  return nil, "full"
end

---Takes the next item, and parks as long as there is none.
---@param timeout? number|glua.Timeout
---@return any item or nil, "empty"; or nil, "closed" when it is closed and drained
---@return string?
function Queue:get(timeout)
  local seconds = timeout
  if timeout ~= nil then
    seconds = check.timeout(timeout, 1, "get")
  end
  if self.count > 0 then
    local item = self:pop()
    if self.putting > 0 then
      admit(self)
    end
    return item
  end
  if self.closed then
    return nil, "closed"
  end
  return get_waiting(self, seconds, timeout)
end

---Takes the next item if there is one.
---@return any item or nil, "empty"; or nil, "closed"
---@return string?
function Queue:get_nowait()
  if self.count > 0 then
    return self:get()
  end
  return nil, self.closed and "closed" or "empty"
end

---The next item, which stays; parks as long as there is none.
---@param timeout? number|glua.Timeout
---@return any item or nil, "empty"; or nil, "closed"
---@return string?
function Queue:peek(timeout)
  local seconds = check.timeout(timeout, 1, "peek")
  local deadline = seconds and core.now() + seconds
  self.peekers = self.peekers or core.waitlist(getmetatable(self).__name .. ".peek")
  while self.count == 0 do
    if self.closed then
      return nil, "closed"
    end
    self.watched = true
    local st, message = park(self.peekers, deadline and math.max(deadline - core.now(), 0))
    if st then
      interrupted(timeout, message)
    end
    if st ~= nil and self.count == 0 then
      return nil, "empty"
    end
  end
  return self:first()
end

---The next item, which stays.
---@return any item or nil, "empty"; or nil, "closed"
---@return string?
function Queue:peek_nowait()
  if self.count > 0 then
    return self:first()
  end
  return nil, self.closed and "closed" or "empty"
end

---@return integer how many items are in it
function Queue:qsize()
  return self.count
end

---@return boolean
function Queue:empty()
  return self.count == 0
end

---@return boolean whether put would park
function Queue:full()
  return self.count >= self.maxsize
end

---Whether get would not park: for wait and iwait.
---@return boolean
function Queue:ready()
  return self.count > 0 or self.closed
end

---Closes it: put gives nil, "closed" from now on, also to those who wait in it; get gives
---what is left, then nil, "closed".
---@param discard? boolean drop what is left; for a JoinableQueue that counts as done
function Queue:close(discard)
  while discard and self.count > 0 do
    self:pop()
    if self.unfinished and self.unfinished > 0 then
      self:task_done()
    end
  end
  if self.closed then
    return
  end
  self.closed = true
  if self.putters then
    self.putting = self.putting - wake_all(self.putters)
    self.offers = {}
  end
  if self.getters then
    self.getting = self.getting - wake_all(self.getters)
  end
  stored(self)
end

---Iterates over the items until it is closed.
function Queue:iter()
  return function()
    return (self:get())
  end
end

links.mix_into(Queue)

local rawlink = Queue.rawlink

function Queue:rawlink(fn)
  self.watched = true
  rawlink(self, fn)
end

local queue_meta = {__name = "Queue", __index = Queue, __tostring = describe}

local function new(meta, maxsize, items)
  local name = meta.__name
  if maxsize == 0 then
    check.fail(1, name, "maxsize must not be 0: use Channel for a rendezvous")
  elseif maxsize ~= nil then
    check.count(maxsize, 1, name)
  end
  if items ~= nil then
    check.type(items, "table", 2, name)
    if #items > (maxsize or math.huge) then
      check.fail(2, name, "more items than maxsize")
    end
    for i = 1, #items do
      if items[i] == nil then
        check.fail(2, name, ("item %d: item expected, got nil"):format(i))
      end
    end
  end
  local self = setmetatable({
    ring = {false, false, false, false}, head = 0, mask = 3,
    count = 0,
    maxsize = maxsize or math.huge,
    closed = false,
    getting = 0, getters = nil,
    putting = 0, putters = nil,
    offers = nil, offered = 0, -- items of the putters by tag, and the last tag
    peekers = nil,
    watched = false,           -- there are or were peekers or links
    unfinished = false,        -- of a JoinableQueue: how many items are not done
    less = nil,                -- of a PriorityQueue
    refused = nil,             -- of a PriorityQueue: {error} by the tag of its putter
    links = nil, notifying = nil,
  }, meta)
  return self
end

local function fill(self, items)
  for _, item in ipairs(items or {}) do
    self:push(item)
  end
  return self
end

local M = {}

---A first-in first-out queue.
---@param maxsize? integer nil: unbounded
---@param items? table to begin with
---@return glua.Queue
function M.Queue(maxsize, items)
  return fill(new(queue_meta, maxsize, items), items)
end

-- LIFO: the same array, as a stack.

local Lifo, lifo_meta = class("LifoQueue", Queue)

function Lifo:push(item)
  local n = self.count + 1
  self.ring[n] = item
  self.count = n
end

function Lifo:pop()
  local n = self.count
  local item = self.ring[n]
  self.ring[n] = false
  self.count = n - 1
  return item
end

function Lifo:first()
  return self.ring[self.count]
end

---A last-in first-out queue.
---@return glua.Queue
function M.LifoQueue(maxsize, items)
  return fill(new(lifo_meta, maxsize, items), items)
end

-- Priority: a binary heap of items, and beside it the numbers of their coming, so that
-- equal items come out in the order in which they came. Everything is compared before
-- anything is moved: an error in a comparison leaves the heap as it was.

local Priority, priority_meta = class("PriorityQueue", Queue)

local function before(self, a, a_number, b, b_number)
  if self.less(a, b) then
    return true
  end
  return a_number < b_number and not self.less(b, a)
end

local function parent(i)
  return (i - i % 2) / 2
end

function Priority:push(item)
  local heap, numbers = self.ring, self.numbers
  local number, last = self.next_number, self.count + 1
  local place = last
  while place > 1 do
    local up = parent(place)
    if not before(self, item, number, heap[up], numbers[up]) then
      break
    end
    place = up
  end
  local i = last
  while i > place do
    local up = parent(i)
    heap[i], numbers[i] = heap[up], numbers[up]
    i = up
  end
  heap[place], numbers[place] = item, number
  self.count, self.next_number = last, number + 1
end

function Priority:pop()
  local heap, numbers, n = self.ring, self.numbers, self.count
  local item, number = heap[n], numbers[n] -- the last one looks for a new place
  local place = 1
  while 2 * place < n do
    local child = 2 * place
    if child + 1 < n and before(self, heap[child + 1], numbers[child + 1], heap[child],
      numbers[child]) then
      child = child + 1
    end
    if not before(self, heap[child], numbers[child], item, number) then
      break
    end
    place = child
  end
  -- From there to the root each one takes the place above it, and the root falls out.
  while place > 0 do
    heap[place], item = item, heap[place]
    numbers[place], number = number, numbers[place]
    place = parent(place)
  end
  heap[n] = false
  self.count = n - 1
  return item
end

function Priority:first()
  return self.ring[1]
end

local function has_less(value)
  local mt = debug.getmetatable(value)
  return mt and mt.__lt
end

local function default_less(a, b)
  local kind, other = type(a), type(b)
  if kind ~= other or kind ~= "number" and kind ~= "string" then
    if not has_less(a) and not has_less(b) then
      check.misuse(("%s: %s with %s"):format(INCOMPARABLE, kind, other))
    end
  end
  return a < b
end

---A queue that gives the least item first; equal ones in the order in which they came.
---@param less? fun(a: any, b: any): boolean default `a < b`
---@return glua.Queue
function M.PriorityQueue(maxsize, items, less)
  if less ~= nil then
    check.callable(less, 3, "PriorityQueue")
  end
  local self = new(priority_meta, maxsize, items)
  self.less = less or default_less
  self.numbers, self.next_number, self.refused = {}, 0, {}
  return fill(self, items)
end

-- Joinable: counts what was put and not yet done.

---@class glua.JoinableQueue: glua.Queue
local Joinable, joinable_meta = class("JoinableQueue", Queue)

---Says that an item that was got is done.
function Joinable:task_done()
  if self.unfinished == 0 then
    check.misuse("task_done: called more often than there were items")
  end
  self.unfinished = self.unfinished - 1
  if self.unfinished == 0 and self.joiners then
    wake_all(self.joiners)
  end
end

---Parks until each item that was put is done.
---@param timeout? number|glua.Timeout
---@return boolean
function Joinable:join(timeout)
  local seconds = check.timeout(timeout, 1, "join")
  self.joiners = self.joiners or core.waitlist("JoinableQueue.join")
  if self.unfinished == 0 then
    return true
  end
  local st, message = park(self.joiners, seconds)
  if st then
    interrupted(timeout, message)
  end
  return st == nil
end

---A queue that knows when all its items are done.
---@return glua.JoinableQueue
function M.JoinableQueue(maxsize, items)
  local self = fill(new(joinable_meta, maxsize, items), items)
  self.unfinished, self.joiners = self.count, nil
  return self
end

-- Channel: no room at all; put and get meet.

local Channel, channel_meta = class("Channel", Queue)

-- Takes the item of the putter that has waited longest. Returns found, item.
local function take_offer(self)
  if self.putting == 0 then
    return false
  end
  local tag = wake(self.putters, true)
  if not tag then
    return false
  end
  self.putting = self.putting - 1
  local item = self.offers[tag]
  self.offers[tag] = nil
  return true, item
end

function Channel:get(timeout)
  if timeout ~= nil then
    check.timeout(timeout, 1, "get")
  end
  local found, item = take_offer(self)
  if found then
    return item
  end
  return Queue.get(self, timeout)
end

function Channel:get_nowait()
  local found, item = take_offer(self)
  if found then
    return item
  end
  return Queue.get_nowait(self)
end

local function no_peek()
  check.misuse("peek: a Channel holds no items")
end

Channel.peek, Channel.peek_nowait = no_peek, no_peek

---Whether get would not park.
function Channel:ready()
  return self.putting > 0 or self.closed
end

---A channel: put parks until somebody gets.
---@return glua.Queue
function M.Channel()
  local self = new(channel_meta)
  self.maxsize = 0
  return self
end

-- select

local classes = {
  [queue_meta] = true, [lifo_meta] = true, [priority_meta] = true, [joinable_meta] = true,
  [channel_meta] = true,
}

-- The cases, copied: the script may change its table while select is parked.
local function copy_cases(cases)
  check.type(cases, "table", 1, "select")
  if #cases == 0 then
    check.fail(1, "select", "at least one case expected")
  end
  local copy = {}
  for i, case in ipairs(cases) do
    if type(case) ~= "table" or not classes[getmetatable(case[1])] then
      check.fail(1, "select", ("case %d: {queue} or {queue, put=item} expected"):format(i))
    end
    copy[i] = {queue = case[1], item = case.put, tag = nil}
    if not case[1].getters then
      make_lists(case[1])
    end
  end
  return copy
end

-- Does the first case that can be done now; returns its index and what select returns.
local function select_now(cases)
  for i, case in ipairs(cases) do
    local q = case.queue
    if case.item ~= nil then
      local ok, why = q:put_nowait(case.item)
      if ok or why == "closed" then
        return i, ok, why
      end
    else
      local item, why = q:get_nowait()
      if item ~= nil or why == "closed" then
        return i, item, why
      end
    end
  end
end

-- Stands in line for a case.
local function enter(case, places, i)
  local q = case.queue
  if case.item ~= nil then
    case.tag = offer(q, case.item)
    core.place(places, i, q.putters, case.tag)
  else
    q.getting = q.getting + 1
    core.place(places, i, q.getters, 0)
  end
end

-- Undoes enter after the park, which has left the lists. Who wakes a waiter counts it off.
local function leave(case, woken)
  local q = case.queue
  if case.tag then
    q.offers[case.tag] = nil
    q.putting = q.putting - (woken and 0 or 1)
  else
    q.getting = q.getting - (woken and 0 or 1)
  end
end

---Waits until one of several puts and gets can be done, and does that one: the first of
---the list, when there are several.
---@param cases table list of {queue} to get and {queue, put=item} to put
---@param timeout? number|glua.Timeout
---@return integer? # index of the case; nil, "timeout"
---@return any # the item got, or true; nil, "closed" after the index
---@return string?
function M.select(cases, timeout)
  local copy = copy_cases(cases)
  local seconds = check.timeout(timeout, 2, "select")
  local places = core.places(#copy) -- all that is needed to wait is there now: see make_lists
  local i, result, why = select_now(copy)
  if why then
    return i, nil, why
  elseif i then
    return i, result
  end
  for n, case in ipairs(copy) do
    enter(case, places, n)
  end
  local st, chosen, value = core.park_many(places, seconds, "queue.select")
  for n, case in ipairs(copy) do
    leave(case, st == nil and n == chosen)
  end
  if st then
    interrupted(timeout, chosen)
  end
  if st ~= nil then
    return nil, "timeout"
  end
  if copy[chosen].tag then
    raise_if_refused(copy[chosen].queue, copy[chosen].tag)
  end
  if value == nil then
    return chosen, nil, "closed"
  end
  return chosen, value
end

return M
