-- yieldable_spec.lua: the replaced functions do what stock LuaJIT's do, and may park.

local Event = require("glua.event").Event
local glua = require "glua"
local helper = require "spec.helper"

local CASES = "spec/fixtures/yieldable/cases.lua"
local LOOP = "loop or previous error loading module '%s'"

local function output_of(program)
  local pipe = assert(io.popen(program .. " " .. CASES .. " 2>&1"))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

-- Ends the greenlet `other`, which ran while fn did; passes on what pcall(fn) returned.
local function finish(other, state, ok, ...)
  state.done = true
  other:join()
  assert(ok, ...)
  assert.is_true(state.turns > 0, "no other greenlet ran")
  return ...
end

-- Calls fn and returns its results; another greenlet must have run meanwhile.
local function others_run(fn)
  local state = {turns = 0, done = false}
  local other = glua.spawn(function()
    while not state.done do
      state.turns = state.turns + 1
      glua.sleep(0)
    end
  end)
  return finish(other, state, pcall(fn))
end

-- Has functions called as the loaders of modules, until the `it` is over.
local function preload(loaders)
  for name, loader in pairs(loaders) do
    package.preload[name] = loader
  end
  finally(function()
    for name in pairs(loaders) do
      package.preload[name], package.loaded[name] = nil, nil
    end
  end)
end

-- pcall(require, name) in a greenlet.
local function spawn_require(name)
  return glua.spawn(pcall, require, name)
end

local function reader(...)
  local pieces, i = {...}, 0
  return function()
    glua.sleep(0.001)
    i = i + 1
    return pieces[i]
  end
end

