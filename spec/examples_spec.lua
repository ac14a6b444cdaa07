-- examples_spec.lua: every program of examples/ does what its first lines say.

local ffi = require "ffi"
local glua = require "glua"
local helper = require "spec.helper"
local server = require "glua.server"
local socket = require "glua.socket"

ffi.cdef "int fileno(void *);"

-- Names of the examples that have a describe of their own below.
local covered = {}

-- What the running spec has started and has to stop, the last one first.
local to_stop = {}

local function example(name, fn)
  covered[name .. ".lua"] = true
  describe("examples/" .. name .. ".lua", function()
    after_each(function()
      while to_stop[1] do
        table.remove(to_stop)()
      end
    end)
    helper.leaves_nothing_behind()
    fn(("examples/%s.lua"):format(name))
  end)
end

local function lines(...)
  return table.concat({...}, "\n") .. "\n"
end

-- Runs an example without arguments: status 0, nothing on stderr, and this output.
local function prints(path, expected)
  local result = helper.gluarun {path}
  assert.equal("", result.err)
  assert.equal(expected, result.out)
  assert.equal(0, result.status)
end

local function quoted(words)
  local list = {}
  for i, word in ipairs(words) do
    list[i] = "'" .. word:gsub("'", "'\\''") .. "'"
  end
  return table.concat(list, " ")
end

-- Runs a command while the hub goes on, so that it can talk to servers in this process.
local function beside(...)
  local out, err = os.tmpname(), os.tmpname()
  local shell = assert(io.popen(("timeout 20 %s >%s 2>%s </dev/null; echo $?")
    :format(quoted {...}, out, err)))
  local ok, message = pcall(socket.wait_read, ffi.C.fileno(shell))
  local result = {status = ok and shell:read("*n")}
  shell:close()
  for key, path in pairs {out = out, err = err} do
    local file = assert(io.open(path, "rb"))
    result[key] = file:read("*a")
    file:close()
    os.remove(path)
  end
  assert(ok, message)
  return result
end

