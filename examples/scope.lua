-- scope.lua: greenlets that cannot outlive the function that started them.
--
--     gluarun examples/scope.lua
--
-- glua.scope returns when everything that was spawned in it has ended. If one of them
-- fails, the others are killed, and the failure is raised from glua.scope: nothing goes on
-- unseen, and no failure is lost.

local glua = require "glua"

local function work(name, seconds)
  local ok, e = pcall(glua.sleep, seconds)
  print(name, ok and "finished" or "was stopped: " .. tostring(e))
  if not ok then
    error(e, 0)
  end
end

local function fail(name, seconds)
  glua.sleep(seconds)
  error(name .. " cannot go on", 0)
end

print("all goes well")
glua.scope(function(s)
  s:spawn(work, "one", 0.04)
  s:spawn(work, "two", 0.02)
end)
print("both have ended\n")

print("one of them fails")
print("the scope:", pcall(glua.scope, function(s)
  s:spawn(work, "one", 10)
  s:spawn(fail, "two", 0.01)
end))
print()

print("no more than 50 milliseconds")
print("the scope:", pcall(glua.scope, function(s)
  s:spawn(work, "one", 10)
  s:spawn(work, "two", 0.01)
end, {timeout = 0.05}))
