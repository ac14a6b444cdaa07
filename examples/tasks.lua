-- tasks.lua: the same work done one after the other, and all at once.
--
--     gluarun examples/tasks.lua
--
-- Each task waits a little, as it would for an answer from the network. Done one after the
-- other, the waits add up; done at once, all of them take as long as the longest one, and
-- the tasks finish in the order in which their waits are over.

local glua = require "glua"

local WAITS = {0.10, 0.04, 0.08, 0.02, 0.12, 0.06}

local function task(n)
  glua.sleep(WAITS[n])
  io.write(" ", n)
end

local function one_after_the_other()
  for n = 1, #WAITS do
    task(n)
  end
end

local function all_at_once()
  local tasks = {}
  for n = 1, #WAITS do
    tasks[n] = glua.spawn(task, n)
  end
  glua.joinall(tasks)
end

local function measure(title, fn)
  local start = glua.now()
  io.write(title)
  fn()
  io.write(("   %.2f s\n"):format(glua.now() - start))
end

measure("one after the other:", one_after_the_other)
measure("all at once:        ", all_at_once)
