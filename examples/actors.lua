-- actors.lua: greenlets that own their data and talk through inboxes alone.
--
--     gluarun examples/actors.lua
--
-- An actor is a greenlet with a queue, its inbox, from which it takes one message at a
-- time. Here two of them play with one ball until one lets it drop.

local glua = require "glua"
local queue = require "glua.queue"

-- An actor that calls receive(self, message) for each message until it is stopped.
local function actor(name, receive)
  local self = {name = name, inbox = queue.Queue(10)}
  self.greenlet = glua.spawn(function()
    for message in self.inbox:iter() do
      receive(self, message)
    end
    print(("%s has stopped"):format(name))
  end)
  return self
end

local function play(self, ball)
  ball.hits = ball.hits + 1
  if ball.hits > 5 then
    print(("%s misses"):format(self.name))
    self.inbox:close()
    ball.from.inbox:close()
    return
  end
  print(("%s hits, number %d"):format(self.name, ball.hits))
  local to = ball.from
  ball.from = self
  to.inbox:put(ball)
end

local ping = actor("ping", play)
local pong = actor("pong", play)
ping.inbox:put({hits = 0, from = pong})
glua.joinall {ping.greenlet, pong.greenlet}
