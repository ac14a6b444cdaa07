std = "luajit"
max_line_length = 100
exclude_files = { "build/" }

-- `not (x >= 0)` is meant: it is true for NaN too.
ignore = { "581" }

-- The modules that replace functions of the standard library, and the set-up of busted.
for _, name in ipairs {
  "lua/glua/coroutine.lua", "lua/glua/finalizer.lua", "lua/glua/yieldable.lua", "spec/run.lua",
} do
  files[name] = { ignore = { "121", "122", "142", "581" } }
end

files["spec/"] = { std = "luajit+busted" }
