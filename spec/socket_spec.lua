-- socket_spec.lua: glua.socket over TCP and Unix sockets, with good peers and bad ones.

local ffi = require "ffi"
local glua = require "glua"
local helper = require "spec.helper"
local socket = require "glua.socket"

ffi.cdef [[
int fileno(void *);
ssize_t read(int, void *, size_t);
int pipe(int [2]);
int close(int);
]]

-- A run with the collector always at work is slow: it gets less to do.
local STRESS = os.getenv("GLUA_GC") == "stress"

local TIMEOUT = {nil, "timeout"}

-- Bytes without a regularity, twice, so that any piece of up to `period` bytes can be cut out
-- of them wherever it begins.
local period = 1000003
local pattern
do
  local bytes, seed = ffi.new("uint8_t[?]", period), 1
  for i = 0, period - 1 do
    seed = (seed * 48271) % 2147483647
    bytes[i] = seed % 256
  end
  pattern = ffi.string(bytes, period):rep(2)
end

-- Two sockets connected to each other, by family.
local pairs_of = {}

local function connected(server, connect)
  local _, port = server:getsockname()
  local client = assert(connect(port))
  local accepted = assert(server:accept())
  server:close()
  return accepted, client
end

function pairs_of.tcp()
  return connected(assert(socket.bind("127.0.0.1", 0)), function(port)
    return socket.connect("127.0.0.1", port)
  end)
end

function pairs_of.tcp6()
  return connected(assert(socket.bind("::1", 0)), function(port)
    return socket.connect("::1", port)
  end)
end

function pairs_of.unix()
  local path = os.tmpname()
  os.remove(path)
  local server = socket.unix()
  assert(server:bind(path))
  assert(server:listen())
  local a, b = connected(server, function() return socket.unix(path) end)
  os.remove(path)
  return a, b
end

function pairs_of.socketpair()
  return socket.socketpair()
end

local function close(...)
  for i = 1, select("#", ...) do
    select(i, ...):close()
  end
end

-- Ends a connection by a reset and not in order.
local function reset(s)
  s:setoption("linger", {on = true, timeout = 0})
  s:close()
end

local function results(...)
  return {n = select("#", ...), ...}
end

-- A greenlet that calls the method, and is parked in it if that has to wait.
local function parked(s, method, ...)
  local args = results(...)
  local g = glua.spawn(function()
    return s[method](s, unpack(args, 1, args.n))
  end)
  glua.sleep(0)
  return g
end

