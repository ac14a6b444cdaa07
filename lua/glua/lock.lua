-- lock.lua: Semaphore, BoundedSemaphore, Lock, RLock, Condition, Barrier.
--
-- A release with waiters hands over to the one that has waited longest: the count does not
-- rise in between, so nobody can step in.

local _, core = ...
local check = require "glua.check"
local interrupt = require "glua.interrupt"
local links = require "glua.links"

local park, wake, wake_all = core.park, core.wake, core.wake_all
local interrupted = interrupt.interrupted

---@class glua.Semaphore
local Semaphore = {}

local function describe(self)
  local n = self.waiters and core.waiters(self.waiters) or 0
  return ("<%s %d, %d waiting>"):format(getmetatable(self).__name, self.counter, n)
end

local metas = {}

-- For a method that was called with `.`: the class is not known then.
local function check_self(self, name)
  if not metas[getmetatable(self)] then
    check.fail(1, name, ("lock expected, got %s; call it with ':'"):format(type(self)))
  end
end

---Takes one; parks as long as there is none.
---@param timeout? number|glua.Timeout 0: does not park
---@return boolean whether it was taken
function Semaphore:acquire(timeout)
  if type(self) ~= "table" then
    check_self(self, "acquire")
  end
  local seconds = timeout
  if timeout ~= nil then
    seconds = check.timeout(timeout, 1, "acquire")
  end
  if self.counter > 0 then
    self.counter = self.counter - 1
    return true
  elseif timeout == 0 then
    return false
  end
  if not self.waiters then
    self.waiters = core.waitlist(getmetatable(self).__name .. ".acquire")
    return self:acquire(timeout) -- for a finalizer may have released it just now
  end
  self.waiting = self.waiting + 1
  local st, message = park(self.waiters, seconds)
  if st == nil then
    return true
  end
  self.waiting = self.waiting - 1
  if st then
    interrupted(timeout, message)
  end
  return false
end

---Gives one back: to the first who waits, if anybody does.
function Semaphore:release()
  if type(self) ~= "table" then
    check_self(self, "release")
  end
  if self.counter >= self.bound then
    check.misuse("release: more often than it was acquired")
  end
  if self.waiting > 0 and wake(self.waiters) then
    self.waiting = self.waiting - 1
    return
  end
  self.counter = self.counter + 1
  self:notify()
end

---@return boolean whether acquire would park
function Semaphore:locked()
  return self.counter == 0
end

---@return boolean
function Semaphore:ready()
  return self.counter > 0
end

local function released(self, ok, ...)
  self:release()
  if not ok then
    error((...), 0)
  end
  return ...
end

---Runs fn(...) with it acquired, and releases it on every way out.
---@param fn function
---@return any ... what fn returns
function Semaphore:with(fn, ...)
  check_self(self, "with")
  check.callable(fn, 1, "with")
  self:acquire()
  return released(self, interrupt.protect(fn, ...))
end

links.mix_into(Semaphore)

local function meta_of(name, methods)
  local meta = {__name = name, __index = methods, __tostring = describe}
  metas[meta] = true
  return meta
end

local semaphore_meta = meta_of("Semaphore", Semaphore)
local bounded_meta = meta_of("BoundedSemaphore", Semaphore)
local lock_meta = meta_of("Lock", Semaphore)

local function new(meta, n, bound)
  if n ~= nil and (type(n) ~= "number" or n < 0 or n % 1 ~= 0) then
    check.fail(1, meta.__name, "non-negative integer expected, got " .. tostring(n))
  end
  return setmetatable({
    counter = n or 1,
    bound = bound or math.huge,
    waiting = 0,   -- in `waiters`, or for a moment more: see queue.lua
    waiters = nil,
    links = nil, notifying = nil,
  }, meta)
end

local M = {}

---@param n? integer how many may hold it; default 1
---@return glua.Semaphore
function M.Semaphore(n)
  return new(semaphore_meta, n)
end

---A semaphore whose release raises when it was not acquired.
---@param n? integer default 1
---@return glua.Semaphore
function M.BoundedSemaphore(n)
  return new(bounded_meta, n, n or 1)
end

---A lock for one.
---@return glua.Semaphore
function M.Lock()
  return new(lock_meta, 1, 1)
end

-- RLock: a lock that its holder may take again.

---@class glua.RLock
local RLock = {}
local rlock_meta = {__name = "RLock", __index = RLock}
metas[rlock_meta] = true

function rlock_meta:__tostring()
  if self.depth == 0 then
    return self.lock:locked() and "<RLock changing hands>" or "<RLock free>"
  end
  local times = self.depth == 1 and "once" or ("%d times"):format(self.depth)
  return ("<RLock held %s by %s>"):format(times, tostring(self.owner))
end

-- The greenlet that calls a method.
local function caller(self, name)
  check.self(self, rlock_meta, name)
  local current = core.current()
  if not current then -- in a finalizer, say
    check.misuse(name .. ": no greenlet is running")
  end
  return current
end

---Takes it; the holder always can.
---@param timeout? number|glua.Timeout
---@return boolean
function RLock:acquire(timeout)
  local current = caller(self, "acquire")
  if self.owner ~= current then
    if not self.lock:acquire(timeout) then
      return false
    end
    self.owner = current
  end
  self.depth = self.depth + 1
  return true
end

---Undoes one acquire; the last one gives the lock away.
function RLock:release()
  local current = caller(self, "release")
  if self.owner ~= current then
    check.misuse("release: the RLock is not held by this greenlet")
  end
  self.depth = self.depth - 1
  if self.depth == 0 then
    self.owner = nil
    self.lock:release()
  end
end

---@return boolean whether somebody holds it
function RLock:locked()
  return self.lock:locked() -- depth is 0 while it changes hands
