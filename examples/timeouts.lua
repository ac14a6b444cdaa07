-- timeouts.lua: four ways not to wait for ever.
--
--     gluarun examples/timeouts.lua

local glua = require "glua"
local queue = require "glua.queue"

local function slow_answer(seconds)
  glua.sleep(seconds)
  return "the answer"
end

-- A wait takes its own limit, and returns when that is over.
local item, reason = queue.Queue():get(0.01)
print("get with a limit:", item, reason)

-- with_timeout limits everything that a function does; with `value` it returns that.
print("with_timeout, in time:", glua.with_timeout(1, slow_answer, 0.01))
print("with_timeout, too late:",
  glua.with_timeout({seconds = 0.01, value = "no answer"}, slow_answer, 1))

-- Without `value` it raises.
local ok, e = pcall(glua.with_timeout, 0.01, slow_answer, 1)
print("with_timeout raises:", ok, e)

-- A Timeout can be started and cancelled by hand. When several run, == tells which it was.
local long, short = glua.Timeout(1), glua.Timeout(0.01)
long:start()
short:start()
ok, e = pcall(slow_answer, 2)
long:cancel()
short:cancel()
print("the short one:", ok, e == short, e == long)