-- A server whose backlog is full, so that a connect to it waits for ever, and what fills it.
local function full_server()
  local server = socket.tcp()
  assert(server:bind("127.0.0.1", 0))
  assert(server:listen(0))
  local _, port = server:getsockname()
  local list = {server}
  repeat
    local s = socket.tcp()
    s:settimeout(0.02)
    list[#list + 1] = s
  until not s:connect("127.0.0.1", port)
  return port, function() close(unpack(list)) end
end

-- Fills the buffers of the way from s to its peer; returns how much went.
local function fill(s)
  s:settimeout(0)
  local data, total = ("x"):rep(100000), 0
  repeat
    local ok, _, sent = s:send(data)
    total = total + (ok or sent)
  until not ok
  s:settimeout(nil)
  return total
end

describe("glua.socket and LuaSocket", function()
  local ask = dofile("spec/fixtures/luasocket.lua")
  local child = assert(io.popen("luajit spec/fixtures/luasocket.lua print"))
  local expected, names = {}, {}
  for line in child:lines() do
    local name, answer = line:match("^(.-) = (.*)$")
    expected[name] = answer
    names[#names + 1] = name
  end
  child:close()
  local answers

  setup(function()
    answers = ask(socket)
  end)

  helper.leaves_nothing_behind()

  it("agree on more than a hundred questions", function()
    assert.is_true(#names > 100)
  end)

  for _, name in ipairs(names) do
    it("agree: " .. name, function()
      assert.equal(expected[name], answers[name])
    end)
  end
end)

for family, pair in pairs(pairs_of) do
  describe("glua.socket, " .. family, function()
    helper.leaves_nothing_behind()

    it("carries lines, numbers of bytes and all the rest", function()
      local a, b = pair()
      assert.equal(14, a:send("one\r\ntwo\n12345"))
      assert.equal("one", b:receive())
      assert.equal("two", b:receive("l"))
      assert.equal("123", b:receive(3))
      a:send("the rest")
      a:close()
      assert.equal("45the rest", b:receive("a"))
      assert.same({nil, "closed", "", "EOF"}, {b:receive("*a")})
      b:close()
    end)

    it("parks who receives before something is sent", function()
      local a, b = pair()
      local g = parked(b, "receive")
      assert.matches("parked in receive", tostring(g))
      a:send("now\n")
      assert.equal("now", g:get())
      close(a, b)
    end)

    it("keeps what came for the next receive", function()
      local a, b = pair()
      a:send("one\ntwo\n")
      assert.equal("one", b:receive())
      assert.is_true(b:dirty())
      assert.equal("two", b:receive())
      assert.is_false(b:dirty())
      close(a, b)
    end)

    it("receives what is there, at most so much", function()
      local a, b = pair()
      a:send("hello")
      assert.equal("he", b:receive("any", 2))
      assert.equal("llo", b:receive("any"))
      local g = parked(b, "receive", "any", 100)
      a:send("more")
      assert.equal("more", g:get())
      a:close()
      assert.same({nil, "closed", "", "EOF"}, {b:receive("any")})
      b:close()
    end)

    it("receives up to a separator", function()
      local a, b = pair()
      a:send("GET /\r\nHost: x\r\n\r")
      local g = parked(b, "read_until", "\r\n\r\n")
      a:send("\nbody")
      assert.equal("GET /\r\nHost: x", g:get())
      assert.equal("body", b:receive(4))
      close(a, b)
    end)

    it("carries much in both directions at once, in pieces of any size", function()
      local total = STRESS and 2^20 or 64 * 2^20
      local a, b = pair()

      local function size_of(i)
        return 1 + (i * 7919) % 200000
      end

      local function send(s)
        local at, i = 0, 0
        while at < total do
          i = i + 1
          local from = at % period
          local n = math.min(size_of(i), total - at)
          assert(s:send(pattern, from + 1, from + n))
          at = at + n
        end
        s:shutdown("send")
      end

      local function receive(s)
        local at, i = 0, 0
        while true do
          i = i + 1
          local data, message, partial
          if i % 2 == 0 then
            data, message, partial = s:receive("any", size_of(i * 31))
          else
            data, message, partial = s:receive(size_of(i * 31))
          end
          data = data or partial
          local from = at % period
          if data ~= pattern:sub(from + 1, from + #data) then
            error(("what came differs after %d bytes"):format(at))
          end
          at = at + #data
          if message then
            assert.equal("closed", message)
            return at
          end
        end
      end

      local senders = {glua.spawn(send, a), glua.spawn(send, b)}
      local receivers = {glua.spawn(receive, a), glua.spawn(receive, b)}
      assert.equal(total, receivers[1]:get())
      assert.equal(total, receivers[2]:get())
      glua.joinall(senders, {raise_error = true})
      local received, sent = a:getstats()
      assert.same({total, total}, {received, sent})
      close(a, b)
    end)
  end)
end

describe("glua.socket", function()
  helper.leaves_nothing_behind()

  -- ---- names ----

  it("tells the names of both ends", function()
    local a, b = pairs_of.tcp()
    local host, port, family = a:getpeername()
    assert.same({b:getsockname()}, {host, port, family})
    assert.same({"127.0.0.1", "inet"}, {host, family})
    assert.equal(("tcp{client}: fd %d, 127.0.0.1:%d"):format(a:getfd(), port), tostring(a))
    close(a, b)
    assert.equal("tcp{client}: closed", tostring(a))
    local c, d = pairs_of.tcp6()
    host, port, family = c:getpeername()
    assert.same({d:getsockname()}, {host, port, family})
    assert.same({"::1", "inet6"}, {host, family})
    close(c, d)
  end)

  it("tells the path of a Unix socket, abstract ones too", function()
    local server = socket.unix()
    assert.equal("unix{master}: no descriptor", tostring(server))
    assert.equal(1, server:bind("@gluarun-spec-" .. os.time()))
    assert.equal(1, server:listen())
    local path = server:getsockname()
    assert.matches("^@gluarun%-spec", path)
    local client = assert(socket.unix(path))
    assert.equal(path, (client:getpeername()))
    assert.equal("unix", client:getfamily())
    close(server, client)
  end)

  it("refuses a Unix path that is too long", function()
    assert.same({nil, "File name too long", nil, "ENAMETOOLONG"},
      {socket.unix(("x"):rep(200))})
    assert.same({nil, "No such file or directory", nil, "ENOENT"},
      {socket.unix("/no/such/socket")})
  end)

  it("connects a host name to the first of its addresses that answers", function()
    local server = assert(socket.bind("127.0.0.1", 0))
    local _, port = server:getsockname()
    local client = assert(socket.connect("localhost", port))
    assert.equal("127.0.0.1", (client:getpeername()))
    close(server, client)
  end)

  -- ---- sendall and read_until ----

  it("sends a list of strings as one", function()
    local a, b = socket.socketpair()
    assert.is_true(a:sendall {"one", 2, "", "three"})
    assert.is_true(a:sendall "four")
    assert.is_true(a:sendall {})
    a:close()
    assert.equal("one2threefour", b:receive("*a"))
    assert.same({nil, "closed", 0, "EPIPE"}, {b:sendall {"x", "y"}})
    b:close()
  end)

  it("refuses to receive more than so much before a separator", function()
    local a, b = socket.socketpair()
    a:send("0123456789;rest")
    assert.same({nil, "message too long", "", "EMSGSIZE"}, {b:read_until(";", 9)})
    assert.equal("0123456789", b:read_until(";", 10))
    a:send(("x"):rep(100))
    assert.same({nil, "message too long", "", "EMSGSIZE"}, {b:read_until(";", 50)})
    assert.equal("rest" .. ("x"):rep(100), b:receive(104))
    close(a, b)
  end)

  it("finds a separator that comes in pieces", function()
    local a, b = socket.socketpair()
    local g = parked(b, "read_until", "--end--")
    local text = "a-b--c--en--end-"
    for i = 1, #text do
      a:send(text:sub(i, i))
      glua.idle()
      assert.is_false(g:ready())
    end
    a:send("-")
    assert.equal("a-b--c--en", g:get())
    close(a, b)
  end)

  it("receives a line of 10 MB", function()
    local a, b = socket.socketpair()
    local line = ("0123456789"):rep(STRESS and 1e5 or 1e6)
    local g = parked(b, "receive")
    a:send(line .. "\r\nnext\n")
    assert.is_true(line == g:get())
    assert.equal("next", b:receive())
    close(a, b)
  end)

  it("takes every carriage return out of a line, wherever it was cut", function()
    local a, b = socket.socketpair()
    local g = parked(b, "receive")
    for piece in ("a\r,b,\r,\r\n"):gmatch("[^,]+") do
      a:send(piece)
      glua.idle()
    end
    assert.equal("ab", g:get())
    a:send("a\r\nb")
    assert.equal("a\r\nb", b:receive(4)) -- only of lines
    close(a, b)
  end)

  -- ---- timeouts ----

  it("does not wait with a timeout of zero", function()
    local a, b = socket.socketpair()
    a:settimeout(0)
    assert.same({nil, "timeout", "", "ETIMEDOUT"}, {a:receive()})
    b:send("ab")
    assert.same({nil, "timeout", "ab", "ETIMEDOUT"}, {a:receive(3)})
    b:send("c")
    assert.equal("c", a:receive(1))
    fill(a)
    a:settimeout(0)
    local ok, message, sent, code = a:send(("x"):rep(100))
    assert.same({nil, "timeout", 0, "ETIMEDOUT"}, {ok, message, sent, code})
    close(a, b)
  end)

  it("limits each wait, or the whole call", function()
    local a, b = socket.socketpair()
    local drip = glua.spawn(function()
      while a:send("x") do
        glua.sleep(0.02)
      end
    end)
    b:settimeout(0.05, "t")
    local before = glua.now()
    local data, message, partial = b:receive(100)
    assert.same(TIMEOUT, {data, message})
    assert.is_true(glua.now() - before >= 0.05)
    assert.is_true(#partial < 100)
    b:settimeout(nil, "t")
    b:settimeout(0.2, "b")
    before = glua.now()
    assert.equal(15, #b:receive(15)) -- longer than the limit altogether
    assert.is_true(glua.now() - before > 0.2)
    drip:kill()
    close(a, b)
  end)

  it("returns what came when the time is over, and loses nothing", function()
    local a, b = socket.socketpair()
    b:settimeout(0.01)
    a:send("abc")
    assert.same({nil, "timeout", "abc", "ETIMEDOUT"}, {b:receive(5)})
    a:send("d\r")
    assert.same({nil, "timeout", "d", "ETIMEDOUT"}, {b:receive()})
    a:send("e\r;")
    assert.same({nil, "timeout", "e\r;", "ETIMEDOUT"}, {b:read_until(";;")})
    a:send("f")
    assert.same({nil, "timeout", "pref", "ETIMEDOUT"}, {b:receive(9, "pre")})
    a:send("g\n")
    assert.equal("preg", b:receive("*l", "pre"))
    close(a, b)
  end)

  it("tells how much of a send went when the time is over", function()
    local a, b = socket.socketpair()
    local total = fill(a)
    b:receive(50000)
    a:settimeout(0.01)
    local data = ("y"):rep(200000)
    local ok, message, sent, code = a:send(data)
    assert.same({nil, "timeout", "ETIMEDOUT"}, {ok, message, code})
    assert.is_true(sent < #data)
    a:close()
    assert.equal(total - 50000 + sent, #b:receive("*a"))
    b:close()
  end)

  it("gives up a connect and an accept when the time is over", function()
    local port, free = full_server()
    local s = socket.tcp()
    s:settimeout(0.01)
    assert.same({nil, "timeout", nil, "ETIMEDOUT"}, {s:connect("127.0.0.1", port)})
    s:close()
    free()
    local server = assert(socket.bind("127.0.0.1", 0))
    server:settimeout(0.01)
    assert.same({nil, "timeout", nil, "ETIMEDOUT"}, {server:accept()})
    server:close()
  end)

  it("waits for a Unix server whose backlog is full", function()
    local path = "@gluarun-spec-full-" .. os.time()
    local server = socket.unix()
    assert(server:bind(path))
    assert(server:listen(0))
    local first = assert(socket.unix(path))
    local late = socket.unix()
    late:settimeout(0.01)
    assert.same({nil, "timeout", nil, "ETIMEDOUT"}, {late:connect(path)})
    late:settimeout(nil)
    local g = parked(late, "connect", path)
    assert.is_false(g:ready())
    local accepted = assert(server:accept())
    assert.equal(1, g:get())
    close(server, first, late, accepted)
  end)

  it("ends in time although another Timeout is pending, and leaves that alone", function()
    local a, b = socket.socketpair()
    local outer = glua.Timeout(10)
    outer:start()
    b:settimeout(0.01)
    assert.same({nil, "timeout", "", "ETIMEDOUT"}, {b:receive()})
    assert.is_true(outer.pending)
    outer:cancel()
    close(a, b)
  end)

  it("raises a Timeout that runs out in receive", function()
    local a, b = socket.socketpair()
    local ok, e = pcall(glua.with_timeout, 0.01, b.receive, b)
    assert.is_false(ok)
    assert.is_true(glua.is_error(e, "Timeout"))
    a:send("line\n")
    assert.equal("line", b:receive())
    close(a, b)
  end)

  -- ---- bad peers ----

  it("tells that a connection was refused, and can try again", function()
    local server = assert(socket.bind("127.0.0.1", 0))
    local _, port = server:getsockname()
    server:close()
    local s = socket.tcp()
    assert.same({nil, "connection refused", nil, "ECONNREFUSED"},
      {s:connect("127.0.0.1", port)})
    server = assert(socket.bind("127.0.0.1", port))
    assert.equal(1, s:connect("127.0.0.1", port))
    assert.same({nil, "already connected", nil, "EISCONN"}, {s:connect("127.0.0.1", port)})
    close(s, server)
  end)

  it("tells of a reset, after what came before it", function()
    local a, b = pairs_of.tcp()
    b:send("abc")
    glua.sleep(0.001)
    reset(b)
    glua.sleep(0.001)
    assert.same({nil, "closed", "abc", "ECONNRESET"}, {a:receive(5)})
    a:close()
  end)

  it("wakes who waits when the connection is reset", function()
    local a, b = pairs_of.tcp()
    local reading = parked(a, "receive", 5)
    reset(b)
    assert.same({nil, "closed", "", "ECONNRESET"}, {reading:get()})
    a:close()
    a, b = pairs_of.tcp()
    fill(a)
    local writing = parked(a, "send", "x")
    reset(b)
    assert.same({nil, "closed", 0, "ECONNRESET"}, {writing:get()})
    a:close()
  end)

  it("resets the connection when it closes with unread data", function()
    local a, b = pairs_of.tcp()
    b:send("never read")
    glua.sleep(0.001)
    a:close()
    assert.same({nil, "closed", "", "ECONNRESET"}, {b:receive()})
    b:close()
  end)

  it("fails to send to one that has closed, and SIGPIPE does not kill", function()
    local a, b = socket.socketpair()
    b:close()
    glua.sleep(0.001)
    assert.same({nil, "closed", 0, "EPIPE"}, {a:send("x")})
    assert.same({nil, "closed", 2, "EPIPE"}, {a:send("xyz", 3)})
    a:close()
  end)

  it("goes on in one direction when the peer has ended the other", function()
    local a, b = pairs_of.tcp()
    b:send("question")
    b:shutdown("send")
    assert.equal("question", a:receive("*a"))
    assert.equal(6, a:send("answer"))
    a:close()
    assert.equal("answer", b:receive("*a"))
    b:close()
  end)

  it("receives from a peer that sends a byte at a time", function()
    local a, b = pairs_of.tcp()
    glua.spawn(function()
      for c in ("slow\r\nand steady"):gmatch(".") do
        a:send(c)
        glua.sleep(0.001)
      end
      a:close()
    end)
    assert.equal("slow", b:receive())
    assert.equal("and", b:receive(3))
    assert.equal(" steady", b:receive("*a"))
    b:close()
  end)

  it("receives what comes after a short read, and the end right behind it", function()
    local a, b = pairs_of.tcp()
    a:send("one")
    assert.equal("one", b:receive(3)) -- a short read: the next receive waits at once
    local g = parked(b, "receive", 3)
    a:send("two")
    assert.equal("two", g:get())
    a:send("end")
    a:close()
    glua.sleep(0.001)
    assert.equal("end", b:receive(3))
    assert.same({nil, "closed", "", "EOF"}, {b:receive(3)})
    b:close()
    a, b = pairs_of.tcp()
    a:send("abc")
    a:close()
    glua.sleep(0.001)
    b:settimeout(0)
    assert.same({nil, "closed", "abc", "EOF"}, {b:receive(5)})
    b:close()
  end)

  it("fails with EMFILE where there are no descriptors left, and recovers", function()
    local result = helper.gluarun({"-e", [[
      local socket = require "glua.socket"
      local held, message, extra, code = {}
      while true do
        local s
        s, message, extra, code = socket.tcp4()
        if not s then break end
        held[#held + 1] = s
      end
      print(message, extra, code)
      print(socket.socketpair())
      local server = socket.tcp()
      print(server:bind("127.0.0.1", 0))
      table.remove(held):close()
      print(server:bind("127.0.0.1", 0)) -- at once, though closing waits for the next poll
      server:listen()
      local _, port = server:getsockname()
      table.remove(held):close()
      local client = socket.connect("127.0.0.1", port)
      print(server:accept())
      table.remove(held):close()
      print(tostring(server:accept()):match("^tcp{client}"))
    ]]}, {wrap = "sh -c 'ulimit -n 20; exec \"$@\"' sh"})
    assert.equal("", result.err)
    assert.same({
      "Too many open files\tnil\tEMFILE",
      "nil\tToo many open files\tnil\tEMFILE",
      "nil\tToo many open files\tnil\tEMFILE",
      "1",
      "nil\tToo many open files\tnil\tEMFILE",
      "tcp{client}",
    }, {result.out:match(("([^\n]*)\n"):rep(6))})
  end)

  -- ---- close ----

  it("wakes who waits when it is closed", function()
    for _, case in ipairs {
      {"receive", "*l"}, {"receive", 3}, {"receive", "*a"}, {"receive", "any"},
      {"read_until", ";"},
    } do
      local a, b = socket.socketpair()
      a:send("ab")
      local g = parked(b, unpack(case))
      if case[2] == "any" then
        g = parked(b, unpack(case))
      end
      b:close()
      assert.same({nil, "closed", "", "EBADF"}, {g:get()})
      a:close()
    end
    local a, b = socket.socketpair()
    fill(a)
    b:receive(50000)
    local g = parked(a, "send", ("x"):rep(200000))
    a:close()
    local ok, message, sent, code = g:get()
    assert.same({nil, "closed", "EBADF"}, {ok, message, code})
    assert.is_true(sent > 0 and sent < 200000)
    b:close()
  end)

  it("wakes who accepts, connects or just waits when it is closed", function()
    local server = assert(socket.bind("127.0.0.1", 0))
    local g = parked(server, "accept")
    server:close()
    assert.same({nil, "closed", nil, "EBADF"}, {g:get()})

    local port, free = full_server()
    local s = socket.tcp()
    g = parked(s, "connect", "127.0.0.1", port)
    s:close()
    assert.same({nil, "closed", nil, "EBADF"}, {g:get()})
    free()

    local a, b = socket.socketpair()
    local reading = glua.spawn(socket.wait_read, a)
    fill(a)
    local writing = glua.spawn(socket.wait_write, a)
    glua.sleep(0)
    a:close()
    assert.same({nil, "closed", nil, "EBADF"}, {reading:get()})
    assert.same({nil, "closed", nil, "EBADF"}, {writing:get()})
    b:close()
  end)

  it("wakes a reader and a writer at once when it is closed", function()
    local a, b = socket.socketpair()
    fill(a)
    local writing, reading = parked(a, "send", "x"), parked(a, "receive")
    a:close()
    assert.same({nil, "closed"}, {writing:get(), (select(2, writing:get()))})
    assert.same({nil, "closed"}, {reading:get(), (select(2, reading:get()))})
    b:close()
  end)

  it("fails after close, each operation, and closes twice", function()
    local a, b = socket.socketpair()
    assert.same({1, 1}, {a:close(), a:close()})
    assert.same({nil, "closed", "", "EBADF"}, {a:receive()})
    assert.same({nil, "closed", "", "EBADF"}, {a:read_until(";")})
    assert.same({nil, "closed", 0, "EBADF"}, {a:send("x")})
    assert.same({nil, "closed", 0, "EBADF"}, {a:sendall {"x"}})
    assert.same({nil, "closed", nil, "EBADF"}, {a:accept()})
    assert.same({nil, "closed", nil, "EBADF"}, {socket.wait_read(a)})
    local s = socket.tcp()
    s:close()
    assert.same({nil, "closed", nil, "EBADF"}, {s:connect("127.0.0.1", 1)})
    assert.same({nil, "closed", nil, "EBADF"}, {s:bind("127.0.0.1", 0)})
    assert.equal(-1, a:getfd())
    b:close()
  end)

  it("does not use a number again within the turn in which it was closed", function()
    local a, b = socket.socketpair()
    local fd = a:getfd()
    a:close()
    local c = socket.tcp4()
    assert.not_equal(fd, c:getfd())
    glua.sleep(0.001)
    assert.same({nil, "Bad file descriptor", nil, "EBADF"}, {socket.wait_read(fd)})
    close(b, c)
  end)

  it("frees a server's port at once, but not its number", function()
    local server = assert(socket.bind("127.0.0.1", 0))
    local _, port = server:getsockname()
    local fd = server:getfd()
    server:close()
    local again = assert(socket.bind("127.0.0.1", port))
    assert.not_equal(fd, again:getfd())
    again:close()
    assert.same({nil, "connection refused", nil, "ECONNREFUSED"},
      {socket.connect("127.0.0.1", port)})
  end)

  it("closes a socket that was forgotten", function()
    local before = helper.descriptors()
    local function forget()
      local a, b = pairs_of.tcp()
      a:send("unread")
      assert.equal("un", b:receive(2))
    end
    glua.spawn(forget):get() -- on a stack of its own, which holds them no longer
    collectgarbage()
    glua.idle()
    assert.equal(before, helper.descriptors())
  end)

  -- ---- who may use a socket ----

  it("refuses a second reader, and names both", function()
    local a, b = socket.socketpair()
    local first = parked(b, "receive")
    first.name = "first"
    local second = glua.spawn(pcall, b.receive, b)
    second.name = "second"
    local ok, message = second:get()
    assert.is_false(ok)
    assert.matches(("descriptor %d is already being read by <Greenlet %%d+ \"first\" parked in "
      .. "receive.*>; <Greenlet %%d+ \"second\".*> cannot too"):format(b:getfd()), message)
    a:send("for the first\n")
    assert.equal("for the first", first:get())
    close(a, b)
  end)

  it("refuses a second writer, and a second accept", function()
    local a, b = socket.socketpair()
    fill(a)
    local g = parked(a, "send", "x")
    assert.error_matches(function() a:send("y") end, "already being written by <Greenlet")
    g:kill()
    close(a, b)
    local server = assert(socket.bind("127.0.0.1", 0))
    g = parked(server, "accept")
    assert.error_matches(function() server:accept() end, "already being read by <Greenlet")
    g:kill()
    server:close()
  end)

  it("lets one read while another writes", function()
    local a, b = socket.socketpair()
    fill(a)
    local writing, reading = parked(a, "send", "last"), parked(a, "receive")
    b:send("hello\n")
    assert.equal("hello", reading:get())
    assert.is_false(writing:ready())
    a:shutdown("receive")
    repeat
      local data = b:receive("any")
    until data:sub(-4) == "last"
    assert.equal(4, writing:get())
    close(a, b)
  end)

  it("gives what a reader waits for to nobody else, once it is woken", function()
    local a, b = socket.socketpair()
    local first = parked(b, "receive")
    -- Ready in each turn, and so also in the one in which the first has been woken.
    local thief = glua.spawn(function()
      local ok, message
      repeat
        glua.sleep(0)
        ok, message = pcall(b.receive, b)
      until ok or not message:find("by <Greenlet %d+ parked")
      return message
    end)
    glua.sleep(0)
    a:send("mine\n")
    assert.equal("mine", first:get())
    assert.matches("already being read by <Greenlet %d+ ready", thief:get())
    close(a, b)
  end)

  it("is free again after a reader was killed or timed out", function()
    local a, b = socket.socketpair()
    local g = parked(b, "receive")
    g:kill()
    assert.is_true(g.dead)
    b:settimeout(0.001)
    assert.same(TIMEOUT, {b:receive(), (select(2, b:receive()))})
    b:settimeout(nil)
    pcall(glua.with_timeout, 0.001, b.receive, b)
    pcall(glua.with_timeout, 0.001, socket.wait_read, b)
    a:send("free\n")
    assert.equal("free", b:receive())
    close(a, b)
  end)

  it("keeps what a killed reader had received for the next one", function()
    local a, b = socket.socketpair()
    local g = parked(b, "receive", 100)
    a:send("one\ntwo")
    glua.idle()
    g:kill()
    assert.equal("one", b:receive()) -- the newline was seen already, by the other receive
    g = parked(b, "read_until", ";;")
    a:send("\nthree\n")
    glua.idle()
    g:kill()
    assert.equal("two", b:receive())
    assert.equal("three", b:receive())
    close(a, b)
  end)

  it("returns what came in the turn of the kill, and dies at the next park", function()
    local a, b = socket.socketpair()
    local line, died
    local g = glua.spawn(function()
      line = b:receive()
      died = results(pcall(b.receive, b))
    end)
    glua.sleep(0)
    a:send("in time\n")
    socket.wait_write(a) -- a poll: g is ready
    g:kill()
    assert.equal("in time", line)
    assert.equal(glua.GreenletExit, died[2])
    close(a, b)
  end)

  -- ---- fairness ----

  it("lets a timer fire although every call succeeds at once", function()
    local a, b = socket.socketpair()
    local fired = false
    local timer = glua.spawn_later(0.005, function() fired = true end)
    local rounds = 0
    while not fired and rounds < 1e7 do
      rounds = rounds + 1
      a:send("x")
      b:receive(1)
    end
    assert.is_true(fired)
    timer:join()
    close(a, b)
  end)

  it("lets others run in a long series of receives from one read", function()
    local a, b = socket.socketpair()
    a:send(("line\n"):rep(1000))
    local turns = 0
    local other = glua.spawn(function()
      while true do
        turns = turns + 1
        glua.sleep(0)
      end
    end)
    for _ = 1, 1000 do
      assert(b:receive())
    end
    assert.is_true(turns >= 5)
    other:kill()
    close(a, b)
  end)

  it("sends all and in order, wherever it lets others run", function()
    local a, b = socket.socketpair()
    local sizes, expected = {}, {}
    for i = 1, 500 do
      sizes[i] = (i * 37) % 61
      expected[i] = ("%d:"):format(i) .. ("x"):rep(sizes[i])
    end
    local sender = glua.spawn(function()
      for i = 1, 500 do
        assert.equal(#expected[i], a:send(expected[i]))
      end
      a:close()
    end)
    assert.equal(table.concat(expected), b:receive("*a"))
    sender:get()
    b:close()
  end)

  it("connects, wherever it lets others run", function()
    local server = assert(socket.bind("127.0.0.1", 0))
    local _, port = server:getsockname()
    for calls = 60, 70 do
      glua.sleep(0)
      local a, b = socket.socketpair()
      for _ = 1, calls do
        a:send("x")
      end
      local s = assert(socket.connect("127.0.0.1", port))
      assert.equal(port, (select(2, s:getpeername())))
      local accepted = assert(server:accept())
      close(a, b, s, accepted)
    end
    server:close()
  end)

  it("serves a thousand connections at once", function()
    local n = STRESS and 100 or 1000
    local server = assert(socket.bind("127.0.0.1", 0, n))
    local _, port = server:getsockname()
    local echo = glua.spawn(function()
      for _ = 1, n do
        local s = assert(server:accept())
        glua.spawn(function()
          s:send(assert(s:receive()) .. "\n")
          s:close()
        end)
      end
    end)
    local clients, all_there = {}, require("glua.event").Event()
    local there = 0
    for i = 1, n do
      clients[i] = glua.spawn(function()
        local s = assert(socket.connect("127.0.0.1", port))
        there = there + 1
        if there == n then
          all_there:set()
        end
        all_there:wait()
        s:send(i .. "\n")
        local line = s:receive()
        s:close()
        return line
      end)
    end
    for i = 1, n do
      assert.equal(tostring(i), clients[i]:get())
    end
    echo:get()
    server:close()
  end)

  -- ---- finalizers ----

  it("bears a finalizer that closes it, or receives, in the midst of a receive", function()
    local result = helper.run [[
      local socket = require "glua.socket"
      collectgarbage("setpause", 0)
      collectgarbage("setstepmul", 1e6)
      local a, b = socket.socketpair()
      local other, feed = socket.socketpair()
      other:settimeout(0)
      local calls, broken = 0, 0
      local function litter()
        getmetatable(newproxy(true)).__gc = function()
          calls = calls + (other:receive(100) and 1 or 0)
          feed:send(("#"):rep(100))
        end
      end
      feed:send(("#"):rep(100))
      for i = 1, 1000 do
        local line = ("%d"):format(i):rep(50)
        a:send(line .. "\n" .. line .. "\n")
        for _ = 1, 2 do
          litter()
          broken = broken + (b:receive() == line and 0 or 1)
        end
      end
      print(calls > 100, broken)
      for _ = 1, 100 do
        local c, d = socket.socketpair()
        c:send(("line\n"):rep(10))
        d:receive()
        getmetatable(newproxy(true)).__gc = function() d:close() end
        repeat
          local line, message = d:receive()
          broken = broken + ((line or "line") == "line" and 0 or 1)
        until not line
        c:close()
      end
      print(broken)
    ]]
    assert.equal("", result.err)
    assert.equal("true\t0\n0\n", result.out)
  end)

  -- ---- descriptors of others ----

  it("waits for descriptors and for sockets", function()
    local fds = ffi.new("int[2]")
    assert.equal(0, ffi.C.pipe(fds))
    assert.same({nil, "timeout", nil, "ETIMEDOUT"}, {socket.wait_read(fds[0], 0.001)})
    assert.same({nil, "timeout", nil, "ETIMEDOUT"}, {socket.wait_read(fds[0], 0)})
    assert.is_true(socket.wait_write(fds[1]))
    local g = glua.spawn(socket.wait_read, fds[0])
    glua.sleep(0)
    assert.is_false(g:ready())
    ffi.C.close(fds[1])
    assert.is_true(g:get())
    ffi.C.close(fds[0])

    local a, b = socket.socketpair()
    assert.same({nil, "timeout", nil, "ETIMEDOUT"}, {socket.wait_read(a, 0.001)})
    b:send("x\ny")
    assert.is_true(socket.wait_read(a))
    assert.equal("x", a:receive())
    assert.is_true(socket.wait_read(a)) -- for the "y" that it has
    assert.is_true(socket.wait_read({getfd = function() return b:getfd() end}, 0) == nil)
    close(a, b)
  end)

  it("takes a descriptor from another socket", function()
    local a, b = pairs_of.tcp()
    local s = socket.tcp()
    s:setfd(a:getfd())
    a:setfd(-1)
    assert.equal(-1, a:getfd())
    assert.equal(b:getsockname(), (s:getpeername()))
    assert.matches("^tcp{client}", tostring(s))
    local g = parked(s, "receive")
    b:send("hello\n")
    assert.equal("hello", g:get())
    assert.same({nil, "closed", "", "ENOTCONN"}, {a:receive()})
    close(a, b, s)
  end)

  -- ---- misuse ----

  it("raises for wrong arguments, at the script's line", function()
    local a, b = socket.socketpair()
    local function raises(message, fn, ...)
      local ok, e = pcall(fn, ...)
      assert.is_false(ok)
      assert.matches("^[^:]*socket_spec%.lua:%d+: ", e)
      assert.equal(message, (e:gsub("^.-:%d+: ", "")))
    end
    raises("bad argument #1 to 'receive' (invalid receive pattern)",
      function() a:receive("*x") end)
    raises("bad argument #2 to 'receive' (positive maximum expected)",
      function() a:receive("any", 0) end)
    raises("bad argument #1 to 'send' (string expected, got nil)",
      function() a:send() end)
    raises("bad argument #2 to 'send' (number expected, got string)",
      function() a:send("x", "y") end)
    raises("bad argument #1 to 'sendall' (strings expected in the list, got table at 2)",
      function() a:sendall {"x", {}} end)
    raises("bad argument #1 to 'sendall' (string or list of strings expected, got nil)",
      function() a:sendall() end)
    raises("bad argument #1 to 'read_until' (separator must not be empty)",
      function() a:read_until("") end)
    raises("bad argument #2 to 'read_until' (non-negative number expected, got x)",
      function() a:read_until(";", "x") end)
    raises("bad argument #1 to 'connect' (string expected, got nil)",
      function() socket.connect() end)
    raises("bad argument #2 to 'connect' (port: number or string expected, got table)",
      function() socket.connect("x", {}) end)
    raises("bad argument #2 to 'bind' (port: number or string expected, got nil)",
      function() socket.bind("*") end)
    raises("bad argument #1 to 'settimeout' (seconds: number expected, got nan)",
      function() a:settimeout(0 / 0) end)
    raises("bad argument #2 to 'setoption' (field 'on': boolean expected, got nil)",
      function() a:setoption("linger", {}) end)
    raises("bad argument #1 to 'getoption' (unsupported option 'nope')",
      function() a:getoption("nope") end)
    raises("bad argument #1 to 'wait_read' (descriptor or object with getfd() expected, got -1)",
      function() socket.wait_read(-1) end)
    raises("bad argument #1 to 'wait_write' (descriptor or object with getfd() expected, "
      .. "got nil)", function() socket.wait_write() end)
    raises("bad argument #2 to 'wait_read' (timeout: non-negative seconds expected, got -1)",
      function() socket.wait_read(a, -1) end)
    raises("socket expected, got string; call it with ':'", function() a.receive("x") end)
    raises("bad argument #1 to 'close' (socket expected, got nil; call it with ':')",
      function() a.close() end)
    close(a, b)
  end)

  it("is carried on by socket.protect when a call in it parks", function()
    local a, b = socket.socketpair()
    local cleaned = false
    local try = socket.newtry(function() cleaned = true end)
    local fetch = socket.protect(function(s)
      return try(s:receive()), try(s:receive())
    end)
    local g = glua.spawn(fetch, b)
    glua.sleep(0)
    a:send("one\n")
    glua.idle()
    a:close()
    assert.same({nil, "closed"}, {g:get()})
    assert.is_true(cleaned)
    b:close()
  end)
end)

-- ---- programs of others ----

-- What a command prints, while the hub goes on.
local function capture(command)
  local pipe = assert(io.popen(command))
  local fd, buffer, pieces = ffi.C.fileno(pipe), ffi.new("char[65536]"), {}
  while true do
    assert(socket.wait_read(fd))
    local n = ffi.C.read(fd, buffer, 65536)
    if n <= 0 then
      break
    end
    pieces[#pieces + 1] = ffi.string(buffer, n)
  end
  pipe:close()
  return table.concat(pieces)
end

describe("glua.socket and programs of others", function()
  helper.leaves_nothing_behind()

  it("answers curl", function()
    local server = assert(socket.bind("127.0.0.1", 0))
    local _, port = server:getsockname()
    local body = ("0123456789abcdef"):rep(65536)
    local seen
    local responder = glua.spawn(function()
      local s = assert(server:accept())
      seen = assert(s:read_until("\r\n\r\n"))
      s:sendall {"HTTP/1.1 200 OK\r\nContent-Length: ", #body, "\r\nConnection: close\r\n\r\n",
        body}
      s:close()
    end)
    local out = capture(("curl -s --noproxy '*' http://127.0.0.1:%d/path"):format(port))
    responder:get()
    assert.matches("^GET /path HTTP/1.1\r\nHost: 127.0.0.1:%d+\r\n", seen)
    assert.equal(#body, #out)
    assert.is_true(body == out)
    server:close()
  end)

  it("fetches a file from nginx", function()
    local dir = os.tmpname()
    os.remove(dir)
    assert.equal(0, os.execute(("mkdir -p '%s/tmp'"):format(dir)))
    local content = ("gluarun\n"):rep(200000)
    local file = assert(io.open(dir .. "/file.txt", "wb"))
    file:write(content)
    file:close()
    local free = assert(socket.bind("127.0.0.1", 0))
    local _, port = free:getsockname()
    free:close()
    file = assert(io.open(dir .. "/nginx.conf", "w"))
    local configuration = ([[
      daemon off;
      master_process off;
      pid DIR/pid;
      error_log DIR/error.log;
      events { worker_connections 64; }
      http {
        access_log off;
        client_body_temp_path DIR/tmp;
        proxy_temp_path DIR/tmp;
        fastcgi_temp_path DIR/tmp;
        uwsgi_temp_path DIR/tmp;
        scgi_temp_path DIR/tmp;
        server { listen 127.0.0.1:PORT; root DIR; }
      }
    ]]):gsub("%u%u%u+", {DIR = dir, PORT = tostring(port)})
    file:write(configuration)
    file:close()
    local shell = assert(io.popen(("PATH=$PATH:/usr/sbin; exec 2>'%s/out' </dev/null; "
      .. "nginx -p '%s' -e '%s/error.log' -c '%s/nginx.conf' >&2 & echo $!")
      :format(dir, dir, dir, dir)))
    local pid = assert(shell:read("*n"))
    shell:close()
    finally(function()
      os.execute(("kill %d; while kill -0 %d; do sleep 0.01; done 2>/dev/null; rm -rf '%s'")
        :format(pid, pid, dir))
    end)

    local s, message
    repeat
      glua.sleep(0.01)
      s, message = socket.connect("127.0.0.1", port)
      assert.equal(0, os.execute(("kill -0 %d"):format(pid)))
    until s
    assert.is_nil(message)
    for _ = 1, 3 do
      s:send("GET /file.txt HTTP/1.1\r\nHost: x\r\n\r\n")
      assert.equal("HTTP/1.1 200 OK", s:receive())
      local headers = s:read_until("\r\n\r\n")
      assert.equal(#content, tonumber(headers:match("Content%-Length: (%d+)")))
      assert.is_true(content == s:receive(#content))
    end
    s:send("GET /none HTTP/1.0\r\n\r\n")
    assert.equal("HTTP/1.1 404 Not Found", s:receive())
    assert.matches("404", s:receive("*a"))
    s:close()
  end)
end)
