-- locals.lua: tables whose fields are each greenlet's own.
--
-- The fields are kept in the greenlet's environment table and not here, so that a greenlet
-- whose fields refer to itself can be collected.

local _, core = ...
local check = require "glua.check"

local meta = {__name = "locals"}

function meta:__index(key)
  local g = core.current()
  local env = g and core.peek_env(g)
  local own = env and env.fields and env.fields[self]
  return own and own[key]
end

function meta:__newindex(key, value)
  local g = core.current()
  if not g then
    check.misuse("locals: no greenlet is running")
  end
  local env = core.env(g)
  env.fields = env.fields or setmetatable({}, {__mode = "k"})
  local own = env.fields[self]
  if not own then
    own = {}
    env.fields[self] = own
  end
  own[key] = value
end

local M = {}

---A table in which every greenlet sees the fields that it has set itself; they go with it.
---@return table
function M.new()
  return setmetatable({}, meta)
end

return M
