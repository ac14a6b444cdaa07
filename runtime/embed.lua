-- embed.lua: writes the Lua modules as C arrays of bytecode, line information included.
--
--     luajit embed.lua out.c lua/glua/*.lua

local out_name = arg[1]
local out = assert(io.open(out_name, "w"))
local names = {}

out:write('/* Written by embed.lua. */\n\n#include "modules.h"\n')
for i = 2, #arg do
  local path = arg[i]
  local base = path:match("([^/]+)%.lua$")
  local name = base == "init" and "glua" or "glua." .. base
  local file = assert(io.open(path))
  local chunk = assert(loadstring(file:read("*a"), "=[" .. name .. "]"))
  file:close()
  names[#names + 1] = name
  out:write(("\n/* %s */\nstatic const unsigned char code_%d[] = {"):format(name, #names))
  local code = string.dump(chunk)
  for j = 1, #code do
    out:write(j % 20 == 1 and "\n" or "", code:byte(j), ",")
  end
  out:write("\n};\n")
end
out:write("\nconst struct module module_table[] = {\n")
for i, name in ipairs(names) do
  out:write(('    {"%s", (const char *)code_%d, sizeof(code_%d)},\n'):format(name, i, i))
end
out:write("    {NULL, NULL, 0},\n};\n")
assert(out:close())
