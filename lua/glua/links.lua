-- links.lua: functions to be called when a greenlet ends or another object becomes ready.
--
-- A raw link is called by the notifier, in order, and must not park; any other link runs
-- in a greenlet of its own.

local _, core = ...
local check = require "glua.check"
local interrupt = require "glua.interrupt"

local links = {}

-- Fails as a raw link has failed.
local function fail(e, passing)
  local env = core.env(core.current())
  env.name, env.passing = "link", passing
  error(e, 0)
end

-- Calls one link. A raw one that fails is reported like a failed greenlet, and the next
-- ones are called all the same.
local function call(link, object)
  if not link.raw then
    core.spawn(link.fn, object)
    return
  end
  local ok, e = interrupt.protect(link.fn, object)
  if not ok then
    core.spawn_raw(fail, e, core.env(core.current()).passing)
  end
end

-- Takes the first link to fn off the list; returns it, nil if there is none.
local function remove(list, fn)
  for i, link in ipairs(list) do
    if link.fn == fn then
      return table.remove(list, i)
    end
  end
end

-- What `notify` has called a little later.
local function call_due(object)
  object.notifying = nil
  local due = {}
  for _, link in ipairs(object.links) do
    if link.due then
      link.due = false
      due[#due + 1] = link
    end
  end
  for _, link in ipairs(due) do
    if not link.gone and (object.links_stay_due or object:ready()) then
      call(link, object)
    end
  end
end

-- Stands in a Greenlet's list for a link that was called; equal to no function.
local CALLED = {fn = {}}

---Calls the links of a Greenlet that has ended, each once. For the core. How many were
---called is kept beside the list, for one of them may park and another call of this go on.
function links.notify(g)
  local env = core.env(g)
  local list = env.links
  if not list then
    return
  end
  local failed = core.state(g) == "failed"
  while env.links == list do
    local i = (env.links_called or 0) + 1
    local link = list[i]
    if not link then
      env.links, env.links_called = nil, nil
      return
    end
    list[i], env.links_called = CALLED, i
    if link.when == nil or link.when == failed then
      call(link, g)
    end
  end
end

-- The raw links of Greenlets by function: all that are linked to the same one share it.
local shared = setmetatable({}, {__mode = "kv"})

local function shared_link(fn)
  local link = shared[fn]
  if not link then
    link = {fn = fn, raw = true}
    shared[fn] = link
  end
  return link
end

---Links fn to the end of a Greenlet; one that has ended calls it soon.
---@param when? boolean true: only if it failed, false: only if it did not
function links.add_to_greenlet(g, fn, raw, when)
  local env = core.env(g)
  env.links = env.links or {}
  env.links[#env.links + 1] = raw and shared_link(fn) or {fn = fn, when = when}
  core.set_linked(g)
  if when then
    core.await(g, 1)
  end
  if core.state(g) ~= "new" and core.state(g) ~= "alive" then
    core.spawn_raw(links.notify, g)
  end
end

---Takes the first link to fn off a Greenlet; harmless if there is none.
function links.remove_from_greenlet(g, fn)
  local env = core.peek_env(g)
  if env and env.links then
    local link = remove(env.links, fn)
    if link and link.when then
      core.await(g, -1)
    end
  end
end

---Gives a class rawlink, unlink and notify; its objects are ready when `ready()` is true.
---The links of such an object are called each time it becomes ready, until unlinked.
---@param stay_due? boolean they are called also if it is no longer ready at their turn
function links.mix_into(class, stay_due)
  class.links_stay_due = stay_due

  ---Has fn(object) called whenever the object is ready; it must not park.
  ---@param fn function
  function class:rawlink(fn)
    check.type(self, "table", 1, "rawlink")
    check.callable(fn, 1, "rawlink")
    self.links = self.links or {}
    local link = {fn = fn, raw = true, due = false, gone = false}
    self.links[#self.links + 1] = link
    link.due = self:ready() -- asked last: making the link may have run a finalizer
    if link.due and not self.notifying then
      self.notifying = true
      core.spawn_raw(call_due, self)
    end
  end

  ---Takes the link to fn away.
  ---@param fn function
  function class:unlink(fn)
    check.type(self, "table", 1, "unlink")
    local link = self.links and remove(self.links, fn)
    if link then
      link.gone = true
    end
  end

  -- Has the links called soon. No closure is made here: the JIT could not compile the
  -- callers, and release() is one of them.
  function class:notify()
    local list = self.links
    if list and list[1] then
      for i = 1, #list do
        list[i].due = true
      end
      if not self.notifying then
        self.notifying = true
        core.spawn_raw(call_due, self)
      end
    end
  end
end

return links