end

RLock.with = Semaphore.with

---A lock that its holder may acquire again, and has to release as often.
---@return glua.RLock
function M.RLock()
  return setmetatable({lock = M.Lock(), owner = nil, depth = 0}, rlock_meta)
end

-- Condition

---@class glua.Condition
local Condition = {}
local condition_meta = {__name = "Condition", __index = Condition}
metas[condition_meta] = true

function condition_meta:__tostring()
  return ("<Condition with %s, %d waiting>"):format(tostring(self.lock),
    core.waiters(self.waiters))
end

-- A Lock does not know its holder, so of that only the holding is checked.
local function check_held(self, name)
  local lock = self.lock
  if not lock:locked() or lock.depth and lock.owner ~= core.current() then
    check.misuse(name .. ": the Condition's lock is not held")
  end
end

---Acquires its lock.
---@param timeout? number|glua.Timeout
---@return boolean
function Condition:acquire(timeout)
  check.self(self, condition_meta, "acquire")
  return self.lock:acquire(timeout)
end

---Releases its lock.
function Condition:release()
  check.self(self, condition_meta, "release")
  self.lock:release()
end

---@return boolean
function Condition:locked()
  return self.lock:locked()
end

Condition.with = Semaphore.with

local function acquire_times(lock, n)
  for _ = 1, n do
    lock:acquire()
  end
end

---Releases the lock, parks until notified, and acquires the lock again, whatever happened.
---@param timeout? number|glua.Timeout
---@return boolean whether it was notified
function Condition:wait(timeout)
  check.self(self, condition_meta, "wait")
  local seconds = check.timeout(timeout, 1, "wait")
  check_held(self, "wait")
  local lock = self.lock
  local depth = lock.depth or 1
  for _ = 1, depth do
    lock:release()
  end
  local st, message = park(self.waiters, seconds)
  interrupt.shield(acquire_times, lock, depth)
  if st then
    interrupted(timeout, message)
  end
  return st == nil
end

---Parks until predicate() is true, which is asked with the lock held.
---@param predicate fun(): any
---@param timeout? number|glua.Timeout
---@return any what predicate returned last
function Condition:wait_for(predicate, timeout)
  check.self(self, condition_meta, "wait_for")
  check.callable(predicate, 1, "wait_for")
  local seconds = check.timeout(timeout, 2, "wait_for")
  local deadline = seconds and core.now() + seconds
  local result = predicate()
  local notified = true
  while not result and notified do
    notified = self:wait(deadline and math.max(deadline - core.now(), 0) or timeout)
    result = predicate()
  end
  return result
end

local function notify(self, n)
  while n > 0 and wake(self.waiters) do
    n = n - 1
  end
end

---Wakes n of those who wait, in order.
---@param n? integer default 1
function Condition:notify(n)
  check.self(self, condition_meta, "notify")
  if n ~= nil then
    check.count(n, 1, "notify")
  end
  check_held(self, "notify")
  notify(self, n or 1)
end

---Wakes all who wait.
function Condition:notify_all()
  check.self(self, condition_meta, "notify_all")
  check_held(self, "notify_all")
  notify(self, math.huge)
end

---@param lock? glua.Semaphore|glua.RLock default a new RLock
---@return glua.Condition
function M.Condition(lock)
  if lock ~= nil then
    local kind = getmetatable(lock)
    if kind ~= rlock_meta and kind ~= lock_meta and kind ~= semaphore_meta
      and kind ~= bounded_meta then
      check.fail(1, "Condition", "lock expected, got " .. type(lock))
    end
  end
  return setmetatable({lock = lock or M.RLock(), waiters = core.waitlist("Condition.wait")},
    condition_meta)
end

-- Barrier

---@class glua.Barrier
local Barrier = {}
local barrier_meta = {__name = "Barrier", __index = Barrier}

function barrier_meta:__tostring()
  return ("<Barrier %d of %d%s>"):format(self.count, self.parties,
    self.broken and ", broken" or "")
end

---Parks until `parties` greenlets are here. One that gives up breaks the barrier: the
---others get nil, "broken".
---@param timeout? number|glua.Timeout
---@return integer? # order of arrival, 1 .. parties; nil, "timeout"; nil, "broken"
---@return string?
function Barrier:wait(timeout)
  check.self(self, barrier_meta, "wait")
  local seconds = check.timeout(timeout, 1, "wait")
  local round = self.round
  local index = self.count + 1
  if index == self.parties and core.waiters(self.waiters) < self.count then
    self:abort() -- one of them has given up, and has not run since to say so
  end
  if self.broken then
    return nil, "broken"
  end
  self.count = index
  if index == self.parties then
    self.count, self.round = 0, round + 1
    wake_all(self.waiters)
    return index
  end
  local st, message = park(self.waiters, seconds)
  if st == nil then
    if message == "broken" then
      return nil, "broken"
    end
    return index
  end
  if round == self.round then
    self:abort()
  end
  if st then
    interrupted(timeout, message)
  end
  return nil, "timeout"
end

---Breaks it: everyone who waits or comes gets nil, "broken", until reset.
function Barrier:abort()
  self.broken = true
  self.count = 0
  while wake(self.waiters, "broken") do end
end

---Makes it new; who waits gets nil, "broken".
function Barrier:reset()
  self:abort()
  self.broken, self.round = false, self.round + 1
end

---A point where n greenlets wait for each other, again and again.
---@param n integer
---@return glua.Barrier
function M.Barrier(n)
  check.count(n, 1, "Barrier")
  return setmetatable({
    parties = n,
    count = 0,       -- how many are here
    round = 1,       -- of the use; one who gives up late does not break the next
    broken = false,
    waiters = core.waitlist("Barrier.wait"),
  }, barrier_meta)
end

return M