-- Starts an example that serves until it is interrupted, and reads the address that it
-- prints first. `running.stop()` sends SIGINT and returns what it printed since, and its
-- status.
local function serve(path, address, ...)
  local pipe = assert(io.popen(("sh -c 'echo $$; exec timeout --foreground 20 %s' 2>&1; echo $?")
    :format((quoted({helper.program, path, address, ...}):gsub("'", "'\\''")))))
  local running = {pid = pipe:read("*n", "*l")}
  local first = pipe:read("*l")
  running.host, running.port = first:match("^serving ([^:]+):(%d+)")
  running.first = first
  function running.stop()
    glua.idle() -- what was closed is really closed before the next poll
    os.execute("kill -INT " .. running.pid)
    local text = pipe:read("*a")
    pipe:close()
    local out, status = text:match("^(.-)(%d+)\n$")
    return out, tonumber(status)
  end
  to_stop[#to_stop + 1] = function()
    if io.type(pipe) == "file" then
      os.execute("kill -KILL " .. running.pid .. " 2>/dev/null")
      pipe:close()
    end
  end
  if not running.port then
    error("it did not serve: " .. first)
  end
  return running
end

local function connect(running)
  local client = assert(socket.connect(running.host, running.port))
  client:settimeout(10)
  return client
end

example("hello", function(path)
  it("switches back and forth between two greenlets", function()
    prints(path, lines("Running in foo", "Explicit context to bar",
      "Explicit context switch to foo again", "Implicit context switch back to bar"))
  end)
end)

example("tasks", function(path)
  it("ends tasks in the order of the list, then in the order of their waits", function()
    local result = helper.gluarun {path}
    assert.equal("", result.err)
    assert.equal(0, result.status)
    local slow, fast = result.out:match("^one after the other: 1 2 3 4 5 6   (%S+) s\n"
      .. "all at once:         4 2 6 3 1 5   (%S+) s\n$")
    assert.is_truthy(slow, result.out)
    assert.is_true(tonumber(slow) >= 0.42)
    assert.is_true(tonumber(fast) >= 0.12)
    assert.is_true(tonumber(fast) < tonumber(slow))
  end)
end)

example("event", function(path)
  it("wakes five waiters in the order in which they came", function()
    local expected = {"setter: wait for me, I have something to do"}
    for n = 1, 5 do
      expected[1 + n] = ("waiter %d: I wait for you"):format(n)
      expected[7 + n] = ("waiter %d: it is about time"):format(n)
    end
    expected[7] = "setter: done"
    prints(path, lines(unpack(expected)))
  end)
end)

example("queue", function(path)
  it("gives 24 tasks to three workers in turn", function()
    local expected, names = {}, {"steve", "john", "nancy"}
    for task = 1, 24 do
      expected[task] = ("%s got task %d"):format(names[(task - 1) % 3 + 1], task)
    end
    for i, name in ipairs(names) do
      expected[24 + i] = name .. " goes home"
    end
    prints(path, lines(unpack(expected)))
  end)
end)

example("timeouts", function(path)
  it("ends each wait in its own way", function()
    prints(path, lines("get with a limit:\tnil\tempty", "with_timeout, in time:\tthe answer",
      "with_timeout, too late:\tno answer",
      "with_timeout raises:\tfalse\tTimeout: 0.01 seconds",
      "the short one:\tfalse\ttrue\tfalse"))
  end)
end)

example("pool", function(path)
  it("never runs more than fit", function()
    prints(path, lines("map: 1 4 9 16 25 36 49 64 81", "running at a time: 3",
      "done in this order: 9 8 7 6 5 4 3 2 1", "spawned 1, free places: 2",
      "spawned 2, free places: 1", "spawned 3, free places: 0", "spawned 4, free places: 0",
      "joined, free places: 3"))
  end)
end)

example("locals", function(path)
  it("keeps the greenlets' values apart, and a family's together", function()
    prints(path, lines("[a] started", "[b] started", "[a] still the same request",
      "[b] still the same request", "[-] main has set nothing", "the leaf's user is steve",
      "the leaf's user is nancy"))
  end)
end)

example("subtasks", function(path)
  it("gathers the results in the order in which they come", function()
    prints(path, lines("west failed: west is closed", "south says 15", "north says 12",
      "the best price: 12"))
  end)
end)

example("scope", function(path)
  it("lets nothing outlive it, whether all goes well, one fails, or the time is over",
    function()
      prints(path, lines("all goes well", "two\tfinished", "one\tfinished",
        "both have ended", "", "one of them fails", "one\twas stopped: GreenletExit",
        "the scope:\tfalse\ttwo cannot go on", "", "no more than 50 milliseconds",
        "two\tfinished", "one\twas stopped: GreenletExit",
        "the scope:\tfalse\tTimeout: 0.05 seconds"))
    end)
end)

example("actors", function(path)
  it("sends one ball to and fro", function()
    prints(path, lines("ping hits, number 1", "pong hits, number 2", "ping hits, number 3",
      "pong hits, number 4", "ping hits, number 5", "pong misses", "pong has stopped",
      "ping has stopped"))
  end)
end)

-- What an example does when it cannot have the address that it is given.
local function tells_why_it_cannot_serve(path, ...)
  local rest = {...}
  it("says so and fails when the address is taken", function()
    local taken = assert(socket.bind("127.0.0.1", 0))
    to_stop[1] = function() taken:close() end
    local _, port = taken:getsockname()
    local result = helper.gluarun {path, "127.0.0.1:" .. port, unpack(rest)}
    assert.equal(("cannot listen on 127.0.0.1:%d: address already in use\n"):format(port),
      result.err)
    assert.equal(1, result.status)
  end)

  it("names its argument when that is no address", function()
    local result = helper.gluarun {path, "nowhere", unpack(rest)}
    assert.matches("address: port, 'host:port'.* expected, got nowhere", result.err)
    assert.equal(1, result.status)
  end)
end

example("echo_server", function(path)
  it("shows two clients who take turns", function()
    prints(path, lines("ann gets: line 1 of ann", "bob gets: line 1 of bob",
      "ann gets: line 2 of ann", "bob gets: line 2 of bob"))
  end)

  it("serves many clients at a time, and ends when it is interrupted", function()
    local running = serve(path, "127.0.0.1:0")
    local clients = {}
    for n = 1, 20 do
      clients[n] = connect(running)
    end
    for n = 20, 1, -1 do
      clients[n]:send(("one %d\r\ntwo %d\n"):format(n, n))
    end
    for n, client in ipairs(clients) do
      assert.equal("one " .. n, client:receive("*l"))
      assert.equal("two " .. n, client:receive("*l"))
    end
    for n = 1, 20 do
      clients[n]:close()
    end
    local out, status = running.stop()
    assert.equal("stopping: clients have a second to finish\n", out)
    assert.equal(0, status)
  end)

  it("lets go of a client that stays, after a second", function()
    local running = serve(path, "127.0.0.1:0")
    local client = connect(running)
    client:send("still here\n")
    assert.equal("still here", client:receive("*l"))
    local _, status = running.stop()
    assert.equal(0, status)
    assert.is_nil(client:receive("*l"))
    client:close()
  end)

  tells_why_it_cannot_serve(path)
end)

example("chat", function(path)
  it("shows two people who talk", function()
    prints(path, lines("ann  | Welcome, ann. Here: ann", "bob  | Welcome, bob. Here: ann bob",
      "ann  | bob comes in", "bob  | ann: hello bob", "ann  | bob: hello ann",
      "ann  | bob leaves", "ann  | Here: ann"))
  end)

  local function enter(running, name)
    local client = connect(running)
    assert.equal("Your name?", client:receive("*l"))
    client:send(name .. "\r\n")
    return client
  end

  it("passes each line to everybody else", function()
    local running = serve(path, "127.0.0.1:0")
    local ann = enter(running, "ann")
    assert.equal("Welcome, ann. Here: ann", ann:receive("*l"))
    local bob = enter(running, "bob")
    assert.equal("Welcome, bob. Here: ann bob", bob:receive("*l"))
    assert.equal("bob comes in", ann:receive("*l"))
    ann:send("one\r\n\r\ntwo\r\n")
    assert.equal("ann: one", bob:receive("*l"))
    assert.equal("ann: two", bob:receive("*l"))
    bob:send("\27[2Jthree\n/who\n")
    assert.equal("ann: [2Jthree", (ann:receive("*l"):gsub("bob", "ann")))
    assert.equal("Here: ann bob", bob:receive("*l"))
    bob:close()
    assert.equal("bob leaves", ann:receive("*l"))
    ann:send("/quit\n")
    assert.same({nil, "closed", "", "EOF"}, {ann:receive("*l")})
    ann:close()
    local out, status = running.stop()
    assert.equal("gluarun: interrupted\n", out)
    assert.equal(130, status)
  end)

  it("asks again for a name that is taken or none", function()
    local running = serve(path, "127.0.0.1:0")
    local ann = enter(running, "ann")
    ann:receive("*l")
    local other = enter(running, "ann")
    assert.equal("There is a ann here already. Your name?", other:receive("*l"))
    other:send("a n n\n")
    assert.equal("Letters and digits only, 20 at most. Your name?", other:receive("*l"))
    other:send("\n")
    assert.equal("Letters and digits only, 20 at most. Your name?", other:receive("*l"))
    other:send("bob\n")
    assert.equal("Welcome, bob. Here: ann bob", other:receive("*l"))
    ann:close()
    other:close()
    running.stop()
  end)

  it("puts out who does not read, and keeps nobody waiting for them", function()
    local running = serve(path, "127.0.0.1:0")
    local deaf = enter(running, "deaf")
    deaf:receive("*l")
    local ann = enter(running, "ann")
    assert.equal("Welcome, ann. Here: ann deaf", ann:receive("*l"))
    local flood = glua.spawn(function()
      local line = ("x"):rep(900) .. "\n"
      while ann:send(line) do end
    end)
    assert.equal("deaf leaves", ann:receive("*l"))
    flood:kill()
    ann:close()
    deaf:close()
    running.stop()
  end)

  it("puts out who sends a line that is too long", function()
    local running = serve(path, "127.0.0.1:0")
    local ann = enter(running, "ann")
    ann:receive("*l")
    ann:send(("x"):rep(2000))
    assert.is_nil(ann:receive("*l"))
    ann:close()
    running.stop()
  end)

  tells_why_it_cannot_serve(path)
end)

-- A server in this process; handle as for StreamServer. Returns its port.
local function start_server(handle)
  local s = server.StreamServer("127.0.0.1:0", handle)
  assert(s:start())
  to_stop[#to_stop + 1] = function() s:stop(0) end
  return s.port
end

-- A port on which nobody listens.
local function free_port()
  local listener = assert(socket.bind("127.0.0.1", 0))
  local _, port = listener:getsockname()
  listener:close()
  glua.idle() -- as in running.stop
  return port
end

local GREETING = "HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n"

local function greet(client)
  client:read_until("\r\n\r\n")
  client:sendall(GREETING)
end

example("forwarder", function(path)
  it("shows a request and its answer", function()
    prints(path, lines("forwarded 27 bytes there, 10 bytes back",
      "through the forwarder: 27 letters"))
  end)

  it("forwards both ways at once, and passes on the end of each", function()
    local got
    local target = start_server(function(client)
      client:send("who is there?\n")
      got = client:receive("*a")
      client:send("goodbye")
    end)
    local running = serve(path, "127.0.0.1:0", "127.0.0.1:" .. target)
    assert.matches(", forwarding to 127.0.0.1:" .. target .. "$", running.first)
    local client = connect(running)
    assert.equal("who is there?", client:receive("*l"))
    local data = ("0123456789"):rep(100000)
    client:send(data)
    client:shutdown("send")
    assert.equal("goodbye", client:receive("*a"))
    assert.equal(data, got)
    client:close()
    local out, status = running.stop()
    assert.equal("forwarded 1000000 bytes there, 21 bytes back\ngluarun: interrupted\n", out)
    assert.equal(130, status)
  end)

  it("carries what curl asks for", function()
    local target = start_server(greet)
    local running = serve(path, "127.0.0.1:0", "localhost:" .. target)
    local result = beside("curl", "-sS", ("http://%s:%d/"):format(running.host, running.port))
    assert.same({out = "hello\n", err = "", status = 0}, result)
    running.stop()
  end)

  it("closes the client and says why when the target refuses", function()
    local target = free_port()
    local running = serve(path, "127.0.0.1:0", "127.0.0.1:" .. target)
    local client = connect(running)
    assert.is_nil(client:receive("*l"))
    client:close()
    local out = running.stop()
    assert.matches("^127.0.0.1:" .. target .. ": connection refused\n", out)
  end)

  it("tells its usage when the target is missing or wrong", function()
    for _, target in ipairs {"", "example.com", "example.com:http"} do
      local result = helper.gluarun {path, "0", target ~= "" and target or nil}
      assert.matches("^usage: ", result.err)
      assert.equal(2, result.status)
    end
  end)

  tells_why_it_cannot_serve(path, "localhost:1")
end)

example("proxy", function(path)
  it("shows a tunnel, a refusal, and a method that it does not serve", function()
    local result = helper.gluarun {path}
    assert.equal("", result.err)
    assert.equal(lines("> CONNECT 127.0.0.1:PORT HTTP/1.1",
      "< HTTP/1.1 200 Connection established", "< Hello, proxy!",
      "proxy: 127.0.0.1:PORT, 6 bytes there, 14 bytes back",
      "> CONNECT 127.0.0.1:1 HTTP/1.1", "proxy: 127.0.0.1:1, 502: connection refused",
      "< HTTP/1.1 502 Bad Gateway", "> GET / HTTP/1.1",
      "< HTTP/1.1 405 Method Not Allowed"), (result.out:gsub(":%d%d+", ":PORT")))
    assert.equal(0, result.status)
  end)

  it("takes curl to where it wants to go", function()
    local target = start_server(greet)
    local running = serve(path, "127.0.0.1:0")
    local result = beside("curl", "-sS", "--noproxy", "", "--proxytunnel", "--proxy",
      ("http://%s:%d"):format(running.host, running.port),
      ("http://127.0.0.1:%d/"):format(target))
    assert.same({out = "hello\n", err = "", status = 0}, result)
    local out = running.stop()
    assert.matches("^proxy: 127.0.0.1:" .. target .. ", %d+ bytes there, "
      .. #GREETING .. " bytes back\n", out)
  end)

  it("answers requests that it cannot serve with what is wrong", function()
    local running = serve(path, "127.0.0.1:0")
    local refused = free_port()
    local cases = {
      {"GET http://127.0.0.1/ HTTP/1.1", "405", "only CONNECT is served here"},
      {"CONNECT 127.0.0.1 HTTP/1.1", "400", "host:port expected"},
      {"hello", "400", "this is not HTTP"},
      {("x"):rep(10000), "400", "no request came: message too long"},
      {"CONNECT 127.0.0.1:" .. refused .. " HTTP/1.1", "502",
        ("127.0.0.1:%d: connection refused"):format(refused)},
    }
    for _, case in ipairs(cases) do
      local client = connect(running)
      client:send(case[1] .. "\r\n\r\n")
      local reply = client:receive("*a")
      assert.matches("^HTTP/1.1 " .. case[2] .. " %u", reply)
      assert.equal(case[3] .. "\n", reply:match("\r\n\r\n(.*)$"))
      client:close()
    end
    running.stop()
  end)

  tells_why_it_cannot_serve(path)
end)

example("fetch", function(path)
  -- The names of the rows of a table, in order.
  local function names(text)
    local list = {}
    for name in text:gmatch("\n  (%S+) +%d+%.%d%d s  ") do
      list[#list + 1] = name:match("/(.*)$")
    end
    return table.concat(list, " ")
  end

  it("fetches from its own servers in the order of the list, then of their delays", function()
    local result = helper.gluarun {path}
    assert.equal("", result.err)
    assert.equal(0, result.status)
    local slow, fast, seconds = result.out:match("\none after the other\n?(.-)\n\n"
      .. "all at once[^\n]*(.-)\n(\n  one after the other.*)$")
    assert.equal("oslo lima kyoto quito cairo paris", names("\n" .. slow))
    assert.matches("^lima quito %S+ %S+ cairo oslo$", names(fast))
    local _, replies = (slow .. fast):gsub("200 OK, 2%d bytes", "")
    assert.equal(12, replies)
    slow, fast = seconds:match("^\n  one after the other +(%S+) s\n  all at once +(%S+) s\n$")
    assert.is_true(tonumber(slow) >= 1.20)
    assert.is_true(tonumber(fast) >= 0.30)
    assert.is_true(tonumber(fast) < tonumber(slow))
  end)

  local function fetch(...)
    local result = beside(helper.program, path, ...)
    local rows = {}
    for row in result.out:gmatch("\n  ([^\n]+)") do
      rows[#rows + 1] = row
    end
    result.rows = rows
    return result
  end

  it("fetches from servers that it is given", function()
    local requests = {}
    local port = start_server(function(client)
      local request = client:read_until("\r\n\r\n")
      requests[#requests + 1] = request
      client:sendall(GREETING)
    end)
    local result = fetch(("127.0.0.1:%d/some/page?a=1"):format(port),
      ("http://localhost:%d"):format(port))
    assert.equal("", result.err)
    assert.equal(0, result.status)
    assert.matches("^Fetching 2 pages%.\n", result.out)
    assert.equal(6, #result.rows)
    for n = 1, 4 do
      assert.matches("200 OK, 6 bytes$", result.rows[n])
    end
    assert.equal(4, #requests)
    assert.equal(("GET /some/page?a=1 HTTP/1.0\r\nHost: 127.0.0.1:%d"):format(port),
      requests[1]:match("^(.-\r\n.-)\r\n"))
    assert.equal(("GET / HTTP/1.0\r\nHost: localhost:%d"):format(port),
      requests[2]:match("^(.-\r\n.-)\r\n"))
  end)

  it("asks them one after the other, then all at once", function()
    local asked, most = 0, 0
    local all_here = require("glua.event").Event()
    local seen = 0
    local port = start_server(function(client)
      client:read_until("\r\n\r\n")
      asked, seen = asked + 1, seen + 1
      most = math.max(most, asked)
      -- The second round is answered when all three are here, however long that takes.
      if seen > 3 then
        if asked == 3 then
          all_here:set()
        end
        all_here:wait()
      end
      asked = asked - 1
      client:sendall(GREETING)
    end)
    local name = ("127.0.0.1:%d/"):format(port)
    local result = fetch(name .. "1", name .. "2", name .. "3")
    assert.equal(0, result.status)
    assert.equal(3, most)
  end)

  it("reads until the end when the length is not told", function()
    local port = start_server(function(client)
      client:read_until("\r\n\r\n")
      client:sendall("HTTP/1.1 404 Not Found\r\n\r\n" .. ("x"):rep(100000))
    end)
    local result = fetch(("127.0.0.1:%d/"):format(port))
    assert.matches("404 Not Found, 100000 bytes$", result.rows[1])
    assert.equal(0, result.status)
  end)

  it("fetches over IPv6", function()
    local s = server.StreamServer("[::1]:0", greet)
    if not s:start() then
      pending("no IPv6 on this machine")
      return
    end
    to_stop[1] = function() s:stop(0) end
    local result = fetch(("[::1]:%d/"):format(s.port))
    assert.matches("200 OK, 6 bytes$", result.rows[1])
    assert.equal(0, result.status)
  end)

  -- Runs it on one server that goes on as `handle` says; the row's text.
  local function failure(handle, ...)
    local port = start_server(handle)
    local result = fetch(("127.0.0.1:%d/"):format(port), ...)
    assert.equal("", result.err)
    assert.equal(1, result.status)
    assert.equal(4, #result.rows)
    return result.rows[1]:match("=+>?%s+(.*)$")
  end

  it("fails with what went wrong, and shows the others all the same", function()
    local port, refused = start_server(greet), free_port()
    local result = fetch(("127.0.0.1:%d/"):format(refused), ("127.0.0.1:%d/"):format(port))
    assert.equal(1, result.status)
    assert.matches("connection refused$", result.rows[1])
    assert.matches("200 OK, 6 bytes$", result.rows[2])
    assert.equal(6, #result.rows)
  end)

  it("gives up on a server that does not answer in time", function()
    local text = failure(function(client)
      client:receive("*a")
    end, "--timeout", "0.05")
    assert.equal("no reply within 0.05 seconds", text)
  end)

  it("gives up on a server that sends a byte at a time", function()
    local text = failure(function(client)
      client:read_until("\r\n\r\n")
      client:send("HTTP/1.0 200 OK\r\n\r\n")
      while client:send("x") do
        glua.sleep(0.005)
      end
    end, "--timeout", "0.05")
    assert.equal("no reply within 0.05 seconds", text)
  end)

  it("says what a broken server did", function()
    assert.equal("closed before it answered", failure(function(client)
      client:read_until("\r\n\r\n")
    end))
    assert.equal("closed after 5 of 9 bytes", failure(function(client)
      client:read_until("\r\n\r\n")
      client:send("HTTP/1.0 200 OK\r\ncontent-length: 9\r\n\r\nhello")
    end))
    assert.equal("not an HTTP reply", failure(function(client)
      client:send("SSH-2.0-Something\r\n")
      client:read_until("\r\n\r\n")
    end))
  end)

  it("explains arguments that it cannot use", function()
    local cases = {
      [{"::1"}] = "'::1': an IPv6 address goes in brackets, as in [::1]:80/",
      [{"[::1"}] = "'[::1': host:port/path expected",
      [{"/page"}] = "'/page': host:port/path expected",
      [{"http://"}] = "'http://': host:port/path expected",
      [{"localhost:0/"}] = "'localhost:0/': the port is a number from 1 to 65535",
      [{"localhost:http"}] = "'localhost:http': the port is a number from 1 to 65535",
      [{"https://localhost/"}] =
        "https://localhost/: this example speaks plain HTTP only, without TLS",
      [{"--timeout"}] = "--timeout: a positive number of seconds expected",
      [{"--timeout", "-1", "localhost"}] = "--timeout: a positive number of seconds expected",
      [{"--quick"}] = "unknown option --quick",
    }
    for arguments, message in pairs(cases) do
      local result = helper.gluarun {path, unpack(arguments)}
      assert.equal("fetch.lua: " .. message, result.err:match("^[^\n]*"))
      assert.matches("\nusage: [^\n]+\n$", result.err)
      assert.equal("", result.out)
      assert.equal(2, result.status)
    end
  end)
end)

describe("examples", function()
  helper.leaves_nothing_behind()

  it("are each covered here", function()
    local listing = io.popen("ls examples")
    local found = {}
    for name in listing:lines() do
      found[name] = true
    end
    listing:close()
    assert.same(covered, found)
  end)

  it("say at the top what they show and how to run them", function()
    for name in pairs(covered) do
      local file = assert(io.open("examples/" .. name))
      local head = file:read("*a"):match("^(.-)\n\n")
      file:close()
      assert.matches("^%-%- " .. name:gsub("%p", "%%%0") .. ": %l", head)
      assert.is_truthy(head:find("\n--     gluarun examples/" .. name, 1, true), name)
    end
  end)
end)
