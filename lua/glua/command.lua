-- command.lua: what `gluarun [options] [script [args]]` does.

local _, core = ...

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

-- The global `arg`, as lua has it: the script at 0, its arguments after it.
local function set_arg(argv, script)
  local arg = {}
  for i = 0, #argv do
    arg[i - (script or #argv + 1)] = argv[i]
  end
  if not script then
    arg = {[0] = argv[0]}
  end
  _G.arg = arg
end

-- Runs one option.
local function act(action)
  local what, value = action[1], action[2]
  if what == "help" then
    print(HELP)
  elseif what == "version" then
    print(("gluarun %s (%s)"):format(core.version, jit.version))
  elseif what == "-l" then
    _G[value] = require(value)
  else
    local chunk, message = loadstring(value, "=(command line)")
    if not chunk then
      error(message, 0)
    end
    chunk()
  end
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
    act(action)
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

-- The traceback without what the command itself adds at its end.
local function user_traceback(text)
  local at = text:find("\n\t[^\n]*%[glua%.command%]")
  return at and text:sub(1, at - 1) or text
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