describe("glua.yieldable", function()
  helper.leaves_nothing_behind()

  it("has the results and errors of stock LuaJIT", function()
    local stock, ours = output_of("luajit"), output_of(helper.program)
    assert.matches("\n6000: true", stock, 1, true)
    if stock ~= ours then
      local theirs = ours:gmatch("[^\n]*")
      for line in stock:gmatch("[^\n]*") do
        assert.equal(line, theirs())
      end
    end
  end)

  describe("table.sort", function()
    it("may park in the comparator", function()
      local t = {5, 2, 8, 1, 9, 3}
      others_run(function()
        table.sort(t, function(a, b)
          glua.sleep(0.001)
          return a < b
        end)
      end)
      assert.same({1, 2, 3, 5, 8, 9}, t)
    end)

    it("may park in __lt", function()
      local mt = {__lt = function(a, b)
        glua.sleep(0.001)
        return a.key < b.key
      end}
      local t = {}
      for i, key in ipairs {3, 1, 2} do
        t[i] = setmetatable({key = key}, mt)
      end
      others_run(function()
        table.sort(t)
      end)
      assert.same({1, 2, 3}, {t[1].key, t[2].key, t[3].key})
    end)

    it("is left by a kill in the comparator", function()
      local g = glua.spawn(function()
        table.sort({3, 2, 1}, function()
          glua.sleep(10)
        end)
      end)
      glua.sleep(0)
      assert.is_true(g:kill())
    end)

    it("sorts several tables at the same time", function()
      local results = {}
      local greenlets = {}
      for n = 1, 5 do
        greenlets[n] = glua.spawn(function()
          local t = {}
          for i = 1, 20 do
            t[i] = i * n % 7
          end
          table.sort(t, function(a, b)
            glua.sleep(0)
            return a < b
          end)
          results[n] = t
        end)
      end
      glua.joinall(greenlets)
      for n = 1, 5 do
        for i = 2, 20 do
          assert.is_true(results[n][i - 1] <= results[n][i])
        end
      end
    end)
  end)

  describe("string.gsub", function()
    it("may park in the function", function()
      local text, count = others_run(function()
        return ("a-b-c"):gsub("%w", function(c)
          glua.sleep(0.001)
          return c:upper()
        end)
      end)
      assert.equal("A-B-C", text)
      assert.equal(3, count)
    end)

    it("may park in the table's __index", function()
      local words = setmetatable({}, {__index = function(_, key)
        glua.sleep(0.001)
        return "<" .. key .. ">"
      end})
      assert.equal("<a>-<b>", others_run(function()
        return (string.gsub("a-b", "%w", words))
      end))
    end)
  end)

  describe("require", function()
    it("may park in the module", function()
      preload {
        spec_slow = function(name)
          glua.sleep(0.001)
          return {name = name}
        end
      }
      local module = others_run(function()
        return require("spec_slow")
      end)
      assert.equal("spec_slow", module.name)
      assert.equal(module, require("spec_slow"))
    end)

    it("may park in a searcher", function()
      local function search(name)
        if name == "spec_searched" then
          glua.sleep(0.001)
          return function()
            return "found"
          end
        end
      end
      table.insert(package.loaders, 1, search)
      finally(function()
        table.remove(package.loaders, 1)
        package.loaded.spec_searched = nil
      end)
      assert.equal("found", others_run(function()
        return require("spec_searched")
      end))
    end)

    it("may park in a coroutine of the script's own", function()
      preload {
        spec_slow = function()
          glua.sleep(0.001)
          return "slow"
        end
      }
      local co = coroutine.wrap(function()
        coroutine.yield(require("spec_slow"))
      end)
      assert.equal("slow", others_run(co))
    end)

    it("loads a module once for all who wait", function()
      local loads = 0
      preload {
        spec_slow = function()
          loads = loads + 1
          glua.sleep(0.002)
          return {}
        end
      }
      local first, second = spawn_require("spec_slow"), spawn_require("spec_slow")
      local module = require("spec_slow")
      assert.equal(1, loads)
      assert.equal(module, select(2, first:get()))
      assert.equal(module, select(2, second:get()))
    end)

    it("gives those who wait a result that is false", function()
      preload {
        spec_false = function()
          glua.sleep(0.001)
          return false
        end
      }
      local first, second = spawn_require("spec_false"), spawn_require("spec_false")
      assert.is_false(select(2, first:get()))
      assert.is_false(select(2, second:get()))
    end)

    it("loads different modules at the same time", function()
      local order = {}
      local function loader(name)
        order[#order + 1] = name
        glua.sleep(0.001)
        order[#order + 1] = name
      end
      preload {spec_a = loader, spec_b = loader}
      glua.joinall {spawn_require("spec_a"), spawn_require("spec_b")}
      assert.same({"spec_a", "spec_b"}, {order[1], order[2]})
    end)

    it("tells those who wait that the load failed", function()
      local failure = {}
      preload {
        spec_fails = function()
          glua.sleep(0.001)
          error(failure)
        end
      }
      local first, second = spawn_require("spec_fails"), spawn_require("spec_fails")
      local ok, e = first:get()
      assert.is_false(ok)
      assert.equal(failure, e)
      ok, e = second:get()
      assert.is_false(ok)
      assert.equal(LOOP:format("spec_fails"), e)
      assert.has_error(function()
        require("spec_fails")
      end, LOOP:format("spec_fails"))
    end)

    it("has each who waits search for a module that was not found", function()
      local searches = 0
      table.insert(package.loaders, function(name)
        if name == "spec_missing" then
          searches = searches + 1
          glua.sleep(0.001)
        end
      end)
      finally(function()
        table.remove(package.loaders)
      end)
      local first, second = spawn_require("spec_missing"), spawn_require("spec_missing")
      assert.matches("module 'spec_missing' not found", select(2, first:get()))
      assert.matches("module 'spec_missing' not found", select(2, second:get()))
      assert.equal(2, searches)
    end)

    it("is done by the next who waits when the first is killed", function()
      local loads = 0
      preload {
        spec_slow = function()
          loads = loads + 1
          glua.sleep(loads == 1 and 10 or 0.001)
          return "slow"
        end
      }
      local first = glua.spawn(require, "spec_slow")
      local second, third = spawn_require("spec_slow"), spawn_require("spec_slow")
      glua.sleep(0)
      first:kill()
      assert.equal("slow", select(2, second:get()))
      assert.equal("slow", select(2, third:get()))
      assert.equal(2, loads)
    end)

    it("can be repeated after a timeout", function()
      local seconds = 10
      preload {
        spec_slow = function()
          glua.sleep(seconds)
          return "slow"
        end
      }
      local ok, e = pcall(glua.with_timeout, 0.002, require, "spec_slow")
      assert.is_false(ok)
      assert.is_true(glua.is_error(e, "Timeout"))
      seconds = 0
      assert.equal("slow", require("spec_slow"))
    end)

    it("goes on when one who waits is killed", function()
      local open = Event()
      preload {
        spec_slow = function()
          open:wait()
          return "slow"
        end
      }
      local first, second = spawn_require("spec_slow"), glua.spawn(require, "spec_slow")
      glua.sleep(0)
      assert.is_true(second:kill())
      assert.is_false(first:ready())
      open:set()
      assert.equal("slow", select(2, first:get()))
    end)

    it("reports a loop within a greenlet", function()
      preload {
        spec_a = function()
          glua.sleep(0)
          require("spec_b")
        end,
        spec_b = function()
          glua.sleep(0)
          require("spec_a")
        end,
      }
      assert.has_error(function()
        require("spec_a")
      end, LOOP:format("spec_a"))
    end)

    it("reports a loop over two greenlets, and only to the one that closes it", function()
      preload {
        spec_a = function()
          glua.sleep(0.001)
          return {pcall(require, "spec_b")}
        end,
        spec_b = function()
          glua.sleep(0.002)
          return {pcall(require, "spec_a")}
        end,
      }
      local first, second = spawn_require("spec_a"), spawn_require("spec_b")
      local a, b = select(2, first:get()), select(2, second:get())
      assert.same({false, LOOP:format("spec_a")}, b)
      assert.same({true, b}, a)
    end)

    it("reports a loop over three greenlets", function()
      local function loader(wanted, seconds)
        return function()
          glua.sleep(seconds)
          return {pcall(require, wanted)}
        end
      end
      preload {
        spec_a = loader("spec_b", 0.001),
        spec_b = loader("spec_c", 0.002),
        spec_c = loader("spec_a", 0.003),
      }
      local first = spawn_require("spec_a")
      local second, third = spawn_require("spec_b"), spawn_require("spec_c")
      local a, b = select(2, first:get()), select(2, second:get())
      local c = select(2, third:get())
      assert.same({false, LOOP:format("spec_a")}, c)
      assert.same({true, c}, b)
      assert.same({true, b}, a)
    end)

    it("leaves the traceback of a module's error in the report", function()
      local result = helper.run [[
        package.preload.outer = function() local x = require("inner") return x end
        package.preload.inner = function()
          local function deep() error("too deep") end
          local x = deep()
          return x
        end
        local x = require("outer")
        return x
      ]]
      assert.equal(1, result.status)
      assert.matches(":3: too deep", result.err, 1, true)
      assert.matches(":3: in function 'deep'", result.err, 1, true)
    end)
  end)

  describe("dofile", function()
    it("may park in the chunk", function()
      local path = os.tmpname()
      finally(function()
        os.remove(path)
      end)
      local file = assert(io.open(path, "w"))
      file:write("require('glua').sleep(0.001) return 1, nil, 3")
      file:close()
      local a, b, c = others_run(function()
        return dofile(path)
      end)
      assert.same({1, nil, 3}, {a, b, c})
    end)
  end)

  describe("load", function()
    it("may park in the reader", function()
      local chunk = others_run(function()
        return load(reader("return ", "1", "2"))
      end)
      assert.equal(12, chunk())
    end)

    it("returns the error of a reader that has parked", function()
      local chunk, e = others_run(function()
        return load(function()
          glua.sleep(0.001)
          error("broken off", 0)
        end)
      end)
      assert.is_nil(chunk)
      assert.equal("broken off", e)
    end)
  end)

  describe("print", function()
    it("may park in __tostring, and writes the line at once", function()
      local result = helper.run [[
        local glua = require "glua"
        local slow = setmetatable({}, {__tostring = function()
          glua.sleep(0.002)
          return "slow"
        end})
        glua.spawn(print, "meanwhile")
        print("a", slow, "z")
      ]]
      assert.equal("", result.err)
      assert.equal("meanwhile\na\tslow\tz\n", result.out)
    end)
  end)
end)
