-- fetch.lua: fetches pages over HTTP, first one after the other, then all at once.
--
--     gluarun examples/fetch.lua                                from servers of its own
--     gluarun examples/fetch.lua example.com:80/ [::1]:8080/    from these
--     gluarun examples/fetch.lua --timeout 2 10.0.0.1:80/       gives up after 2 seconds
--
-- The function `fetch` is written as if it were alone in the world: it connects, sends,
-- waits, reads. Called in a loop, each call waits for the one before it. Called in a
-- greenlet each, all of them wait at the same time; nothing else changes.
--
-- The exit status is 1 if anything could not be fetched.

local glua = require "glua"
local StreamServer = require("glua.server").StreamServer
local socket = require "glua.socket"

local USAGE = "usage: gluarun examples/fetch.lua [--timeout SECONDS] [HOST[:PORT][/PATH] ...]"

-- The servers that are asked when no others are given, and how long they think.
local SERVERS = {
  {path = "/oslo", seconds = 0.30}, {path = "/lima", seconds = 0.10},
  {path = "/kyoto", seconds = 0.20}, {path = "/quito", seconds = 0.15},
  {path = "/cairo", seconds = 0.25}, {path = "/paris", seconds = 0.20},
}

local MAX_HEAD = 65536        -- bytes of a reply's status line and headers
local SECONDS_PER_MARK = 0.05 -- of the bars in the table
local MAX_MARKS = 26

io.stdout:setvbuf("line")

-- ---- fetching one page ----

-- Asks for the page of a target. Returns {status=, bytes=}; or nil and what went wrong.
local function get(connection, target)
  local ok, message = connection:connect(target.host, target.port)
  if not ok then
    return nil, message
  end
  connection:sendall {
    "GET ", target.path, " HTTP/1.0\r\nHost: ", target.host_header,
    "\r\nUser-Agent: gluarun\r\nConnection: close\r\n\r\n",
  }
  local head, problem, partial = connection:read_until("\r\n\r\n", MAX_HEAD)
  if not head then
    return nil, #partial == 0 and problem .. " before it answered" or "not an HTTP reply"
  end
  local status = head:match("^HTTP/%d%.%d (%d%d%d[^%c]*)")
  if not status then
    return nil, "not an HTTP reply"
  end
  local expected = tonumber(head:lower():match("\ncontent%-length:%s*(%d+)"))
  local bytes = 0
  while bytes ~= expected do
    local data, reason, _, code = connection:receive("any")
    if not data and (expected or code ~= "EOF") then
      return nil, ("%s after %d%s bytes"):format(reason, bytes,
        expected and " of " .. expected or "")
    elseif not data then
      break
    end
    bytes = bytes + #data
  end
  return {status = status, bytes = bytes}
end

-- The same within the time, and with the connection closed.
local function fetch(target, timeout)
  local connection = socket.tcp()
  local reply, problem = glua.with_timeout({seconds = timeout, value = false}, get,
    connection, target)
  connection:close()
  if reply == false then
    return nil, ("no reply within %g seconds"):format(timeout)
  end
  return reply, problem
end

-- ---- showing it ----

