-- hello.lua: two greenlets that take turns.
--
--     gluarun examples/hello.lua
--
-- glua.sleep(0) lets everybody else who is ready run once. Nothing else here waits for
-- anything, so nothing else makes one greenlet give way to the other.

local glua = require "glua"

local function foo()
  print("Running in foo")
  glua.sleep(0)
  print("Explicit context switch to foo again")
end

local function bar()
  print("Explicit context to bar")
  glua.sleep(0)
  print("Implicit context switch back to bar")
end

glua.joinall {glua.spawn(foo), glua.spawn(bar)}
