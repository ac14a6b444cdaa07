-- locals.lua: values that belong to one greenlet, or to one family of greenlets.
--
--     gluarun examples/locals.lua

local glua = require "glua"
local locals = require "glua.locals"

-- One table, in which each greenlet sees only the fields that it has set itself.
local request = locals.new()

local function log(message)
  print(("[%s] %s"):format(request.id or "-", message))
end

local function handle(id)
  request.id = id
  log("started")
  glua.sleep(0.01)
  log("still the same request")
end

glua.joinall {glua.spawn(handle, "a"), glua.spawn(handle, "b")}
log("main has set nothing")

-- tree_locals is shared by a greenlet and everything that it spawns, directly or not.
local function leaf()
  print("the leaf's user is " .. glua.getcurrent().tree_locals.user)
end

local function root(user)
  glua.getcurrent().tree_locals.user = user
  glua.spawn(leaf):join()
end

glua.joinall {glua.spawn(root, "steve"), glua.spawn(root, "nancy")}
