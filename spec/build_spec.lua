-- build_spec.lua: what the build has made: one file that is the whole runtime.

local helper = require "spec.helper"

-- Runs code in an empty folder, by the program alone.
local function run_alone(code)
  local dir = os.tmpname()
  os.remove(dir)
  os.execute(("mkdir '%s'"):format(dir))
  local relative = helper.program
  finally(function()
    helper.program = relative
    os.execute(("rmdir '%s'"):format(dir))
  end)
  if not relative:find("^/") then
    local pwd = assert(io.popen("pwd"))
    helper.program = pwd:read("*l") .. "/" .. relative
    pwd:close()
  end
  return helper.gluarun({"-e", code},
    {wrap = ("env -u GLUARUN_LUA -u LUA_PATH -u LUA_CPATH -C '%s'"):format(dir)})
end

local function modules()
  local list = {}
  local listing = assert(io.popen("ls lua/glua"))
  for name in listing:lines() do
    local base = name:match("^(.*)%.lua$")
    list[#list + 1] = base == "init" and "glua" or "glua." .. base
  end
  listing:close()
  return list
end

describe("the build", function()
  helper.leaves_nothing_behind()

  it("has set up all that it needs", function()
    local shell = assert(io.popen("bin/setup --check --test 2>&1; echo $?"))
    assert.equal("0\n", shell:read("*a"))
    shell:close()
  end)

  it("tells what bin/setup takes, and refuses the rest", function()
    local shell = assert(io.popen("bin/setup --help; echo $?; bin/setup --nope 2>&1; echo $?"))
    local out = shell:read("*a")
    shell:close()
    assert.matches("^usage: bin/setup .*\n0\n", out)
    assert.matches("\nsetup: unknown option: %-%-nope\nusage: .*\n2\n$", out)
  end)

  it("carries every module in the program", function()
    local names = modules()
    assert.is_true(#names > 15)
    local result = run_alone(([[
      for name in ("%s"):gmatch("%%S+") do
        if name ~= "glua.command" and name ~= "glua.boot" then
          assert(require(name), name)
        end
      end
      local glua = require "glua"
      local g = glua.spawn(function() glua.sleep(0.001) return "ran" end)
      print(g:get())
    ]]):format(table.concat(names, " ")))
    assert.same({status = 0, out = "ran\n", err = ""}, result)
  end)

  it("does not take modules from the folder in which it runs", function()
    local dir = os.tmpname()
    os.remove(dir)
    os.execute(("mkdir -p '%s/glua'"):format(dir))
    finally(function() os.execute(("rm -r '%s'"):format(dir)) end)
    local file = assert(io.open(dir .. "/glua/pool.lua", "w"))
    file:write("error('the wrong module')")
    file:close()
    local result = helper.gluarun({"-e", "print(type(require('glua.pool').Pool))"},
      {env = ("LUA_PATH='%s/?.lua'"):format(dir)})
    assert.same({status = 0, out = "function\n", err = ""}, result)
  end)

  it("keeps the line numbers of its modules", function()
    local result = run_alone([[
      local pool = require("glua.pool").Pool(2)
      pool:map(function(x) return x + {} end, {1, 2})
    ]])
    assert.equal(1, result.status)
    assert.matches("\n\t%[glua%.%w+%]:%d+: in ", result.err)
    assert.is_nil(result.err:find("%[glua%.%w+%]: in ")) -- a frame without its line
  end)

  it("knows its version", function()
    local result = run_alone("print(require('glua').version)")
    assert.equal("gluarun " .. result.out:match("^%S+"),
      helper.gluarun({"-v"}).out:match("^%S+ %S+"))
  end)
end)
