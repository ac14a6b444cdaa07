-- event.lua: one greenlet tells five others that something has happened.
--
--     gluarun examples/event.lua

local event = require "glua.event"
local glua = require "glua"

local done = event.Event()

local function setter()
  print("setter: wait for me, I have something to do")
  glua.sleep(0.05)
  print("setter: done")
  done:set()
end

local function waiter(n)
  print(("waiter %d: I wait for you"):format(n))
  done:wait()
  print(("waiter %d: it is about time"):format(n))
end

local greenlets = {glua.spawn(setter)}
for n = 1, 5 do
  greenlets[#greenlets + 1] = glua.spawn(waiter, n)
end
glua.joinall(greenlets)
