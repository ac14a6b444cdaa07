-- forwarder.lua: forwards a port to another address.
--
--     gluarun examples/forwarder.lua                                 a demonstration
--     gluarun examples/forwarder.lua 127.0.0.1:8080 example.com:80   forwards until Ctrl-C
--
-- Each connection has one greenlet for each direction. The end of one direction is passed
-- on while the other one goes on, as TCP has it.

local glua = require "glua"
local StreamServer = require("glua.server").StreamServer
local socket = require "glua.socket"

io.stdout:setvbuf("line")

local function stop(message)
  io.stderr:write(message, "\n")
  os.exit(1)
end

local function start(server)
  local ok, message = server:start()
  return ok and server or stop(message)
end

-- Copies until `from` has ended, and passes the end on. Returns how many bytes it was.
local function copy(from, to)
  local bytes = 0
  while true do
    local data = from:receive("any")
    if not data or not to:sendall(data) then
      to:shutdown("send")
      return bytes
    end
    bytes = bytes + #data
  end
end

-- A handler for StreamServer that forwards each client to host and port.
local function forward_to(host, port)
  return function(client)
    local upstream, message = socket.connect(host, port)
    if not upstream then
      print(("%s:%s: %s"):format(host, port, message))
      return
    end
    local ok, e = pcall(glua.scope, function(s)
      local back = s:spawn(copy, upstream, client)
      local sent = copy(client, upstream)
      print(("forwarded %d bytes there, %d bytes back"):format(sent, back:get()))
    end)
    upstream:close()
    if not ok then
      error(e, 0)
    end
  end
end

-- A server that says how long its input was, a forwarder to it, and a client.
local function demonstrate()
  local counter = start(StreamServer("127.0.0.1:0", function(client)
    local text = client:receive("*a")
    client:send(("%d letters"):format(#text))
  end))
  local forwarder = start(StreamServer("127.0.0.1:0", forward_to("127.0.0.1", counter.port)))
  local client = assert(socket.connect("127.0.0.1", forwarder.port))
  client:send("how many letters are these?")
  client:shutdown("send")
  print("through the forwarder: " .. client:receive("*a"))
  client:close()
  forwarder:stop()
  counter:stop()
end

if not arg[1] then
  demonstrate()
  return
end
local host, port = (arg[2] or ""):match("^%[?(.-)%]?:(%d+)$")
if not host then
  io.stderr:write("usage: gluarun examples/forwarder.lua [LISTEN TARGET_HOST:PORT]\n")
  os.exit(2)
end
local server = start(StreamServer(arg[1], forward_to(host, port)))
print(("serving %s:%d, forwarding to %s:%s"):format(server.address, server.port, host, port))
server:serve_forever()
