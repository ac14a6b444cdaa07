-- chat.lua: a chat room for any number of people.
--
--     gluarun examples/chat.lua                    a demonstration with two people
--     gluarun examples/chat.lua 127.0.0.1:7000     serves until Ctrl-C
--
-- Try the second one with `nc 127.0.0.1 7000` from several terminals. What you type goes
-- to everybody else; /who tells who is there, /quit leaves.
--
-- Each person has two greenlets: one reads what they type, the other one writes what is in
-- their queue. So a slow reader keeps nobody waiting; who does not read at all is put out
-- when their queue is full.

local event = require "glua.event"
local glua = require "glua"
local queue = require "glua.queue"
local StreamServer = require("glua.server").StreamServer
local socket = require "glua.socket"

local QUEUE_SIZE = 100
local LONGEST_LINE = 1000
local GOODBYE_SECONDS = 5 -- for who leaves, to read what was sent until then

io.stdout:setvbuf("line")

local room = {} -- by name: {client=, outbox=}

local function tell_all(message, except)
  for name, person in pairs(room) do
    if name ~= except and not person.outbox:put_nowait(message) then
      person.client:close() -- the queue is full; both greenlets find the client closed
    end
  end
end

local function read_line(client)
  local line = client:read_until("\n", LONGEST_LINE)
  return line and line:gsub("%c", "")
end

local function names()
  local list = {}
  for name in pairs(room) do
    list[#list + 1] = name
  end
  table.sort(list)
  return table.concat(list, " ")
end

local function ask_name(client)
  client:send("Your name?\n")
  while true do
    local name = read_line(client)
    if name == nil then
      return nil
    elseif not name:match("^%w+$") or #name > 20 then
      client:send("Letters and digits only, 20 at most. Your name?\n")
    elseif room[name] then
      client:send("There is a " .. name .. " here already. Your name?\n")
    else
      return name
    end
  end
end

-- Writes until the queue is closed or the client is gone.
local function write_all(client, outbox)
  for message in outbox:iter() do
    if not client:sendall(message .. "\n") then
      return
    end
  end
end

local function read_all(client, name, outbox)
  while true do
    local line = read_line(client)
    if line == nil or line == "/quit" then
      return
    elseif line == "/who" then
      outbox:put("Here: " .. names())
    elseif line ~= "" then
      tell_all(name .. ": " .. line, name)
    end
  end
end

local function chat(client)
  local name = ask_name(client)
  if not name then
    return
  end
  local outbox = queue.Queue(QUEUE_SIZE)
  room[name] = {client = client, outbox = outbox}
  tell_all(name .. " comes in", name)
  outbox:put(("Welcome, %s. Here: %s"):format(name, names()))
  -- In a scope, so that the writer ends with the reader, however that ends.
  local ok, e = pcall(glua.scope, function(s)
    local writer = s:spawn(write_all, client, outbox)
    read_all(client, name, outbox)
    outbox:close()
    writer:join(GOODBYE_SECONDS)
    writer:kill()
  end)
  room[name] = nil
  tell_all(name .. " leaves")
  if not ok then
    error(e, 0)
  end
end

-- Two people who wait for each other, so that all comes in one order only.
local function demonstrate(host, port)
  local ann_is_in = event.Event()

  local function person(name)
    local connection = assert(socket.connect(host, port))
    connection:receive("*l")
    connection:send(name .. "\n")
    local function expect(text)
      local line
      repeat
        line = connection:receive("*l")
        print(("%-5s| %s"):format(name, line))
      until line:find(text, 1, true)
    end
    local function say(line)
      connection:send(line .. "\n")
    end
    return expect, say, connection
  end

  local function ann()
    local expect, say = person("ann")
    expect("Welcome")
    ann_is_in:set()
    expect("bob comes in")
    say("hello bob")
    expect("bob: hello ann")
    expect("bob leaves")
    say("/who")
    expect("Here: ann")
    say("/quit")
  end

  local function bob()
    ann_is_in:wait()
    local expect, say, connection = person("bob")
    expect("Welcome")
    expect("ann: hello bob")
    say("hello ann")
    say("/quit")
    connection:receive("*a") -- until the server has closed
  end

  glua.joinall({glua.spawn(ann), glua.spawn(bob)}, {raise_error = true})
end

local server = StreamServer(arg[1] or "127.0.0.1:0", chat)
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
  server:serve_forever()
end
