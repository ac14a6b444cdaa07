-- command.lua: what `gluarun [options] [script [args]]` does.

local _, core = ...
local protect = require("glua.interrupt").protect

local USAGE = "usage: gluarun [options] [script.lua | -] [args]"

local HELP = USAGE .. [[


Runs a Lua script as the main greenlet of the hub. Without a script, runs standard input.

  -e CODE    run CODE
  -l MODULE  require MODULE
  -v         show the version
  -h         show this help
  --         no more options
  -          run standard input

Environment: GLUARUN_LUA=dir loads gluarun's own Lua modules from dir/glua.]]

local status = 0

local function usage_error(message)
  io.stderr:write("gluarun: ", message, "\n", USAGE, "\n")
  status = 2
end

-- Options in the order in which they are carried out, and the index of the script in argv,
-- nil without one. Returns nil after bad usage.
local function parse(argv)
  local actions = {}
  local i = 1
  while argv[i] and argv[i]:sub(1, 1) == "-" and argv[i] ~= "-" do
    local option, value = argv[i]:match("^(%-%a)(.*)$")
    if argv[i] == "--" then
      i = i + 1
      break
    elseif argv[i] == "--help" or argv[i] == "-h" then
      actions[#actions + 1] = {"help"}
    elseif argv[i] == "--version" or argv[i] == "-v" then
      actions[#actions + 1] = {"version"}
    elseif option == "-e" or option == "-l" then
      if value == "" then
        i = i + 1
        value = argv[i]
      end
      if value == nil then
        return usage_error(("option '%s' needs an argument"):format(option))
      end
      actions[#actions + 1] = {option, value}
    else
      return usage_error(("unknown option '%s'"):format(argv[i]))
    end
    i = i + 1
  end
  return actions, argv[i] and i
end

-- The global `arg`, as luajit has it: the script at 0, its arguments after it, the program
-- and its options before it.
local function set_arg(argv, script)
  local arg = {}
  for i = 0, #argv do
    arg[i - (script or #argv + 1)] = argv[i]
  end
  _G.arg = arg
end

local function show_help()
  print(HELP)
end

local function show_version()
  print(("gluarun %s (%s)"):format(core.version, jit.version))
end

local function load_module(name)
  local ok, module = protect(require, name)
  if not ok then
    error(module, 0)
  end
  _G[name] = module
end

-- What one option does: a function. It is called where it is returned, nameless, so that
-- tracebacks say "in main chunk".
local function action_of(option, value)
  if option == "help" then
    return show_help
  elseif option == "version" then
    return show_version
  elseif option == "-l" then
    return function() load_module(value) end
  end
  local chunk, message = loadstring(value, "=(command line)")
  return chunk or error(message, 0)
end

local function run_script(argv, script)
  local name = argv[script]
  local chunk, message = loadfile(name ~= "-" and name or nil)
  if not chunk then
    error(message, 0)
  end
  return chunk(unpack(argv, script + 1))
end

local function main(argv)
  core.env(core.current()).name = "main"
  local actions, script = parse(argv)
  if not actions then
    return
  end
  set_arg(argv, script)
  for _, action in ipairs(actions) do
    action_of(action[1], action[2])()
  end
  if script then
    return run_script(argv, script)
  elseif #actions == 0 then
    if core.is_terminal(0) then
      return usage_error("no script")
    end
    return run_script({"-"}, 1)
  end
end

-- The traceback without what comes after the last frame of the script's, which is this
-- command's; nothing of it where there is no such frame: a script that cannot be loaded.
local function user_traceback(text)
  local message, frames = text:match("^(.-)(\nstack traceback:\n.*)$")
  if not frames then
    return text
  end
  local last = 0
  for from, frame, to in frames:gmatch("()\n\t([^\n]*)()") do
    local own = frame:find("^%[C%]:") or frame:find("^%[glua[%].]") or frame == "..."
    if not own and from > last then
      last = to - 1
    end
  end
  return message .. frames:sub(1, last)
end

---The exit status of the program when main has ended; prints why it failed.
function core.hooks.exit_status(g)
  if core.state(g) ~= "failed" then
    return status
  end
  local env = core.env(g)
  local e = env.error
  if type(e) == "table" and rawget(e, "kind") == "interrupted" then
    io.stderr:write("gluarun: interrupted\n")
    return 130
  end
  io.stderr:write("gluarun: ", user_traceback(env.traceback), "\n")
  return 1
end

return main
