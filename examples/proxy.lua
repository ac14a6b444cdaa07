-- proxy.lua: an HTTP proxy for any TCP connection (the CONNECT method).
--
--     gluarun examples/proxy.lua                    a demonstration
--     gluarun examples/proxy.lua 127.0.0.1:3128     serves until Ctrl-C
--
-- Try the second one with
--
--     curl --proxy http://127.0.0.1:3128 https://www.lua.org/
--
-- The client says where it wants to go, so the proxy has to answer for what may go wrong
-- there: a host that does not exist, a port that refuses, an address that never answers. At
-- most 100 clients are served at a time; the others wait in the kernel's backlog.

local glua = require "glua"
local Pool = require("glua.pool").Pool
local StreamServer = require("glua.server").StreamServer
local socket = require "glua.socket"

local clients = Pool(100)
local HEAD_SECONDS = 10    -- how long a client may take to say what it wants
local CONNECT_SECONDS = 10
local HEAD_SIZE = 8192

io.stdout:setvbuf("line")

local reasons = {
  [200] = "Connection established", [400] = "Bad Request", [405] = "Method Not Allowed",
  [408] = "Request Timeout", [502] = "Bad Gateway", [504] = "Gateway Timeout",
}

local function answer(client, status, text)
  local head = ("HTTP/1.1 %d %s\r\n"):format(status, reasons[status])
  if status ~= 200 then
    text = text .. "\n"
    head = head .. ("Content-Type: text/plain\r\nContent-Length: %d\r\n"):format(#text)
  end
  client:sendall({head, "\r\n", text})
end

-- host and port that the client wants; or nil, status, text.
local function read_request(client)
  client:settimeout(HEAD_SECONDS, "t")
  local head, message = client:read_until("\r\n\r\n", HEAD_SIZE)
  client:settimeout(nil, "t")
  if not head then
    return nil, message == "timeout" and 408 or 400, "no request came: " .. message
  end
  local method, target = head:match("^(%u+) (%S+) HTTP/1%.[01]")
  if not method then
    return nil, 400, "this is not HTTP"
  elseif method ~= "CONNECT" then
    return nil, 405, "only CONNECT is served here"
  end
  local host, port = target:match("^%[?(.-)%]?:(%d+)$")
  if not host then
    return nil, 400, "host:port expected"
  end
  return host, port
end

local function connect(host, port)
  local upstream = socket.tcp()
  upstream:settimeout(CONNECT_SECONDS)
  local ok, message, _, code = upstream:connect(host, port)
  if not ok then
    upstream:close()
    return nil, code == "ETIMEDOUT" and 504 or 502, message
  end
  upstream:settimeout(nil)
  return upstream
end

local function copy(from, to)
  while true do
    local data = from:receive("any")
    if not data or not to:sendall(data) then
      to:shutdown("send")
      return
    end
  end
end

local function proxy(client)
  local host, port, text = read_request(client)
  if not host then
    return answer(client, port, text)
  end
  local upstream, status, message = connect(host, port)
  if not upstream then
    print(("proxy: %s:%s, %d: %s"):format(host, port, status, message))
    return answer(client, status, ("%s:%s: %s"):format(host, port, message))
  end
  answer(client, 200, "")
  local ok, e = pcall(glua.scope, function(s)
    s:spawn(copy, upstream, client)
    copy(client, upstream)
  end)
  local received, sent = upstream:getstats()
  upstream:close()
  print(("proxy: %s:%s, %d bytes there, %d bytes back"):format(host, port, sent, received))
  if not ok then
    error(e, 0)
  end
end

local function start(server)
  local ok, message = server:start()
  if not ok then
    io.stderr:write(message, "\n")
    os.exit(1)
  end
  return server
end

-- A server of greetings, the proxy, and a client that asks for the server and for others.
local function demonstrate()
  local greeter = start(StreamServer("127.0.0.1:0", function(client)
    client:send(("Hello, %s!\n"):format(client:receive("*l")))
  end))
  local server = start(StreamServer("127.0.0.1:0", proxy, {spawn = clients}))

  local function ask(request)
    local client = assert(socket.connect("127.0.0.1", server.port))
    client:send(request .. "\r\n\r\n")
    print("> " .. request)
    print("< " .. client:receive("*l"))
    client:receive("*l")
    return client
  end

  local function finish(client)
    client:close()
    clients:join() -- until the proxy is done with it
  end

  local client = ask("CONNECT 127.0.0.1:" .. greeter.port .. " HTTP/1.1")
  client:send("proxy\n")
  print("< " .. client:receive("*l"))
  finish(client)
  finish(ask("CONNECT 127.0.0.1:1 HTTP/1.1"))
  finish(ask("GET / HTTP/1.1"))
  server:stop()
  greeter:stop()
end

if not arg[1] then
  demonstrate()
  return
end
local server = start(StreamServer(arg[1], proxy, {spawn = clients}))
print("serving " .. server.address .. (server.port and ":" .. server.port or ""))
server:serve_forever()
