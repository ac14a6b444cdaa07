-- echo_server.lua: a TCP server that sends every line back, a greenlet for each client.
--
--     gluarun examples/echo_server.lua                    a demonstration: serves itself
--     gluarun examples/echo_server.lua 127.0.0.1:7000     serves until Ctrl-C
--
-- Try the second one with `nc 127.0.0.1 7000` from several terminals. The address may also
-- be a port alone, "[::1]:7000", or "unix:/tmp/echo".

local glua = require "glua"
local StreamServer = require("glua.server").StreamServer
local socket = require "glua.socket"

io.stdout:setvbuf("line")

-- Written as if this client were the only one. The server closes it afterwards.
local function echo(client)
  while true do
    local line = client:receive("*l")
    if not line or not client:sendall(line .. "\n") then
      return
    end
  end
end

-- Two clients that are connected at the same time and take turns.
local function demonstrate(host, port)
  local ann = assert(socket.connect(host, port))
  local bob = assert(socket.connect(host, port))
  for n = 1, 2 do
    ann:send(("line %d of ann\n"):format(n))
    bob:send(("line %d of bob\n"):format(n))
    print("ann gets: " .. ann:receive("*l"))
    print("bob gets: " .. bob:receive("*l"))
  end
  ann:close()
  bob:close()
end

local server = StreamServer(arg[1] or "127.0.0.1:0", echo)
local ok, message = server:start()
if not ok then
  io.stderr:write(message, "\n")
  os.exit(1)
end
if not arg[1] then
  demonstrate(server.address, server.port)
  server:stop()
else
  print("serving " .. server.address .. (server.port and ":" .. server.port or ""))
  glua.signal("SIGINT", function()
    print("stopping: clients have a second to finish")
    server:stop(1)
  end)
  server:serve_forever()
end
