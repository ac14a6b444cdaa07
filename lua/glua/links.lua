-- links.lua: functions to be called when a greenlet ends or another object becomes ready.
--
-- A raw link is called by the notifier, in order, and must not park; any other link runs
-- in a greenlet of its own.

local _, core = ...
local check = require "glua.check"

local links = {}

-- Calls one link. A raw one that fails is reported like a failed greenlet, and the next
-- ones are called all the same.
local function call(link, object)
  if not link.raw then
    core.spawn(link.fn, object)
    return
  end
  local ok, e = pcall(link.fn, object)
  if not ok then
    core.spawn_raw(error, e, 0)
  end
end

---Appends a link to a list.
function links.add(list, fn, raw)
  list[#list + 1] = {fn = fn, raw = raw}
end

---Takes the first link to fn off the list.
---@return boolean found
function links.remove(list, fn)
  for i, link in ipairs(list) do
    if link.fn == fn then
      table.remove(list, i)
      return true, link
    end
  end
  return false
end

---Calls every link that is in the list now and, at its turn, still there.
local function call_all(list, object)
  local now = {}
  for i, link in ipairs(list) do
    now[i] = link
  end
  for _, link in ipairs(now) do
    for _, still in ipairs(list) do
      if still == link then
        call(link, object)
        break
      end
    end
  end
end

---Calls the links of a Greenlet that has ended, each once. For the core.
function links.notify(g)
  local env = core.env(g)
  local list = env.links
  if not list then
    return
  end
  local failed = core.state(g) == "failed"
  while list[1] do
    local link = table.remove(list, 1)
    if link.when == nil or link.when == failed then
      call(link, g)
    end
  end
end

---Links fn to the end of a Greenlet; one that has ended calls it soon.
---@param when? boolean true: only if it failed, false: only if it did not
function links.add_to_greenlet(g, fn, raw, when)
  local env = core.env(g)
  env.links = env.links or {}
  env.links[#env.links + 1] = {fn = fn, raw = raw, when = when}
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
    local found, link = links.remove(env.links, fn)
    if found and link.when then
      core.await(g, -1)
    end
  end
end

---Gives a class rawlink, unlink and notify; its objects are ready when `ready()` is true.
---The links of such an object are called each time it becomes ready, until unlinked.
function links.mix_into(class)
  ---Has fn(object) called whenever the object is ready; it must not park.
  ---@param fn function
  function class:rawlink(fn)
    check.callable(fn, 1, "rawlink")
    self.links = self.links or {}
    links.add(self.links, fn, true)
    if self:ready() then
      self:notify()
    end
  end

  ---Takes the link to fn away.
  ---@param fn function
  function class:unlink(fn)
    if self.links then
      links.remove(self.links, fn)
    end
  end

  -- Calls the links soon, if the object is still ready then.
  function class:notify()
    if self.notifying or not self.links or #self.links == 0 then
      return
    end
    self.notifying = true
    core.spawn_raw(function()
      self.notifying = nil
      if self:ready() then
        call_all(self.links, self)
      end
    end)
  end
end

return links
