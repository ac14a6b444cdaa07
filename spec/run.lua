-- run.lua: runs busted on the hub: `bin/gluarun spec/run.lua [busted options] [files]`.
--
-- GLUA_GC=stress has the collector work all the time: one cycle begins when the other ends.
-- The step is not made as large as a whole cycle, since under busted's heap that would take
-- an hour, and a compiled trace would be left for a collection at the same place again and
-- again, and come no further.

-- busted gives each file fresh modules, except for what is loaded before it starts.
for _, name in ipairs {"errors", "event", "greenlet", "locals", "lock", "pool", "queue",
  "scope", "server", "socket", "timeout", "wait"} do
  require("glua." .. name)
end
require "glua"

if os.getenv("GLUA_GC") == "stress" then
  collectgarbage("setpause", 0)
  collectgarbage("setstepmul", 1000)
end

package.path = "./?.lua;" .. package.path

if #arg == 0 then
  arg[1] = "spec"
end
table.insert(arg, 1, "--output=spec/support/output.lua")
table.insert(arg, 1, "--pattern=_spec%.lua$")

-- The runner raises nil when something failed.
local ok, e = pcall(function() require "busted.runner"({standalone = false}) end)
if not ok then
  if e ~= nil then
    print(e)
  end
  os.exit(1)
end
