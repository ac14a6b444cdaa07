-- server.lua: the servers of echo_libev.c as a script would write them.
--
--     gluarun server.lua [echo|source|sink]
--
-- Prints "listening PORT" when it accepts connections on 127.0.0.1.

local server = require "glua.server"

local CHUNK = ("x"):rep(65536)

local modes = {}

function modes.echo(client)
  client:setoption("tcp-nodelay", true)
  while true do
    local data = client:receive("any")
    if not data or not client:send(data) then
      return
    end
  end
end

function modes.source(client)
  local left = tonumber(client:receive("*l"))
  while left > 0 do
    if not client:send(CHUNK, 1, math.min(left, #CHUNK)) then
      return
    end
    left = left - #CHUNK
  end
end

function modes.sink(client)
  local count = 0
  while true do
    local data = client:receive("any")
    if not data then
      break
    end
    count = count + #data
  end
  client:send(count .. "\n")
end

local s = server.StreamServer("127.0.0.1:0", modes[arg[1] or "echo"], {backlog = 1024})
assert(s:start())
print("listening " .. s.port)
io.stdout:flush()
s:serve_forever()
