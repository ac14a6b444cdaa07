-- boot.lua: what happens before any script runs.
--
-- The standard library's functions that a greenlet could not park in are replaced by ones
-- in which it can; the core learns the Lua functions that it calls.

local _, core = ...

require "glua.coroutine"
require "glua.finalizer"
require "glua.yieldable"

core.hooks.GreenletExit = require("glua.errors").GreenletExit

-- Called by the core in a greenlet of its own when a Greenlet with links has ended.
function core.hooks.notify(g)
  require("glua.links").notify(g)
end

-- Called by the core when main has ended.
function core.hooks.shutdown()
  local kill = require("glua.interrupt").kill
  local current = core.current()
  for _, g in ipairs(core.living()) do
    if g ~= current and not core.discard(g) then
      kill(g)
    end
  end
end

return true
