-- run.lua: runs busted on the hub: `bin/gluarun spec/run.lua [busted options] [files]`.
--
-- GLUA_GC=stress has the collector work all the time. The JIT compiler is off then: with a
-- pause of 0 a trace that allocates is left for a collection at the same place again and
-- again, and comes no further.

-- busted gives each file fresh modules, except for what is loaded before it starts.
for _, name in ipairs {"errors", "event", "greenlet", "locals", "lock", "pool", "queue",
  "scope", "server", "socket", "timeout", "wait"} do
  require("glua." .. name)
end
require "glua"

if os.getenv("GLUA_GC") == "stress" then
  jit.off()
  collectgarbage("setpause", 0)
  collectgarbage("setstepmul", 1000000)
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
