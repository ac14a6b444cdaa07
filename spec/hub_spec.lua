-- hub_spec.lua: the hub: order and fairness, time, the end of the program, and what it makes
-- of errors that nobody catches.

local glua = require "glua"
local event = require "glua.event"
local helper = require "spec.helper"

local burn = helper.burn

-- How often a text occurs in another.
local function count(text, part)
  local n, at = 0, 1
  while true do
    local first, last = text:find(part, at, true)
    if not first then
      return n
    end
    n, at = n + 1, last + 1
  end
end

-- Asserts that a run ended well, with this output and nothing on stderr.
local function ran_well(result, expected)
  assert.equal("", result.err)
  assert.equal(expected, result.out)
  assert.equal(0, result.status)
end

describe("the hub", function()
  helper.leaves_nothing_behind()

  describe("runs what is ready", function()
    it("in the order in which it became ready", function()
      local order = {}
      local gate = event.Event()
      for i = 1, 5 do
        glua.spawn(function()
          gate:wait()
          order[#order + 1] = i
        end)
      end
      glua.sleep(0)
      gate:set()
      glua.spawn(function() order[#order + 1] = "spawned" end)
      glua.sleep(0)
      assert.same({1, 2, 3, 4, 5, "spawned"}, order)
    end)

    it("also when that is far more than it expected", function()
      local n = helper.many(5000)
      local list = {}
      for i = 1, n do
        list[i] = glua.spawn(function()
          glua.sleep(0)
          glua.sleep(0)
          return i
        end)
      end
      local ended = glua.joinall(list)
      assert.equal(n, #ended)
      for i, g in ipairs(ended) do
        assert(g:get() == i)
      end
    end)
  end)

  describe("is fair:", function()
    it("an endless loop of sleep(0) lets a 10 ms timer fire", function()
      local fired = false
      glua.spawn_later(0.01, function() fired = true end)
      while not fired do
        glua.sleep(0)
      end
    end)

    it("a hundred such loops let timers fire, in time order", function()
      local stop = false
      local loops = {}
      for i = 1, 100 do
        loops[i] = glua.spawn(function()
          while not stop do
            glua.sleep(0)
          end
        end)
      end
      local before = glua.now()
      glua.sleep(0.005)
      assert.is_true(glua.now() - before >= 0.005)
      stop = true
      glua.joinall(loops)
    end)

    it("such a loop lets signals and timeouts through", function()
      local t = glua.Timeout(0.003):start()
      local ok, e = pcall(function()
        while true do
          glua.sleep(0)
        end
      end)
      assert.is_false(ok)
      assert.equal(t, e)
    end)

    it("greenlets that spawn one another without end let timers fire", function()
      local stop = false
      local last
      local function again()
        if not stop then
          last = glua.spawn(again)
        end
      end
      again()
      glua.sleep(0.002)
      stop = true
      last:join()
      glua.idle()
    end)
  end)

  describe("fires timers", function()
    it("in the order of their deadlines", function()
      local order = {}
      local list = {}
      for _, ms in ipairs {5, 1, 4, 2, 3} do
        list[#list + 1] = glua.spawn(function()
          glua.sleep(ms / 1000)
          order[#order + 1] = ms
        end)
      end
      glua.sleep(0)
      burn(0.006)
      glua.joinall(list)
      assert.same({1, 2, 3, 4, 5}, order)
    end)

    it("of one deadline in the order of their start", function()
      local result = helper.run [[
        local glua = require "glua"
        local ffi = require "ffi"
        local order = {}
        for i = 1, 1000 do
          glua.spawn(function()
            glua.sleep(math.huge)
          end)
        end
        glua.sleep(0)
        -- Deadlines that are equal for sure: beyond what a double can tell apart.
        for i = 1, 100 do
          glua.spawn_later(1e300, print)
        end
        for i = 1, 100 do
          glua.spawn(function()
            glua.sleep(0.001)
            order[#order + 1] = i
          end)
        end
        glua.sleep(0.05)
        for i = 1, 100 do
          assert(order[i] == i, i)
        end
        print(#order)
      ]]
      ran_well(result, "100\n")
    end)

    it("that were started while it fires others not in the same turn", function()
      local rounds = 0
      local stop = false
      local g = glua.spawn(function()
        while not stop do
          glua.sleep(1e-9)
          rounds = rounds + 1
        end
      end)
      local ready = false
      local h = glua.spawn(function()
        glua.sleep(0.002)
        ready = true
      end)
      h:join()
      stop = true
      g:join()
      assert.is_true(ready and rounds > 0)
    end)

    it("not before their time, though the caller was busy before: the clock is fresh", function()
      burn(0.005)
      local before = glua.now()
      glua.sleep(0.003)
      assert.is_true(glua.now() - before >= 0.003)
      burn(0.005)
      before = glua.now()
      assert.is_false(event.Event():wait(0.003))
      assert.is_true(glua.now() - before >= 0.003)
      burn(0.005)
      before = glua.now()
      pcall(glua.with_timeout, 0.003, glua.sleep, 1000)
      assert.is_true(glua.now() - before >= 0.003)
      burn(0.005)
      before = glua.now()
      glua.spawn_later(0.003, function() end):join()
      assert.is_true(glua.now() - before >= 0.003)
    end)

    it("of many greenlets, each at its time", function()
      local random = 42
      local list, late = {}, 0
      for i = 1, helper.many(2000) do
        random = (random * 1103515245 + 12345) % 2147483648
        local seconds = random / 2147483648 * 0.02
        list[i] = glua.spawn(function()
          local before = glua.now()
          glua.sleep(seconds)
          if glua.now() - before < seconds then
            late = late + 1
          end
        end)
      end
      glua.joinall(list)
      assert.equal(0, late)
    end)

    it("and none that was taken back", function()
      local woken = 0
      local list = {}
      for i = 1, 100 do
        list[i] = glua.spawn(function()
          glua.sleep(0.001 + i / 1e5)
          woken = woken + 1
        end)
      end
      glua.sleep(0)
      for i = 1, 100, 2 do
        list[i]:kill(nil, {block = false})
      end
      glua.joinall(list)
      assert.equal(50, woken)
    end)
  end)

  describe("recycles coroutines, and a new greenlet", function()
    -- Runs fn to its end, alone, and then checks in a greenlet that has its coroutine.
    local function one_after_the_other(fn, check)
      local done = glua.spawn(fn)
      done:join()
      local g = glua.spawn(check)
      return g:get()
    end

    it("uses the one of an ended greenlet", function()
      glua.spawn(function() end):join()
      local spare = glua.gethub().stats().spare_coroutines
      assert.is_true(spare > 0)
      glua.spawn(function() glua.sleep(0) end)
      glua.sleep(0)
      assert.equal(spare - 1, glua.gethub().stats().spare_coroutines)
      glua.idle()
      assert.equal(spare, glua.gethub().stats().spare_coroutines)
    end)

    it("has the ordinary globals, whatever another did to its own", function()
      assert.equal(_G, one_after_the_other(function()
        setfenv(0, {})
      end, function()
        return getfenv(0)
      end))
    end)

    it("is another coroutine than one that a script has seen", function()
      local seen
      assert.is_true(one_after_the_other(function()
        seen = coroutine.running()
      end, function()
        return coroutine.running() ~= seen
      end))
      assert.equal("dead", coroutine.status(seen))
    end)

    it("does not get one in which an error was raised", function()
      glua.on_error(function() end)
      finally(function() glua.on_error(nil) end)
      local list = {}
      for i = 1, 10 do
        list[i] = glua.spawn(function()
          glua.sleep(0)
          error("e")
        end)
      end
      glua.joinall(list)
      glua.idle()
      for i = 1, 20 do
        assert.equal(i, glua.spawn(function(x)
          glua.sleep(0)
          return x
        end, i):get())
      end
    end)

    it("has no locals, no shield, no Timeout, no kill of another", function()
      glua.spawn(function()
        glua.getcurrent().locals.x = 1
        glua.getcurrent().name = "old"
        glua.Timeout(0.001):start()
      end):join()
      local g = glua.spawn(function()
        assert(glua.getcurrent().locals.x == nil)
        assert(glua.getcurrent().name == nil)
        glua.sleep(0.003)
        return "fine"
      end)
      assert.equal("fine", g:get())
      local dead = glua.spawn(glua.sleep, 1000)
      glua.sleep(0)
      dead:kill()
      g = glua.spawn(function()
        glua.sleep(0)
        return "fine"
      end)
      dead:kill()
      assert.equal("fine", g:get())
    end)

    it("leaves no results of another on its stack", function()
      for n = 0, 20 do
        local many = {}
        for i = 1, n do
          many[i] = i
        end
        glua.spawn(function() return unpack(many) end):join()
        assert.equal(0, select("#", glua.spawn(function(...) return ... end):get()))
      end
    end)
  end)

  describe("raises LoopExit in main", function()
    it("when nothing can wake it, and says who waits for what, and where", function()
      local result = helper.run [[
        local glua = require "glua"
        local event = require "glua.event"
        local queue = require "glua.queue"
        local q = queue.Queue()
        local e = event.Event()
        local g = glua.spawn(function()
          q:get()
        end)
        g.name = "consumer"
        glua.spawn_raw(function()
          e:wait()
        end)
        glua.spawn(function() g:join() end)
        glua.sleep(0)
        local ok, exit = pcall(function()
          e:wait()
        end)
        print(ok, exit.kind, glua.is_error(exit, "LoopExit"))
        print(#exit.greenlets)
        print(exit)
        glua.kill(g)
        print(g:ready())
      ]]
      assert.equal("", result.err)
      assert.equal(0, result.status)
      local lines = {}
      for line in result.out:gmatch("[^\n]*") do
        if line ~= "" then
          lines[#lines + 1] = line
        end
      end
      assert.equal("false\tLoopExit\ttrue", lines[1])
      assert.equal("4", lines[2])
      assert.equal("this operation would block forever: nothing can wake the main greenlet",
        lines[3])
      local text = table.concat(lines, "\n", 4, 7)
      local path = result.path:gsub("%p", "%%%0")
      assert.matches('<Greenlet 1 "main" parked in Event.wait, ' .. path
        .. ":16>, waiting for <Event clear, %d waiting>", text)
      assert.matches('<Greenlet 2 "consumer" parked in [%w.]+, ' .. path
        .. ":7>, waiting for <Queue", text)
      assert.matches("<greenlet 3 of spawn_raw parked in Event.wait, " .. path
        .. ":11>, waiting for <Event clear, %d waiting>", text)
      assert.matches("<Greenlet 4 parked in join, " .. path
        .. ':13>, waiting for <Greenlet 2 "consumer" parked', text)
      assert.equal("true", lines[8])
    end)

    it("which ends the program with status 1 if it is not caught", function()
      local result = helper.run 'require("glua.event").Event():wait()'
      assert.equal(1, result.status)
      assert.matches("^gluarun: this operation would block forever", result.err)
      assert.matches(result.path .. ":1:", result.err, 1, true)
    end)

    it("each time that this is so", function()
      ran_well(helper.run [[
        local glua = require "glua"
        local event = require "glua.event"
        local e = event.Event()
        for i = 1, 3 do
          print(select(2, pcall(e.wait, e)).kind)
        end
        glua.sleep(0)
        glua.sleep(0.001)
        print "goes on"
      ]], "LoopExit\nLoopExit\nLoopExit\ngoes on\n")
    end)

    it("also inside of a shield", function()
      ran_well(helper.run [[
        local glua = require "glua"
        local event = require "glua.event"
        print(select(2, pcall(glua.shield, function() event.Event():wait() end)).kind)
      ]], "LoopExit\n")
    end)

    it("through the coroutine in which it waits", function()
      ran_well(helper.run [[
        local glua = require "glua"
        local event = require "glua.event"
        local wait = coroutine.wrap(function() event.Event():wait() end)
        print(select(2, pcall(wait)).kind)
      ]], "LoopExit\n")
    end)

    it("lists fifty greenlets and counts the others", function()
      local result = helper.run [[
        local glua = require "glua"
        local event = require "glua.event"
        local e = event.Event()
        for i = 1, 100 do
          glua.spawn(e.wait, e)
        end
        glua.sleep(0)
        local _, exit = pcall(e.wait, e)
        print(select(2, tostring(exit):gsub("\n", "\n")), exit.greenlets[51])
      ]]
      ran_well(result, "51\t... and 51 more\n")
    end)

    it("only when no timer, Timeout or start is to come", function()
      ran_well(helper.run [[
        local glua = require "glua"
        local event = require "glua.event"
        local e = event.Event()
        glua.spawn(function()
          glua.sleep(0.002)
          e:set()
        end)
        print(e:wait())
        e:clear()
        glua.spawn_later(0.002, e.set, e)
        print(e:wait())
        e:clear()
        print(select(2, pcall(glua.with_timeout, 0.002, e.wait, e)))
        glua.spawn(function()
          pcall(glua.with_timeout, 0.002, function() event.Event():wait() end)
          e:set()
        end)
        print(e:wait())
      ]], "true\ntrue\nTimeout: 0.002 seconds\ntrue\n")
    end)
  end)

  describe("ends the program when main returns:", function()
    it("the others are killed, and their cleanup runs", function()
      local result = helper.run [[
        local glua = require "glua"
        for i = 1, 3 do
          glua.spawn(function()
            local ok, e = pcall(glua.sleep, 1000)
            print(i, ok, e)
            glua.shield(function()
              glua.sleep(0.002)
              print(i, "cleaned up")
            end)
            glua.sleep(0)
            print "not reached"
          end)
        end
        glua.spawn_raw(function()
          print("raw", select(2, pcall(glua.sleep, 1000)))
        end)
        glua.sleep(0)
        glua.spawn(print, "never started")
        glua.spawn_later(0.001, print, "never started")
        print "main ends"
      ]]
      ran_well(result, "main ends\n1\tfalse\tGreenletExit\n2\tfalse\tGreenletExit\n"
        .. "3\tfalse\tGreenletExit\nraw\tGreenletExit\n"
        .. "1\tcleaned up\n2\tcleaned up\n3\tcleaned up\n")
    end)

    it("at once when nobody is left", function()
      ran_well(helper.run 'require("glua").spawn(print, 1):join()', "1\n")
    end)

    it("within a short grace, whatever the others do", function()
      local before = glua.now()
      local result = helper.run [[
        local glua = require "glua"
        glua.spawn(function()
          pcall(glua.sleep, 1000)
          glua.shield(glua.sleep, 1000)
        end)
        glua.spawn(function()
          while true do
            glua.shield(glua.sleep, 0)
          end
        end)
        glua.sleep(0)
        print "main ends"
      ]]
      ran_well(result, "main ends\n")
      assert.is_true(glua.now() - before >= 0.5)
    end)

    it("also when it has failed, with status 1", function()
      local result = helper.run [[
        local glua = require "glua"
        glua.spawn(function()
          pcall(glua.sleep, 1000)
          print "cleaned up"
        end)
        glua.sleep(0)
        error "main fails"
      ]]
      assert.equal("cleaned up\n", result.out)
      assert.equal(1, result.status)
      assert.matches("^gluarun: " .. result.path:gsub("%p", "%%%0") .. ":7: main fails\n"
        .. "stack traceback:\n", result.err)
      assert.equal(1, count(result.err, "main fails"))
    end)

    it("with what the others fail with then on stderr", function()
      local result = helper.run [[
        local glua = require "glua"
        glua.spawn(function()
          pcall(glua.sleep, 1000)
          error "in the cleanup"
        end)
        glua.sleep(0)
      ]]
      assert.equal(0, result.status)
      assert.matches("in the cleanup\nstack traceback:", result.err, 1, true)
    end)

    it("at once by os.exit, also in another greenlet", function()
      local result = helper.run [[
        local glua = require "glua"
        glua.spawn(function()
          pcall(glua.sleep, 1000)
          print "not reached"
        end)
        glua.spawn(os.exit, 7)
        glua.sleep(1000)
      ]]
      assert.equal("", result.out)
      assert.equal(7, result.status)
    end)

    it("and those that can never be woken do not keep it", function()
      ran_well(helper.run [[
        local glua = require "glua"
        local event = require "glua.event"
        glua.spawn(function()
          pcall(function() event.Event():wait() end)
          glua.shield(function() event.Event():wait() end)
        end)
        glua.sleep(0)
        print "main ends"
      ]], "main ends\n")
    end)

    it("killed by another greenlet, it ends well", function()
      ran_well(helper.run [[
        local glua = require "glua"
        local main = glua.getcurrent()
        glua.spawn(function() main:kill(nil, {block = false}) end)
        print(select(2, pcall(glua.sleep, 1000)))
        glua.sleep(1000)
        print "not reached"
      ]], "GreenletExit\n")
    end)
  end)

  describe("prints the error of a greenlet that nobody waits for", function()
    it("once: traceback, then the greenlet and the error; and goes on", function()
      local result = helper.run [[
        local glua = require "glua"
        local function culprit()
          error("boom")
        end
        local g = glua.spawn(function()
          culprit()
        end)
        g.name = "fetch"
        glua.sleep(0)
        g:join()
        glua.sleep(0.001)
        print "goes on"
      ]]
      assert.equal("goes on\n", result.out)
      assert.equal(0, result.status)
      local path = result.path:gsub("%p", "%%%0")
      assert.matches("^" .. path .. ":3: boom\nstack traceback:\n", result.err)
      assert.matches(path .. ":3: in function 'culprit'\n", result.err)
      assert.matches('\n<Greenlet 2 "fetch" failed, spawned at ' .. path .. ":5> failed with "
        .. path .. ":3: boom\n$", result.err)
      assert.equal(1, count(result.err, "stack traceback:"))
      assert.equal(2, count(result.err, ":3: boom"))
    end)

    it("of spawn_raw, too", function()
      local result = helper.run [[
        local glua = require "glua"
        glua.spawn_raw(function() error("boom") end)
        glua.sleep(0)
      ]]
      local path = result.path:gsub("%p", "%%%0")
      assert.matches("^" .. path .. ":2: boom\nstack traceback:\n", result.err)
      assert.matches("\n<greenlet %d+ of spawn_raw> failed with " .. path .. ":2: boom\n$",
        result.err)
    end)

    it("whatever its type, even if its __tostring raises", function()
      local result = helper.run [[
        local glua = require "glua"
        glua.spawn(error)
        glua.spawn(error, {})
        glua.spawn(error, print)
        glua.spawn(error, setmetatable({}, {__tostring = function() return "readable" end}))
        glua.spawn(error, setmetatable({}, {__tostring = function() error("no") end}))
        glua.spawn(error, setmetatable({}, {__tostring = function() return 5, {} end}))
        glua.spawn(error, setmetatable({}, {__tostring = function() require("glua").sleep(1) end}))
        glua.sleep(0)
        print "goes on"
      ]]
      assert.equal("goes on\n", result.out)
      assert.equal(0, result.status)
      for _, text in ipairs {
        "failed with (error object is a nil value)\n",
        "failed with (error object is a table value)\n",
        "failed with (error object is a function value)\n",
        "failed with readable\n",
      } do
        assert.equal(1, count(result.err, text), text)
      end
      local broken = "failed with (error object is a table value whose __tostring fails)\n"
      assert.equal(2, count(result.err, broken))
      assert.equal(7, count(result.err, "stack traceback:"))
    end)

    it("of a stack overflow, and goes on", function()
      local result = helper.run [[
        local glua = require "glua"
        local function deep() return 1 + deep() end
        for i = 1, 3 do
          glua.spawn(deep)
        end
        local g = glua.spawn(glua.with_timeout, 1, deep)
        print(pcall(g.get, g))
        glua.sleep(0)
        print(glua.spawn(function() return "goes on" end):get())
      ]]
      assert.matches("^false\t[^\n]*stack overflow[^\n]*\ngoes on\n$", result.out)
      assert.equal(0, result.status)
      assert.equal(3, count(result.err, "> failed with "))
      assert.equal(3, count(result.err, "stack traceback:"))
      assert.matches("stack overflow", result.err, 1, true)
    end)

    it("of a lack of memory, and goes on", function()
      if helper.program:find("address", 1, true) then
        pending("AddressSanitizer needs more address space than the limit leaves")
      end
      local path = os.tmpname()
      finally(function() os.remove(path) end)
      local file = assert(io.open(path, "w"))
      file:write [[
        local glua = require "glua"
        local function hungry()
          local all = {}
          for i = 1, 1e9 do
            all[i] = ("x"):rep(1e7) .. i
          end
        end
        glua.spawn(hungry)
        glua.spawn_raw(hungry)
        local g = glua.spawn(hungry)
        print(pcall(g.get, g))
        print(pcall(hungry))
        print(glua.spawn(function() return "goes on" end):get())
      ]]
      file:close()
      local result = helper.gluarun({path}, {wrap = "prlimit --as=300000000"})
      assert.equal("false\tnot enough memory\nfalse\tnot enough memory\ngoes on\n", result.out)
      assert.equal(2, count(result.err, "> failed with not enough memory\n"))
      assert.equal(0, result.status)
    end)

    it("of a link, and calls the next ones", function()
      local result = helper.run [[
        local glua = require "glua"
        local function culprit() error("boom") end
        local g = glua.spawn(function() end)
        g:rawlink(function() culprit() end)
        g:link(function() culprit() end)
        g:link(print)
        glua.idle()
      ]]
      assert.matches("^<Greenlet 2 finished, spawned at .*>\n$", result.out)
      assert.equal(0, result.status)
      assert.equal(2, count(result.err, "in function 'culprit'"))
      assert.matches('<Greenlet %d+ "link" failed> failed with .*:2: boom\n', result.err)
    end)

    it("of a signal handler", function()
      local result = helper.run [[
        local glua = require "glua"
        local ffi = require "ffi"
        ffi.cdef "int getpid(void); int kill(int, int);"
        local handle = glua.signal("USR1", function(name) error("on " .. name) end)
        ffi.C.kill(ffi.C.getpid(), 10)
        glua.sleep(0.02)
        handle:cancel()
      ]]
      assert.matches("failed with .*:4: on SIGUSR1\n", result.err)
      assert.equal(1, count(result.err, "stack traceback:"))
    end)
  end)

  describe("survives finalizers", function()
    it("that fail: each is printed, and no greenlet, link or result is lost", function()
      local result = helper.run [[
        local glua = require "glua"
        local ffi = require "ffi"
        local N = 200
        local finalized = 0
        local function fail()
          finalized = finalized + 1
          error("in a finalizer", 0)
        end
        local function litter()
          getmetatable(newproxy(true)).__gc = fail
          ffi.gc(ffi.new("int[1]"), fail)
        end
        collectgarbage("setpause", 0)
        collectgarbage("setstepmul", 100000)
        local links, all = 0, {}
        glua.on_error(function() end)
        for i = 1, N do
          litter()
          local g = glua.spawn(function(n)
            litter()
            if n % 3 == 0 then
              error("own", 0)
            end
            glua.sleep(0)
            return n, {}
          end, i, 2)
          g:rawlink(function() links = links + 1 end)
          all[i] = g
          glua.sleep(0)
        end
        glua.joinall(all)
        glua.idle()
        for i, g in ipairs(all) do
          assert((i % 3 == 0 and g.exception == "own") or g:get() == i)
        end
        print(links, finalized > 0)
        collectgarbage()
        collectgarbage()
        print(finalized)
      ]]
      assert.equal("200\ttrue\n800\n", result.out)
      assert.equal(0, result.status)
      assert.equal(800, count(result.err, "gluarun: a finalizer failed with in a finalizer\n"))
    end)

    it("that spawn", function()
      ran_well(helper.run [[
        local glua = require "glua"
        local ran, made = 0, 0
        local function run() ran = ran + 1 end
        local function finalize()
          glua.spawn(run, 1, 2, 3)
          glua.spawn_raw(run)
        end
        collectgarbage("setpause", 0)
        collectgarbage("setstepmul", 100000)
        for i = 1, 200 do
          getmetatable(newproxy(true)).__gc = finalize
          made = made + 1
          assert(glua.spawn(function(...) return select("#", ...) end, i, {}, i):get() == 3)
        end
        collectgarbage()
        collectgarbage()
        glua.idle()
        print(made, ran)
      ]], "200\t400\n")
    end)

    it("that would park", function()
      local result = helper.run [[
        local glua = require "glua"
        local event = require "glua.event"
        getmetatable(newproxy(true)).__gc = function()
          event.Event():wait()
        end
        collectgarbage()
        collectgarbage()
        print "goes on"
      ]]
      assert.equal("goes on\n", result.out)
      assert.equal(0, result.status)
      assert.equal(1, count(result.err, "gluarun: a finalizer failed with"))
    end)

    it("that spawn or fail when the program ends", function()
      local result = helper.run [[
        local glua = require "glua"
        local kept = {newproxy(true), newproxy(true)}
        getmetatable(kept[1]).__gc = function() glua.spawn(print, 1, 2, 3) end
        getmetatable(kept[2]).__gc = function() error("at the end", 0) end
        print "main ends"
      ]]
      assert.equal("main ends\n", result.out)
      assert.equal(0, result.status)
    end)
  end)

  it("is interrupted by SIGINT in main, with status 130 if that is not caught", function()
    local text = [[
      local glua = require "glua"
      local ffi = require "ffi"
      ffi.cdef "int getpid(void); int kill(int, int);"
      glua.spawn(function()
        print(select(2, pcall(glua.sleep, 1000)))
      end)
      glua.spawn(ffi.C.kill, ffi.C.getpid(), 2)
      %s
    ]]
    local result = helper.run(text:format("glua.sleep(1000)"))
    assert.equal("GreenletExit\n", result.out)
    assert.equal("gluarun: interrupted\n", result.err)
    assert.equal(130, result.status)
    ran_well(helper.run(text:format [[
      local ok, e = pcall(glua.sleep, 1000)
      print(ok, e, e.kind)
      glua.sleep(0)
    ]]), "false\tinterrupted\tinterrupted\nGreenletExit\n")
    ran_well(helper.run(text:format [[
      glua.shield(function()
        glua.sleep(0.005)
        print "shielded"
      end)
      print(select(2, pcall(glua.sleep, 1000)))
    ]]), "shielded\ninterrupted\nGreenletExit\n")
  end)
end)
