-- queue.lua: a boss hands out tasks through a queue, three workers take them.
--
--     gluarun examples/queue.lua
--
-- The workers take turns, for each gives way after each task. The boss closes the queue
-- behind the last task: what is in it is still handed out, then each worker's loop ends.

local glua = require "glua"
local queue = require "glua.queue"

local tasks = queue.Queue()

local function worker(name)
  for task in tasks:iter() do
    print(("%s got task %d"):format(name, task))
    glua.sleep(0) -- work would wait for something here
  end
  print(("%s goes home"):format(name))
end

local function boss()
  for task = 1, 24 do
    tasks:put(task)
  end
  tasks:close()
end

glua.spawn(boss):join()
glua.joinall {
  glua.spawn(worker, "steve"),
  glua.spawn(worker, "john"),
  glua.spawn(worker, "nancy"),
}
