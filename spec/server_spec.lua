-- server_spec.lua: glua.server's StreamServer.

local event = require "glua.event"
local glua = require "glua"
local helper = require "spec.helper"
local pool = require "glua.pool"
local socket = require "glua.socket"
local StreamServer = require("glua.server").StreamServer

-- Sends each line back.
local function echo(client)
  for line in function() return client:receive() end do
    client:send(line .. "\n")
  end
end

local function connect(server)
  if server.port then
    return assert(socket.connect(server.address, server.port))
  end
  return assert(socket.unix(server.address))
end

-- What the server answers to a line over a connection of its own; nil, message.
local function ask(server, line)
  local s = connect(server)
  s:settimeout(5)
  s:send(line .. "\n")
  local answer, message = s:receive()
  s:close()
  return answer, message
end

local function temporary_path()
  local path = os.tmpname()
  os.remove(path)
  return path
end

local function exists(path)
  return os.rename(path, path) ~= nil
end

-- A port that was free a moment ago.
local function free_port()
  local s = assert(socket.bind("127.0.0.1", 0))
  local _, port = s:getsockname()
  s:close()
  return port
end

-- Collects what failed greenlets have to say instead of printing it.
local function collect_errors()
  local list = {}
  glua.on_error(function(_, e) list[#list + 1] = tostring(e) end)
  finally(function() glua.on_error(nil) end)
  return list
end

describe("glua.server", function()
  helper.leaves_nothing_behind()

  it("serves each client in a greenlet of its own", function()
    local server = StreamServer("127.0.0.1:0", echo)
    assert.is_true(server:start())
    assert.is_true(server.started)
    local a, b = connect(server), connect(server)
    b:send("second\n")
    assert.equal("second", b:receive())
    a:send("first\n")
    assert.equal("first", a:receive())
    assert.matches("^<StreamServer 127%.0%.0%.1:%d+, started, 2 clients>$", tostring(server))
    a:close()
    b:close()
    assert.is_true(server:stop())
    assert.is_false(server.started)
  end)

  it("calls the handler with the client and its address", function()
    local seen = event.AsyncResult()
    local server = StreamServer("127.0.0.1:0", function(...) seen:set(...) end)
    server:start()
    local s = connect(server)
    local client, host, port = seen:get()
    assert.same({"127.0.0.1", (select(2, s:getsockname()))}, {host, port})
    assert.same({nil, "closed"}, {s:receive(), (select(2, s:receive()))})
    assert.equal(-1, client:getfd()) -- closed after the handler
    s:close()
    server:stop()
  end)

  it("takes addresses in all forms", function()
    local path = temporary_path()
    for address, expected in pairs {
      ["127.0.0.1:0"] = "127.0.0.1",
      ["localhost:0"] = "127.0.0.1",
      [":0"] = "0.0.0.0",
      ["*:0"] = "0.0.0.0",
      ["0"] = "0.0.0.0",
      [0] = "0.0.0.0",
      ["[::1]:0"] = "::1",
      ["unix:" .. path] = path,
      ["unix:@gluarun-spec-server"] = "@gluarun-spec-server",
    } do
      local server = StreamServer(address, echo)
      assert.is_true(server:start())
      assert.equal(expected, server.address)
      assert.equal("hello", ask(server, "hello"))
      assert.is_true(server:stop())
    end
    assert.is_false(exists(path))
  end)

  it("serves on a socket that listens already", function()
    local listener = assert(socket.bind("127.0.0.1", 0))
    local server = StreamServer(listener, echo)
    assert.same({listener:getsockname()}, {server.address, server.port, "inet"})
    server:start()
    assert.equal("hello", ask(server, "hello"))
    server:stop()
    assert.equal(-1, listener:getfd())
    assert.error_matches(function() server:start() end,
      "^start: the given socket was closed when the server stopped")
  end)

  it("sends to its TCP clients at once", function()
    local seen = event.AsyncResult()
    local server = StreamServer("127.0.0.1:0", function(client)
      seen:set(client:getoption("tcp-nodelay"))
    end)
    server:start()
    connect(server):close()
    assert.is_true(seen:get())
    server:stop()
  end)

  it("limits how long its clients' calls wait", function()
    local seen = event.AsyncResult()
    local server = StreamServer("127.0.0.1:0", function(client)
      seen:set(client:receive())
    end, {timeout = 0.01})
    server:start()
    local s = connect(server)
    assert.same({nil, "timeout"}, {seen:get(), (select(2, seen:get()))})
    s:close()
    server:stop()
  end)

  it("reports a handler's error, closes the client, and goes on", function()
    local errors = collect_errors()
    local server = StreamServer("127.0.0.1:0", function(client)
      local line = client:receive()
      if line == "fail" then
        error("handler failed", 0)
      end
      client:send(line .. "\n")
    end)
    server:start()
    assert.same({nil, "closed"}, {ask(server, "fail")})
    assert.same({"handler failed"}, errors)
    assert.equal("fine", ask(server, "fine"))
    assert.is_true(server:stop())
  end)

  it("serves a client that has gone before the handler runs", function()
    local count = 0
    local server = StreamServer("127.0.0.1:0", function(client, host, port)
      count = count + 1
      assert(host == nil and port == nil or host == "127.0.0.1" and type(port) == "number")
      echo(client)
    end)
    server:start()
    for _ = 1, 10 do
      local s = connect(server)
      s:setoption("linger", {on = true, timeout = 0})
      s:close()
    end
    assert.equal("still here", ask(server, "still here"))
    server:stop()
    assert.is_true(count >= 1)
  end)

  -- ---- limits ----

  for name, option in pairs {number = 2, Pool = pool.Pool(2)} do
    it("accepts nobody while its pool is full, given as a " .. name, function()
      local running, most, served = 0, 0, 0
      local server = StreamServer("127.0.0.1:0", function(client)
        running = running + 1
        most = math.max(most, running)
        served = served + 1
        client:send(served .. "\n")
        client:receive()
        running = running - 1
      end, {spawn = option})
      server:start()
      local list = {}
      for i = 1, 4 do
        list[i] = connect(server)
      end
      assert.equal("1", list[1]:receive())
      assert.equal("2", list[2]:receive())
      list[3]:settimeout(0.02)
      assert.same({nil, "timeout"}, {list[3]:receive(), (select(2, list[3]:receive()))})
      assert.equal(2, served)
      list[3]:settimeout(nil)
      list[2]:close()
      assert.equal("3", list[3]:receive()) -- in the order in which they came
      list[1]:close()
      assert.equal("4", list[4]:receive())
      list[3]:close()
      list[4]:close()
      assert.is_true(server:stop())
      assert.equal(2, most)
    end)
  end

  it("keeps no more than its backlog waiting", function()
    local server = StreamServer("127.0.0.1:0", function(client) client:receive() end,
      {spawn = 1, backlog = 1})
    server:start()
    local list, refused = {}, 0
    for i = 1, 6 do
      list[i] = socket.tcp()
      list[i]:settimeout(0.02)
      if not list[i]:connect("127.0.0.1", server.port) then
        refused = refused + 1
      end
    end
    assert.is_true(refused >= 1)
    for _, s in ipairs(list) do
      s:close()
    end
    server:stop(0)
  end)

  it("closes a client that it accepted when others have filled the pool meanwhile", function()
    local shared = pool.Pool(1)
    local server = StreamServer("127.0.0.1:0", echo, {spawn = shared})
    server:start()
    glua.sleep(0) -- the acceptor has found room, and waits for a client
    local other = shared:spawn(glua.sleep, 10)
    local s = connect(server)
    s:settimeout(0.02)
    assert.same({nil, "timeout"}, {s:receive(), (select(2, s:receive()))})
    s:settimeout(5)
    assert.is_true(server:stop())
    assert.same({nil, "closed"}, {s:receive(), (select(2, s:receive()))})
    assert.is_false(other.dead) -- it is not the server's
    other:kill()
    s:close()
  end)

  it("waits when descriptors run out, and then goes on accepting", function()
    local result = helper.gluarun({"-e", [[
      local glua = require "glua"
      local socket = require "glua.socket"
      local server = require("glua.server").StreamServer("127.0.0.1:0", function(client)
        client:send(client:receive() .. "\n")
      end)
      server:start()
      local s, held = socket.tcp4(), {}
      repeat
        local another = socket.tcp4()
        held[#held + 1] = another
      until not another
      s:connect("127.0.0.1", server.port)
      s:send("hello\n")
      s:settimeout(0.12)
      print(s:receive())
      table.remove(held):close()
      s:settimeout(10)
      print(s:receive())
      print(server:stop())
    ]]}, {wrap = "sh -c 'ulimit -n 20; exec \"$@\"' sh"})
    assert.equal("", result.err)
    assert.equal("nil\ttimeout\t\tETIMEDOUT\nhello\ntrue\n", result.out)
  end)

  -- ---- stop ----

  it("stops accepting at once, and waits for the handlers", function()
    local server = StreamServer("127.0.0.1:0", echo)
    server:start()
    local address, port = server.address, server.port
    local s = connect(server)
    s:send("one\n")
    assert.equal("one", s:receive())
    local stopping = glua.spawn(server.stop, server)
    glua.sleep(0)
    assert.is_false(server.started)
    assert.same({nil, "connection refused", nil, "ECONNREFUSED"},
      {socket.connect(address, port)})
    s:send("two\n")
    assert.equal("two", s:receive()) -- who was there is served to the end
    assert.is_false(stopping:ready())
    s:close()
    assert.is_true(stopping:get())
  end)

  it("kills the handlers that are left when the time is over", function()
    local cleaned = false
    local server = StreamServer("127.0.0.1:0", function(client)
      local ok = pcall(client.receive, client)
      cleaned = not ok
    end)
    server:start()
    local s = connect(server)
    glua.sleep(0.001)
    local before = glua.now()
    assert.is_false(server:stop(0.02))
    assert.is_true(glua.now() - before >= 0.02)
    assert.is_true(cleaned)
    assert.same({nil, "closed"}, {s:receive(), (select(2, s:receive()))})
    s:close()
  end)

  it("kills at once with a time of zero, and returns true if there is nobody", function()
    local server = StreamServer("127.0.0.1:0", echo)
    server:start()
    local s = connect(server)
    s:send("x\n")
    s:receive()
    assert.is_false(server:stop(0))
    s:close()
    server:start()
    assert.is_true(server:stop(0))
    assert.is_true(server:stop()) -- stopped already
    assert.is_true(StreamServer("127.0.0.1:0", echo):stop()) -- never started
  end)

  it("may be given less time by a second stop", function()
    local server = StreamServer("127.0.0.1:0", echo)
    server:start()
    local s = connect(server)
    s:send("x\n")
    s:receive()
    local patient = glua.spawn(server.stop, server)
    glua.sleep(0)
    assert.is_false(server:stop(0.001))
    patient:get()
    s:close()
  end)

  it("kills its handlers when stop itself is interrupted", function()
    local server = StreamServer("127.0.0.1:0", echo)
    server:start()
    local s = connect(server)
    s:send("x\n")
    s:receive()
    local forever = glua.spawn(server.serve_forever, server)
    glua.sleep(0)
    local ok, e = pcall(glua.with_timeout, 0.01, server.stop, server)
    assert.is_false(ok)
    assert.is_true(glua.is_error(e, "Timeout"))
    assert.is_true(forever:get())
    assert.same({nil, "closed"}, {s:receive(), (select(2, s:receive()))})
    s:close()
  end)

  it("stops while its acceptor waits for room in the pool", function()
    local server = StreamServer("127.0.0.1:0", echo, {spawn = 1})
    server:start()
    local s = connect(server)
    s:send("x\n")
    s:receive()
    glua.sleep(0.001)
    local stopping = glua.spawn(server.stop, server)
    glua.sleep(0)
    s:close()
    assert.is_true(stopping:get())
  end)

  it("can be stopped by a handler, which is not waited for", function()
    local server, drained
    local finished = event.Event()
    server = StreamServer("127.0.0.1:0", function(client)
      if client:receive() == "stop" then
        drained = server:stop()
        client:send("stopped\n")
        finished:set()
      end
    end)
    server:start()
    local other = connect(server)
    glua.sleep(0.001)
    local s = connect(server)
    s:send("stop\n")
    other:close()
    assert.equal("stopped", s:receive())
    finished:wait()
    assert.is_true(drained)
    s:close()
  end)

  it("leaves others in a pool that it was given alone", function()
    local shared = pool.Pool(5)
    local other = shared:spawn(glua.sleep, 10)
    local server = StreamServer("127.0.0.1:0", echo, {spawn = shared})
    server:start()
    assert.equal("x", ask(server, "x"))
    assert.is_true(server:stop())
    assert.is_false(other.dead)
    other:kill()
  end)

  it("starts again after stop, on the same port at once", function()
    local server = StreamServer("127.0.0.1:" .. free_port(), echo)
    for _ = 1, 3 do
      assert.is_true(server:start())
      local s = connect(server)
      s:send("again\n")
      assert.equal("again", s:receive())
      server:stop(0)
      s:close()
    end
  end)

  it("refuses to start twice", function()
    local server = StreamServer("127.0.0.1:0", echo)
    server:start()
    assert.error_matches(function() server:start() end,
      "^start: the server is started already")
    server:stop()
  end)

  -- ---- serve_forever ----

  it("serves for ever, until it is stopped", function()
    local server = StreamServer("127.0.0.1:" .. free_port(), echo)
    local g = glua.spawn(server.serve_forever, server)
    glua.sleep(0)
    assert.is_true(server.started)
    assert.equal("x", ask(server, "x"))
    assert.is_false(g:ready())
    server:stop()
    assert.is_true(g:get())
    g = glua.spawn(server.serve_forever, server) -- and again
    glua.sleep(0)
    server:stop()
    assert.is_true(g:get())
  end)

  it("stops when the greenlet that serves for ever is killed", function()
    local server = StreamServer("127.0.0.1:" .. free_port(), echo)
    local g = glua.spawn(server.serve_forever, server)
    glua.sleep(0)
    local s = connect(server)
    s:send("x\n")
    s:receive()
    g:kill()
    assert.is_true(g.dead)
    assert.is_false(server.started)
    assert.same({nil, "closed"}, {s:receive(), (select(2, s:receive()))})
    s:close()
  end)

  it("ends when it can accept no more, and says why", function()
    local errors = collect_errors()
    local listener = assert(socket.bind("127.0.0.1", 0))
    local server = StreamServer(listener, echo)
    local g = glua.spawn(server.serve_forever, server)
    glua.sleep(0)
    listener:close()
    assert.same({nil, "accept failed: closed", nil, "EBADF"}, {g:get()})
    assert.is_false(server.started)
    assert.matches("^<StreamServer 127.*>: accept failed: closed$", errors[1])
  end)

  -- ---- what cannot be listened on ----

  it("tells where it cannot listen, and why", function()
    local holder = assert(socket.bind("127.0.0.1", 0))
    local _, port = holder:getsockname()
    local server = StreamServer("127.0.0.1:" .. port, echo)
    local expected = {nil, ("cannot listen on 127.0.0.1:%d: address already in use"):format(port),
      nil, "EADDRINUSE"}
    assert.same(expected, {server:start()})
    assert.same(expected, {server:serve_forever()})
    assert.is_false(server.started)
    holder:close()
    assert.is_true(server:start()) -- free now
    server:stop()
    assert.same({nil, "cannot listen on [2001:db8::1]:80: Cannot assign requested address", nil,
      "EADDRNOTAVAIL"}, {StreamServer("[2001:db8::1]:80", echo):start()})
    assert.same({nil, "cannot listen on unix:/no/such/dir/socket: No such file or directory",
      nil, "ENOENT"}, {StreamServer("unix:/no/such/dir/socket", echo):start()})
  end)

  it("takes over the path that a dead server left, and not that of a living one", function()
    local path = temporary_path()
    local dead = socket.unix()
    assert(dead:bind(path))
    assert(dead:listen())
    dead:close()
    assert.is_true(exists(path))
    local server = StreamServer("unix:" .. path, echo)
    assert.is_true(server:start())
    assert.equal("x", ask(server, "x"))
    local second = StreamServer("unix:" .. path, echo)
    assert.same({nil, ("cannot listen on unix:%s: address already in use"):format(path), nil,
      "EADDRINUSE"}, {second:start()})
    assert.equal("y", ask(server, "y"))
    server:stop()
    assert.is_false(exists(path))
  end)

  it("removes no file that is not a socket", function()
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    local file = assert(io.open(path, "w"))
    file:write("precious")
    file:close()
    assert.same({nil, ("cannot listen on unix:%s: address already in use"):format(path), nil,
      "EADDRINUSE"}, {StreamServer("unix:" .. path, echo):start()})
    file = assert(io.open(path))
    assert.equal("precious", file:read("*a"))
    file:close()
  end)

  -- ---- misuse ----

  it("raises for wrong arguments, at the script's line", function()
    local function raises(message, ...)
      local ok, e = pcall(function(...) StreamServer(...) end, ...)
      assert.is_false(ok)
      assert.matches("^[^:]*server_spec%.lua:%d+: bad argument ", e)
      assert.equal(message, (e:gsub("^.-:%d+: bad argument ", "")))
    end
    local addresses = "#1 to 'StreamServer' (address: port, 'host:port', '[v6]:port', "
      .. "'unix:/path' or a listening socket expected, got %s)"
    for _, address in ipairs {"nonsense", "host:", "host:name", "::1:80", "[::1]", "70000",
      "host:65536", "unix:", ""} do
      raises(addresses:format(address), address, echo)
    end
    raises(addresses:format("70000"), 70000, echo)
    raises(addresses:format("-1"), -1, echo)
    raises(addresses:format("80.5"), 80.5, echo)
    raises(addresses:format("nil"), nil, echo)
    raises(addresses:format("table"), {}, echo)
    local s = socket.tcp()
    raises(addresses:format("tcp{master}: no descriptor"), s, echo)
    raises("#2 to 'StreamServer' (function expected, got nil)", 0)
    raises("#3 to 'StreamServer' (table expected, got number)", 0, echo, 5)
    raises("#3 to 'StreamServer' (unknown option 'blacklog')", 0, echo, {blacklog = 1})
    raises("#3 to 'StreamServer' (option 'spawn': Pool or number expected, got string)", 0, echo,
      {spawn = "x"})
    raises("#3 to 'StreamServer' (positive integer expected, got 0)", 0, echo, {spawn = 0})
    raises("#3 to 'StreamServer' (positive integer expected, got string)", 0, echo,
      {backlog = "x"})
    raises("#3 to 'StreamServer' (timeout: non-negative seconds expected, got -1)", 0, echo,
      {timeout = -1})
    local server = StreamServer(0, echo)
    assert.error_matches(function() server.start() end,
      "bad argument #1 to 'start' %(StreamServer expected, got nil; call it with ':'%)")
    assert.error_matches(function() server:stop("x") end,
      "bad argument #1 to 'stop' %(timeout: non%-negative seconds expected, got string%)")
  end)
end)
