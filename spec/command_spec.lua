-- command_spec.lua: gluarun, the command: options, `arg`, exit statuses, error reports.

local helper = require "spec.helper"

-- SIGINT as in a shell's foreground, whatever the specs' own parent has done to it. Scripts
-- send it by io.popen: os.execute has it ignored while it runs.
local INTERRUPTIBLE = {wrap = "env --default-signal=INT"}

local function write(text, path)
  path = path or os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
  finally(function() os.remove(path) end)
  return path
end

-- What luajit does with the same arguments.
local function luajit(args, options)
  local program = helper.program
  helper.program = "luajit"
  local result = helper.gluarun(args, options)
  helper.program = program
  return result
end

-- Runs code; nothing but its output and its status may come of it.
local function run(...)
  local result = helper.gluarun {...}
  assert.equal("", result.err)
  return result.out, result.status
end

-- The report of a script that fails: what is on stderr; status 1.
local function failure(text)
  local result = helper.run(text)
  assert.equal(1, result.status)
  assert.equal("", result.out)
  local name = result.path:gsub("%p", "%%%0")
  return (result.err:gsub(name, "script.lua"))
end

describe("gluarun, the command", function()
  helper.leaves_nothing_behind()

  -- ---- options and arguments ----

  -- Prints `arg` and `...`.
  local show = [[
    local keys = {}
    for i in pairs(arg) do
      keys[#keys + 1] = i
    end
    table.sort(keys)
    for n, i in ipairs(keys) do
      print(i, n == 1 and "the program" or arg[i])
    end
    print(select("#", ...), ...)
  ]]

  it("has arg and ... as luajit has them", function()
    local script = write(show)
    for _, args in ipairs {
      {script}, {script, "a", "b c", ""}, {"-e", "x = 1", script, "-e"}, {"-ex=1", script, "a"},
      {"--", script, "--"}, {"-lstring", "-l", "table", script}, {"-", "a", "b"}, {},
      {"-e", show}, {"-e", show, "-e", "print(...)"}, {script, "-"},
    } do
      local options = {input = show}
      local expected = luajit(args, options)
      local result = helper.gluarun(args, options)
      assert.equal("", result.err)
      assert.equal(expected.out, result.out)
      assert.equal(0, result.status)
    end
  end)

  it("carries options out in their order, in one global environment", function()
    local script = write "print('script', x, string)"
    local out, status = run("-e", "x = 1", "-e", "print(x) x = x + 1", "-v", "-e", "print(x)",
      script)
    assert.matches("^1\ngluarun %S+ %(LuaJIT [^\n]*%)\n2\nscript\t2\ttable: 0x%x+\n$", out)
    assert.equal(0, status)
  end)

  it("requires modules with -l, and gives them their global name", function()
    assert.equal("function\ttable\n", (run("-lglua", "-l", "glua.queue", "-e",
      "print(type(glua.spawn), type(_G['glua.queue']))")))
  end)

  it("runs standard input for '-', and without a script", function()
    local options = {input = "print('from stdin', ...)"}
    assert.equal("from stdin\ta\n", helper.gluarun({"-", "a"}, options).out)
    assert.equal("from stdin\n", helper.gluarun({}, options).out)
  end)

  it("skips a first line that starts with #", function()
    local script = write "#!/usr/bin/env gluarun\nprint('ran')\nprint(debug.getinfo(1).currentline)"
    assert.equal("ran\n3\n", (run(script)))
  end)

  it("is a script's interpreter", function()
    local pwd = assert(io.popen("pwd"))
    local program = helper.program
    if not program:find("^/") then
      program = pwd:read("*l") .. "/" .. program
    end
    pwd:close()
    local script = write(("#!%s\nprint('interpreted', ...)"):format(program))
    os.execute(("chmod +x %s"):format(script))
    local shell = assert(io.popen(script .. " a b"))
    assert.equal("interpreted\ta\tb\n", shell:read("*a"))
    shell:close()
  end)

  it("shows its version and its help", function()
    for _, option in ipairs {"-v", "--version"} do
      local out, status = run(option)
      assert.matches("^gluarun %S+ %(LuaJIT 2%.1[^\n]*%)\n$", out)
      assert.equal(0, status)
    end
    for _, option in ipairs {"-h", "--help"} do
      local out, status = run(option)
      assert.matches("^usage: gluarun %[options%] %[script%.lua | %-%] %[args%]\n", out)
      for _, word in ipairs {"-e CODE", "-l MODULE", "-v", "-h", "--", "GLUARUN_LUA"} do
        assert.is_truthy(out:find("  " .. word, 1, true) or out:find(word, 1, true))
      end
      assert.equal(0, status)
    end
  end)

  it("explains bad usage, with status 2", function()
    local usage = "\nusage: gluarun [options] [script.lua | -] [args]\n"
    for args, message in pairs {
      [{"-z"}] = "gluarun: unknown option '-z'",
      [{"--nope", "x.lua"}] = "gluarun: unknown option '--nope'",
      [{"-e"}] = "gluarun: option '-e' needs an argument",
      [{"-e", "print(1)", "-l"}] = "gluarun: option '-l' needs an argument",
    } do
      local result = helper.gluarun(args)
      assert.same({status = 2, out = "", err = message .. usage}, result)
    end
  end)

  it("explains itself when there is no script and a terminal", function()
    local shell = assert(io.popen(("script -qec %s /dev/null </dev/null; echo $?")
      :format(helper.program)))
    local out = shell:read("*a"):gsub("\r", "")
    shell:close()
    assert.equal("gluarun: no script\nusage: gluarun [options] [script.lua | -] [args]\n2\n", out)
  end)

  -- ---- exit statuses ----

  it("ends with 0, or 1 after an error, or os.exit's own", function()
    for code, expected in pairs {
      ["return 7"] = 0,
      ["os.exit()"] = 0,
      ["os.exit(true)"] = 0,
      ["os.exit(false)"] = 1,
      ["os.exit(7)"] = 7,
      ["os.exit(7, true)"] = 7,
      ["local glua = require 'glua' glua.spawn(os.exit, 9) glua.sleep(10)"] = 9,
      ["local glua = require 'glua' glua.spawn(os.exit, 9, true) glua.sleep(10)"] = 9,
      ["local glua = require 'glua' glua.spawn(glua.sleep, 10)"] = 0,
      ["local s = require('glua.socket').bind('127.0.0.1', 0)"
        .. " require('glua').spawn(s.accept, s) require('glua').sleep(0) os.exit(3, true)"] = 3,
    } do
      local result = helper.gluarun {"-e", code}
      assert.same({status = expected, out = "", err = ""}, result)
    end
    assert.equal(1, helper.gluarun({"-e", "error('x')"}).status)
    assert.equal(1, helper.gluarun({"/no/such/script.lua"}).status)
  end)

  it("writes out what was printed before os.exit", function()
    assert.equal("printed\n", (run("-e", "print('printed') os.exit(0)")))
    assert.equal("printed\n", (run("-e",
      "local glua = require 'glua' glua.spawn(function() print('printed') os.exit(0) end) "
      .. "glua.sleep(10)")))
  end)

  it("ends with 130 when it is interrupted", function()
    local result = helper.gluarun({"-e", [[
      io.popen("kill -INT $PPID"):close()
      require("glua").sleep(10)
    ]]}, INTERRUPTIBLE)
    assert.same({status = 130, out = "", err = "gluarun: interrupted\n"}, result)
  end)

  it("lets main catch an interruption and clean up", function()
    local result = helper.gluarun({"-e", [[
      local glua = require "glua"
      io.popen("kill -INT $PPID"):close()
      local ok, e = pcall(glua.sleep, 10)
      print(ok, e, glua.is_error(e, "interrupted"))
      glua.sleep(0.001)
      print("cleaned")
    ]]}, INTERRUPTIBLE)
    assert.same({status = 0, out = "false\tinterrupted\ttrue\ncleaned\n", err = ""}, result)
  end)

  it("ends at once at the second interruption, whatever runs", function()
    for _, code in ipairs {
      "while true do end",
      "while true do pcall(error) end",
      "while true do pcall(require('glua').sleep, 10) end",
      "local s = ('x'):rep(100) while true do s:find('.-.-.-.-y') end",
    } do
      local result = helper.gluarun({"-e", [[
        io.popen("(kill -INT $PPID; sleep 0.05; kill -INT $PPID) >/dev/null &"):close()
      ]] .. code}, INTERRUPTIBLE)
      assert.equal("", result.out)
      assert.equal(130, result.status)
    end
  end)

  it("leaves SIGINT ignored where its parent has it so", function()
    local result = helper.gluarun({"-e", [[
      io.popen("kill -INT $PPID"):close()
      require("glua").sleep(0.01)
      print "went on"
    ]]}, {wrap = "env --ignore-signal=INT"})
    assert.same({status = 0, out = "went on\n", err = ""}, result)
  end)

  -- ---- errors ----

  it("shows an error with its place and the script's frames", function()
    assert.equal([[
gluarun: script.lua:1: deep
stack traceback:
	[C]: in function 'error'
	script.lua:1: in function 'f'
	script.lua:2: in function 'g'
	script.lua:3: in main chunk
]], failure "local function f() error('deep') end\nlocal function g() f() end\ng()\n")
    assert.equal([[
gluarun: script.lua:2: attempt to index global 'nothing' (a nil value)
stack traceback:
	script.lua:2: in main chunk
]], failure "\nprint(nothing.field)\n")
  end)

  it("shows the error of a chunk of its options and of standard input", function()
    local result = helper.gluarun {"-e", "error('boom')"}
    assert.equal([[
gluarun: (command line):1: boom
stack traceback:
	[C]: in function 'error'
	(command line):1: in main chunk
]], result.err)
    result = helper.gluarun({"-"}, {input = "\nerror('boom')"})
    assert.equal([[
gluarun: stdin:2: boom
stack traceback:
	[C]: in function 'error'
	stdin:2: in main chunk
]], result.err)
  end)

  it("shows nothing but the message where no script has run", function()
    assert.equal("gluarun: script.lua:1: unexpected symbol near '='\n", failure "x = = 1")
    local no_symbol = "gluarun: (command line):1: unexpected symbol near '<eof>'\n"
    assert.equal(no_symbol, helper.gluarun({"-e", "x ="}).err)
    for args, message in pairs {
      [{"/no/such.lua"}] = "gluarun: cannot open /no/such.lua: No such file or directory\n",
      [{"/tmp"}] = "gluarun: cannot read /tmp: Is a directory\n",
    } do
      assert.same({status = 1, out = "", err = message}, helper.gluarun(args))
    end
    local err = helper.gluarun({"-l", "no.such.module"}).err
    assert.matches("^gluarun: module 'no%.such%.module' not found:\n", err)
    assert.is_nil(err:find("traceback", 1, true))
    assert.is_nil(err:find("glua.command", 1, true))
  end)

  it("shows the frames of a module that fails", function()
    local dir = os.tmpname()
    os.remove(dir)
    os.execute("mkdir " .. dir)
    finally(function() os.execute(("rm -r '%s'"):format(dir)) end)
    local file = assert(io.open(dir .. "/failing.lua", "w"))
    file:write("local function f() error('in the module') end\nf()\n")
    file:close()
    local options = {env = ("LUA_PATH='%s/?.lua;;'"):format(dir)}
    local name = dir:gsub("%p", "%%%0")
    local err = helper.gluarun({"-l", "failing"}, options).err
    assert.equal([[
gluarun: DIR/failing.lua:1: in the module
stack traceback:
	[C]: in function 'error'
	DIR/failing.lua:1: in function 'f'
	DIR/failing.lua:2: in main chunk
]], (err:gsub(name, "DIR")))
    err = helper.gluarun({"-e", "\nrequire 'failing'"}, options).err
    assert.matches("^gluarun: DIR/failing%.lua:1: in the module\nstack traceback:\n"
      .. "\t%[C%]: in function 'error'\n\tDIR/failing%.lua:1: in function 'f'\n"
      .. "\tDIR/failing%.lua:2: in main chunk\n.*\n\t%(command line%):2: in main chunk\n$",
      (err:gsub(name, "DIR")))
    assert.is_nil(err:find("glua.command", 1, true))
  end)

  it("shows error values of any type", function()
    for code, expected in pairs {
      ["error({})"] = "(error object is a table value)",
      ["error(nil)"] = "(error object is a nil value)",
      ["error()"] = "(error object is a nil value)",
      ["error(true)"] = "(error object is a boolean value)",
      ["error(42, 0)"] = "42",
      ["error('', 0)"] = "",
      ["error('two\\nlines', 0)"] = "two\nlines",
      ["error(setmetatable({}, {__tostring = function() return 'shown' end}))"] = "shown",
      ["error(setmetatable({}, {__tostring = error}))"] =
        "(error object is a table value whose __tostring fails)",
    } do
      assert.equal(("gluarun: %s\nstack traceback:\n\t[C]: in function 'error'\n"
        .. "\tscript.lua:1: in main chunk\n"):format(expected), failure(code))
    end
  end)

  it("keeps the frames of a stack overflow readable", function()
    local err = failure "local function f() return 1 + f() end\nf()\n"
    assert.matches("^gluarun: script%.lua:1: stack overflow", err)
    assert.matches("\n\t%.%.%.\n", err)
    assert.matches("\n\tscript%.lua:2: in main chunk\n$", err)
    assert.is_true(#err < 4000)
  end)

  it("shows who waits for what when main would wait for ever", function()
    local err = failure [[
      local s = require("glua.socket").bind("127.0.0.1", 0)
      require("glua.event").Event():wait()
    ]]
    assert.matches("^gluarun: this operation would block forever: .*\n"
      .. "  <Greenlet 1 \"main\" parked in Event%.wait, script%.lua:2>", err)
    assert.is_nil(err:find("glua.command", 1, true))
  end)

  -- ---- its surroundings ----

  it("goes on when nobody reads its output any more", function()
    local shell = assert(io.popen(("{ { %s -e 'for i = 1, 1e5 do print(i) end os.exit(5)'; "
      .. "echo $? >&3; } | head -1; } 3>&1"):format(helper.program)))
    assert.equal("1\n5\n", shell:read("*a"))
    shell:close()
  end)

  it("leaves SIGPIPE's ordinary effect to what it executes", function()
    local out, status = run("-e", "os.execute('yes | head -1')")
    assert.equal("y\n", out)
    assert.equal(0, status)
  end)

  it("starts in an empty environment", function()
    local result = helper.gluarun({"-e", "require 'glua' print('hello', os.getenv('HOME'))"},
      {wrap = "env -i"})
    assert.same({status = 0, out = "hello\tnil\n", err = ""}, result)
  end)

  it("starts with its standard descriptors closed, and gives their numbers to no socket", function()
    local result = helper.gluarun({"-e",
      "print('lost') os.exit(require('glua.socket').tcp4():getfd() > 2)"},
      {wrap = "sh -c 'exec \"$@\" <&- >&- 2>&-' sh"})
    assert.same({status = 0, out = "", err = ""}, result)
  end)

  it("loads its modules from the folder that GLUARUN_LUA names", function()
    local dir = os.tmpname()
    os.remove(dir)
    os.execute(("mkdir '%s' && cp -r lua/glua '%s'"):format(dir, dir))
    finally(function() os.execute(("rm -r '%s'"):format(dir)) end)
    local file = assert(io.open(dir .. "/glua/locals.lua", "w"))
    file:write("return {changed = debug.getinfo(1).source}\n")
    file:close()
    local code = "require('glua').sleep(0.001) print(require('glua.locals').changed)"
    assert.equal("=[glua.locals]\n",
      helper.gluarun({"-e", code}, {env = ("GLUARUN_LUA='%s'"):format(dir)}).out)
    assert.equal("nil\n", helper.gluarun({"-e", code}, {env = "GLUARUN_LUA=lua"}).out)
    assert.equal("nil\n", helper.gluarun({"-e", code}, {env = "GLUARUN_LUA=/no/such/dir"}).out)
  end)
end)
