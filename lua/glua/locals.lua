-- locals.lua: tables whose fields are each greenlet's own.

local _, core = ...

local M = {}

---A table in which every greenlet sees the fields that it has set itself; they go with it.
---@return table
function M.new()
  local fields = setmetatable({}, {__mode = "k"}) -- by Greenlet
  return setmetatable({}, {
    __name = "locals",
    __index = function(_, key)
      local own = fields[core.current()]
      return own and own[key]
    end,
    __newindex = function(_, key, value)
      local g = core.current()
      local own = fields[g]
      if not own then
        own = {}
        fields[g] = own
      end
      own[key] = value
    end,
  })
end

return M