-- From when to when it took, both in seconds from the start of the run, as a bar.
local function bar(from, to)
  local before = math.floor(from / SECONDS_PER_MARK + 0.5)
  local marks = math.max(1, math.floor((to - from) / SECONDS_PER_MARK + 0.5))
  local text = (" "):rep(before) .. ("="):rep(marks)
  if #text > MAX_MARKS then
    text = text:sub(1, MAX_MARKS - 1) .. ">"
  end
  return text .. (" "):rep(MAX_MARKS - #text)
end

-- Fetches, and prints a line of the table.
local function fetch_and_show(target, run)
  local from = glua.now() - run.start
  local reply, problem = fetch(target, run.timeout)
  local to = glua.now() - run.start
  if not reply then
    run.failures = run.failures + 1
  end
  print(("  %s %6.2f s  %s  %s"):format(target.label, to - from, bar(from, to),
    reply and ("%s, %d bytes"):format(reply.status, reply.bytes) or problem))
end

local function one_after_the_other(targets, run)
  for _, target in ipairs(targets) do
    fetch_and_show(target, run)
  end
end

local function all_at_once(targets, run)
  local greenlets = {}
  for i, target in ipairs(targets) do
    greenlets[i] = glua.spawn(fetch_and_show, target, run)
  end
  glua.joinall(greenlets, {raise_error = true})
end

-- Returns how long it took, and how many were not fetched.
local function run_all(title, how, targets, timeout)
  print("\n" .. title)
  local run = {start = glua.now(), timeout = timeout, failures = 0}
  how(targets, run)
  return glua.now() - run.start, run.failures
end

-- Gives each target the text that stands for it in the table, all of the same width.
local function set_labels(targets)
  local width = 0
  for _, target in ipairs(targets) do
    width = math.max(width, #target.name)
  end
  for _, target in ipairs(targets) do
    target.label = target.name .. (" "):rep(width - #target.name)
  end
end

-- ---- what is fetched ----

local function bad_usage(message)
  io.stderr:write("fetch.lua: ", message, "\n", USAGE, "\n")
  os.exit(2)
end

-- A target for an argument: host:port/path, [IPv6 address]:port/path, http:// before it.
local function parse(text)
  if text:find("^https://") then
    bad_usage(text .. ": this example speaks plain HTTP only, without TLS")
  end
  local authority, path = text:gsub("^http://", ""):match("^([^/%s]+)(/?%S*)$")
  if not authority then
    bad_usage(("'%s': host:port/path expected"):format(text))
  end
  if select(2, authority:gsub(":", "")) > 1 and authority:sub(1, 1) ~= "[" then
    bad_usage(("'%s': an IPv6 address goes in brackets, as in [::1]:80/"):format(text))
  end
  local host, port = authority:match("^%[([%x:.]+)%](.*)$")
  if not host then
    host, port = authority:match("^([^:%[%]]+)(.*)$")
  end
  if not host then
    bad_usage(("'%s': host:port/path expected"):format(text))
  end
  local number = port == "" and 80 or tonumber(port:match("^:(%d+)$"))
  if not number or number < 1 or number > 65535 then
    bad_usage(("'%s': the port is a number from 1 to 65535"):format(text))
  end
  return {
    name = text, host = host, port = number, path = path ~= "" and path or "/",
    host_header = authority,
  }
end

-- The targets and the timeout that the arguments ask for.
local function read_arguments(arguments)
  local targets, timeout = {}, 10
  local i = 1
  while arguments[i] do
    if arguments[i] == "--timeout" then
      i = i + 1
      timeout = tonumber(arguments[i])
      if not timeout or not (timeout > 0) then
        bad_usage("--timeout: a positive number of seconds expected")
      end
    elseif arguments[i]:sub(1, 1) == "-" then
      bad_usage("unknown option " .. arguments[i])
    else
      targets[#targets + 1] = parse(arguments[i])
    end
    i = i + 1
  end
  return targets, timeout
end

-- Starts a server that thinks before it answers each client. Returns it and its target.
local function start_server(options)
  local server = StreamServer("127.0.0.1:0", function(client)
    client:read_until("\r\n\r\n")
    glua.sleep(options.seconds)
    local page = ("Greetings from %s.\n"):format(options.path:sub(2))
    client:sendall {
      "HTTP/1.0 200 OK\r\nContent-Length: ", tostring(#page), "\r\n\r\n", page,
    }
  end)
  assert(server:start())
  return server, parse(("127.0.0.1:%d%s"):format(server.port, options.path))
end

-- ---- the program ----

local targets, timeout = read_arguments(arg)
local servers = {}
if #targets == 0 then
  for i, options in ipairs(SERVERS) do
    servers[i], targets[i] = start_server(options)
  end
  print(("Fetching from %d servers on this machine, which take their time to answer.")
    :format(#targets))
else
  print(("Fetching %d page%s."):format(#targets, #targets == 1 and "" or "s"))
end
set_labels(targets)

local slow, failures = run_all("one after the other", one_after_the_other, targets, timeout)
local fast, more_failures = run_all("all at once, each in a greenlet of its own", all_at_once,
  targets, timeout)
print(("\n  one after the other %6.2f s\n  all at once         %6.2f s"):format(slow, fast))

for _, server in ipairs(servers) do
  server:stop()
end
os.exit(failures + more_failures == 0 and 0 or 1)
