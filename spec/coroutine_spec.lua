-- coroutine_spec.lua: blocking calls in the script's own coroutines, and where a greenlet
-- cannot park.

local glua = require "glua"
local helper = require "spec.helper"
local queue = require "glua.queue"
local socket = require "glua.socket"

local GreenletExit = glua.GreenletExit

local function list(...)
  return {n = select("#", ...), ...}
end

-- What a program prints for a script, its errors too; without the lines of tracebacks that
-- name no place in a script.
local function output_of(program, script)
  local child = assert(io.popen(("%s %s 2>&1"):format(program, script)))
  local text = child:read("*a")
  child:close()
  local lines = {}
  for line in text:gmatch("[^\n]+") do
    if not line:find("^\t%[") then
      lines[#lines + 1] = line
    end
  end
  return lines
end

-- An order of bytes that come one by one.
local function slow_reader(s)
  return coroutine.wrap(function()
    while true do
      local byte = s:receive(1)
      if not byte then
        return
      end
      coroutine.yield(byte)
    end
  end)
end

describe("glua.coroutine", function()
  helper.leaves_nothing_behind()

  -- ---- as ever ----

  it("has the results, errors and tracebacks of stock LuaJIT", function()
    local script = "spec/fixtures/coroutines.lua"
    local stock, ours = output_of("luajit", script), output_of(helper.program, script)
    assert.is_true(#stock > 100)
    for i, line in ipairs(stock) do
      assert.equal(line, ours[i])
    end
    assert.equal(#stock, #ours)
  end)

  it("shows an uncaught error through wrap as stock LuaJIT does", function()
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    local file = assert(io.open(path, "w"))
    file:write [[
      local function inner() error("uncaught") end
      local w = coroutine.wrap(function() inner() end)
      local function call() w() end
      call()
    ]]
    file:close()
    local stock, ours = output_of("luajit", path), output_of(helper.program, path)
    assert.equal(4, #stock)
    stock[1] = stock[1]:gsub("^luajit: ", "gluarun: ")
    assert.same(stock, ours)
  end)

  -- ---- blocking inside ----

  it("lets a generator wait for its data, while others run", function()
    local a, b = socket.socketpair()
    local log = {}
    glua.spawn(function()
      for c in ("abc"):gmatch(".") do
        glua.sleep(0.001)
        log[#log + 1] = "sent " .. c
        b:send(c)
      end
      b:close()
    end)
    for byte in slow_reader(a) do
      log[#log + 1] = "got " .. byte
    end
    a:close()
    assert.same({"sent a", "got a", "sent b", "got b", "sent c", "got c"}, log)
  end)

  it("passes values in both directions around the waits", function()
    local co = coroutine.create(function(...)
      local seen = {list(...)}
      for i = 1, 3 do
        glua.sleep(0)
        seen[#seen + 1] = list(coroutine.yield(i, nil))
        glua.sleep(0.001)
      end
      return seen
    end)
    assert.same(list(true, 1, nil), list(coroutine.resume(co, "a", nil)))
    assert.same(list(true, 2, nil), list(coroutine.resume(co)))
    assert.same(list(true, 3, nil), list(coroutine.resume(co, nil)))
    local ok, seen = coroutine.resume(co, false)
    assert.is_true(ok)
    assert.same({list("a", nil), list(), list(nil), list(false)}, seen)
    assert.equal("dead", coroutine.status(co))
  end)

  it("gives the blocking call its own results, and the resume its own", function()
    local q = queue.Queue()
    local w = coroutine.wrap(function()
      local item = q:get()
      coroutine.yield("yielded " .. item)
      return "returned", q:get(0)
    end)
    glua.spawn(q.put, q, "item")
    assert.equal("yielded item", w())
    assert.same(list("returned", nil, "empty"), list(w()))
  end)

  it("works at any depth", function()
    local function level(n)
      if n == 0 then
        glua.sleep(0.001)
        coroutine.yield("bottom")
        glua.sleep(0)
        return "returned"
      end
      local w = coroutine.wrap(level)
      coroutine.yield(w(n - 1))
      glua.sleep(0)
      return w()
    end
    local w = coroutine.wrap(level)
    assert.equal("bottom", w(100))
    assert.equal("returned", w())
  end)

  it("waits many times in one resume without growing", function()
    local w = coroutine.wrap(function()
      for _ = 1, 100000 do
        glua.sleep(0)
      end
      return "done"
    end)
    assert.equal("done", w())
  end)

  it("interleaves the coroutines of several greenlets", function()
    local log = {}
    local greenlets = {}
    for i = 1, 3 do
      greenlets[i] = glua.spawn(function()
        for n in coroutine.wrap(function()
          for n = 1, 3 do
            glua.sleep(0)
            coroutine.yield(n)
          end
        end) do
          log[#log + 1] = i .. n
        end
      end)
    end
    glua.joinall(greenlets)
    assert.equal("11 21 31 12 22 32 13 23 33", table.concat(log, " "):gsub("(%d)(%d)", "%1%2"))
  end)

  it("lets a coroutine go on in another greenlet than before", function()
    local w = coroutine.wrap(function()
      for _ = 1, 3 do
        glua.sleep(0.001)
        coroutine.yield(glua.getcurrent())
      end
    end)
    for _ = 1, 3 do
      local g = glua.spawn(w)
      assert.equal(g, (g:get()))
    end
  end)

  it("keeps what is parked alive through the collector", function()
    local result
    glua.spawn(function()
      result = coroutine.wrap(function()
        local w = coroutine.wrap(function()
          glua.sleep(0.002)
          return "inner"
        end)
        return w()
      end)()
    end)
    glua.sleep(0)
    collectgarbage()
    collectgarbage()
    glua.sleep(0.003)
    glua.idle()
    assert.equal("inner", result)
  end)

  -- ---- status ----

  it("counts one that is parked as normal, and lets nobody else resume it", function()
    local refusal = "cannot resume running coroutine (it is parked in a blocking call)"
    local q = queue.Queue()
    local inner, outer, wrapped
    outer = coroutine.create(function()
      inner = coroutine.create(function()
        wrapped = coroutine.wrap(function() return q:get() end)
        return wrapped()
      end)
      return coroutine.resume(inner)
    end)
    local g = glua.spawn(coroutine.resume, outer)
    glua.sleep(0)
    for _, co in ipairs {inner, outer} do
      assert.equal("normal", coroutine.status(co))
      assert.same(list(false, refusal), list(coroutine.resume(co, "garbage")))
    end
    helper.misuse(refusal, function() wrapped("garbage") end)
    q:put("item")
    assert.equal("normal", coroutine.status(inner)) -- woken, but it has not run
    assert.same(list(false, refusal), list(coroutine.resume(inner)))
    assert.same(list(true, true, "item"), list(g:get()))
    assert.equal("dead", coroutine.status(inner))
    assert.equal("dead", coroutine.status(outer))
    assert.same(list(false, "cannot resume dead coroutine"), list(coroutine.resume(inner)))
  end)

  it("can be resumed again once it has yielded", function()
    local co = coroutine.create(function()
      glua.sleep(0)
      coroutine.yield()
      glua.sleep(0)
    end)
    assert.is_true(coroutine.resume(co))
    assert.equal("suspended", coroutine.status(co))
    assert.is_true(coroutine.resume(co))
    assert.equal("dead", coroutine.status(co))
  end)

  it("does not let a script resume a greenlet itself", function()
    local co, in_it
    local q = queue.Queue()
    local g = glua.spawn(function()
      co = coroutine.running()
      in_it = {coroutine.status(co), list(coroutine.resume(co))}
      coroutine.wrap(function()
        in_it[3] = coroutine.status(co)
        in_it[4] = list(coroutine.resume(co))
      end)()
      return q:get()
    end)
    glua.sleep(0)
    assert.equal("thread", type(co))
    local running = list(false, "cannot resume running coroutine")
    assert.same({"running", running, "normal", running}, in_it)
    assert.equal("normal", coroutine.status(co))
    assert.same(list(false, "cannot resume running coroutine (it is parked in a blocking call)"),
      list(coroutine.resume(co, "garbage")))
    q:put("item")
    assert.equal("item", g:get())
    assert.equal("dead", coroutine.status(co))
    assert.same(list(false, "cannot resume dead coroutine"), list(coroutine.resume(co)))
  end)

  it("tells greenlets apart by coroutine.running, and main has none", function()
    local result = helper.run [[
      local glua = require "glua"
      print(coroutine.running(), coroutine.isyieldable())
      local seen = {}
      for i = 1, 3 do
        glua.spawn(function()
          local co = coroutine.running()
          assert(not seen[co] and coroutine.isyieldable() == false)
          seen[co] = true
          local inner
          inner = coroutine.create(function()
            assert(coroutine.running() == inner and coroutine.isyieldable())
            glua.sleep(0)
            assert(coroutine.running() == inner and coroutine.isyieldable())
            return "checked"
          end)
          print(coroutine.resume(inner))
          assert(coroutine.running() == co)
        end):get()
      end
      coroutine.wrap(function() print(type(coroutine.running()), coroutine.isyieldable()) end)()
      print(coroutine.running())
    ]]
    assert.equal("", result.err)
    assert.equal("nil\tfalse\n" .. ("true\tchecked\n"):rep(3) .. "thread\ttrue\nnil\n",
      result.out)
  end)

  it("has a bare yield of a greenlet fail, with a hint", function()
    local message = "attempt to yield from outside a coroutine "
      .. "(a greenlet lets others run with glua.sleep(0))"
    local function yield_here() coroutine.yield(1) end
    glua.spawn(function()
      helper.misuse(message, function() coroutine.yield(1) end)
      assert.same(list(false, message), list(pcall(coroutine.yield)))
      local ok, e = pcall(yield_here)
      assert.is_false(ok)
      assert.matches(message, e, 1, true)
      glua.sleep(0) -- and the greenlet goes on
    end):get()
    local result = helper.run [[coroutine.yield()]]
    assert.equal(1, result.status)
    assert.equal(("gluarun: %s:1: %s"):format(result.path, message),
      (result.err:match("^[^\n]*")))
  end)

  -- ---- errors and kills ----

  it("raises errors of an inner coroutine where they belong, after waits too", function()
    local w = coroutine.wrap(function()
      glua.sleep(0)
      error("failed")
    end)
    local ok, e = pcall(w)
    assert.is_false(ok)
    assert.matches("coroutine_spec.lua:%d+: failed$", e)
    local co = coroutine.create(function()
      glua.sleep(0)
      error({"object"})
    end)
    assert.same(list(false, {"object"}), list(coroutine.resume(co)))
    assert.equal("dead", coroutine.status(co))
    assert.matches("in function <.-coroutine_spec.lua:%d+>", debug.traceback(co))
  end)

  it("shows where a parked one stands", function()
    local co = coroutine.create(function() glua.sleep(10) end)
    local g = glua.spawn(coroutine.resume, co)
    glua.sleep(0)
    assert.matches("parked in sleep, .-coroutine_spec.lua:%d+>", tostring(g))
    assert.matches("'sleep'\n.-coroutine_spec.lua:%d+: in function", debug.traceback(co))
    g:kill()
  end)

  it("raises a kill in the innermost one, and again at each wait outside of it", function()
    local log = {}
    local function note(name, ok, e)
      log[#log + 1] = name
      assert.is_false(ok)
      assert.equal(GreenletExit, e)
    end
    local inner
    local g = glua.spawn(function()
      coroutine.wrap(function()
        inner = coroutine.create(function()
          note("inner", pcall(glua.sleep, 10))
          note("inner again", pcall(glua.sleep, 10))
          coroutine.yield()
        end)
        assert.is_true(coroutine.resume(inner))
        note("outer", pcall(glua.sleep, 10))
        glua.sleep(10)
      end)()
    end)
    glua.sleep(0)
    g:kill()
    assert.same(list(nil, "killed"), list(g:get()))
    assert.same({"inner", "inner again", "outer"}, log)
    assert.equal("suspended", coroutine.status(inner))
  end)

  it("carries Timeouts into it and out of it", function()
    local t = glua.Timeout(0.001):start()
    local w = coroutine.wrap(function() glua.sleep(10) end)
    assert.same(list(false, t), list(pcall(w)))
    local ok, e = pcall(glua.with_timeout, 0.001, coroutine.wrap(function()
      coroutine.wrap(function() glua.sleep(10) end)()
    end))
    assert.is_false(ok)
    assert.is_true(glua.is_error(e, "Timeout"))
  end)

  it("drops a greenlet that swallows its kill in an inner coroutine for ever", function()
    local result = helper.run [[
      local glua = require "glua"
      local g = glua.spawn(coroutine.wrap(function()
        repeat until pcall(glua.sleep, 10)
      end))
      glua.sleep(0)
      print(g:kill(), g.dead)
    ]]
    assert.equal("true\ttrue\n", result.out)
    assert.matches("it was killed, and went on a hundred times", result.err, 1, true)
    assert.equal(0, result.status)
  end)
end)

-- Ways into Lua that no yield can cross: the name of each as the message has it, and a
-- script's function that calls fn there.
local obstacles = {
  {
    name = "the C function 'format' is in the way",
    enter = [[
      local object = setmetatable({}, {__tostring = function() result = {fn()} return "" end})
      string.format("%s", object)
    ]],
  }, {
    name = "an error handler is running",
    enter = [[
      xpcall(function() local x = nil + 1 end, function() result = {fn()} end)
    ]],
  }, {
    name = "an error handler is running",
    enter = [[
      xpcall(function() error("x") end, function() result = {fn()} end)
    ]],
  }, {
    name = "a hook or finalizer is running",
    enter = [[
      debug.sethook(function()
        debug.sethook()
        result = {fn()}
      end, "", 1)
      for i = 1, 10 do result = result end
    ]],
  }, {
    name = "a hook or finalizer is running",
    enter = [[
      getmetatable(newproxy(true)).__gc = function() result = {fn()} end
      collectgarbage()
      collectgarbage()
    ]],
  },
}

-- A script in which `call(fn)` calls fn behind the obstacle and returns what it returns.
local function behind(obstacle, text)
  return ([[
    jit.off() -- so that the hook is called
    local event, glua, queue = require "glua.event", require "glua", require "glua.queue"
    local socket = require "glua.socket"
    local function call(fn)
      local result
      do
        %s
      end
      return unpack(result, 1, 5)
    end
    %s
  ]]):format(obstacle.enter, text)
end

describe("where a greenlet cannot park", function()
  helper.leaves_nothing_behind()

  local function for_each(what, fn)
    it(what, function()
      for _, obstacle in ipairs(obstacles) do
        local ok, e = pcall(fn, obstacle)
        if not ok then
          e = type(e) == "table" and e.message or tostring(e)
          error(("%s\nwhere %s"):format(e, obstacle.name), 0)
        end
      end
    end)
  end

  for_each("a wait for time blocks the program, with one warning", function(obstacle)
    local result = helper.run(behind(obstacle, [[
      local ran = false
      glua.spawn(function() ran = true end)
      for _ = 1, 2 do
        local before = glua.now()
        print(select("#", call(function() return glua.sleep(0.002) end)))
        assert(glua.now() - before >= 0.002 - 1e-9)
      end
      call(function() return glua.sleep(0) end)
      assert(not ran)
      glua.sleep(0)
      assert(ran)
    ]]))
    assert.equal("5\n5\n", result.out)
    assert.equal(0, result.status)
    local first, rest = result.err:match("^([^\n]*)\n(.*)$")
    assert.matches("^gluarun: warning: cannot wait in sleep: ", first)
    assert.matches(obstacle.name, first, 1, true)
    assert.matches(result.path .. ":%d+%): it blocks the whole program$", first)
    assert.matches("^stack traceback:\n", rest)
    assert.matches(result.path, rest, 1, true)
    assert.is_nil(rest:find("warning", 1, true))
  end)

  for_each("a wait for a descriptor blocks for that one", function(obstacle)
    local result = helper.run(behind(obstacle, [[
      local a, b = socket.socketpair()
      b:send("line\n")
      print(call(function() return a:receive() end))
      a:settimeout(0.002)
      local before = glua.now()
      print(call(function() return a:receive() end))
      assert(glua.now() - before >= 0.002 - 1e-9)
      print(call(function() return socket.wait_read(b, 0.001) end))
      glua.spawn(b.send, b, "later\n")
      print(a:receive())
    ]]))
    assert.equal("line\tnil\tnil\tnil\tnil\n" .. "nil\ttimeout\t\tETIMEDOUT\tnil\n"
      .. "nil\ttimeout\tnil\tETIMEDOUT\tnil\n" .. "later\n", result.out)
    assert.equal(0, result.status)
    assert.matches("cannot wait in receive: " .. obstacle.name, result.err, 1, true)
  end)

  for_each("a wait for another greenlet is an error that names what is in the way",
    function(obstacle)
      local result = helper.run(behind(obstacle, [[
        local q = queue.Queue()
        local function try(name, fn)
          local ok, e = call(function() return pcall(fn) end)
          assert(not ok)
          print(name, e)
        end
        local g = glua.spawn(glua.sleep, 10)
        try("Event.wait", function() event.Event():wait(1) end)
        try("Queue.get", function() q:get(1) end)
        try("queue.select", function() queue.select {{q}} end)
        try("join", function() g:join() end)
        try("iwait", function() glua.iwait({g})() end)
        -- Nothing of these is left.
        q:put("item")
        assert(q:qsize() == 1)
        g:kill()
      ]]))
      assert.equal("", result.err)
      local n = 0
      for name, message in result.out:gmatch("([^\t]*)\t([^\n]*)\n") do
        n = n + 1
        local expected = ("cannot wait in %s: %s (%s:"):format(name, obstacle.name, result.path)
        assert.equal(expected, message:sub(1, #expected))
      end
      assert.equal(5, n)
    end)

  for_each("the same holds in a coroutine that is resumed there", function(obstacle)
    local result = helper.run(behind(obstacle, [[
      print(call(function()
        local outer = coroutine.wrap(function()
          local inner = coroutine.wrap(function()
            coroutine.yield("yielded")
            glua.sleep(0)
            local before = glua.now()
            glua.sleep(0.002)
            assert(glua.now() - before >= 0.002 - 1e-9)
            return pcall(function() event.Event():wait() end)
          end)
          assert(inner() == "yielded")
          return inner()
        end)
        return outer()
      end))
      glua.sleep(0)
    ]]))
    assert.equal(0, result.status, result.err)
    local expected = ("false\tcannot wait in Event.wait: %s ("):format(obstacle.name)
    assert.equal(expected, result.out:sub(1, #expected))
    assert.matches("cannot wait in sleep: " .. obstacle.name, result.err, 1, true)
  end)

  it("an error in a hook or finalizer does not keep anybody from parking", function()
    local result = helper.run [[
      jit.off()
      local event, glua = require "glua.event", require "glua"
      local function park()
        local ev = event.Event()
        glua.spawn_later(0.001, ev.set, ev)
        print(coroutine.wrap(function() return ev:wait() end)())
      end
      print(pcall(function()
        debug.sethook(function()
          debug.sethook()
          error("in a hook", 0)
        end, "", 1)
        for i = 1, 10 do park = park end
      end))
      park()
      getmetatable(newproxy(true)).__gc = function() error("in a finalizer") end
      collectgarbage()
      collectgarbage()
      park()
    ]]
    assert.equal("false\tin a hook\ntrue\ntrue\n", result.out)
    assert.matches("in a finalizer", result.err, 1, true)
    assert.equal(0, result.status)
  end)

  for_each("what does not need to wait just works", function(obstacle)
    local result = helper.run(behind(obstacle, [[
      local q = queue.Queue()
      local getter = glua.spawn(q.get, q)
      glua.sleep(0)
      print(call(function()
        q:put("to the getter")
        q:put("stored")
        local g = glua.spawn(function() return "spawned" end)
        getter:link(function() end)
        return g, q:get()
      end):get(), q:qsize())
      print(getter:get())
    ]]))
    assert.equal("", result.err)
    assert.equal("spawned\t0\nto the getter\n", result.out)
  end)
end)
