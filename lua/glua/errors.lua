-- errors.lua: the error values that gluarun raises.
--
-- Each is a table with `kind`, its fields, and a one-line tostring. Timeout objects are
-- errors of the same make (timeout.lua).

local errors = {}

local meta = {__name = "glua.error"}
meta.__index = meta

function meta:__tostring()
  return self.message
end

-- The metatables of gluarun's error values.
local classes = {[meta] = true}

---Makes the objects with a metatable error values, too.
function errors.add_class(metatable)
  classes[metatable] = true
end

---An error value.
---@param kind string what `is_error` compares
---@param message string one line
---@param fields? table more fields of the value
---@return table
function errors.new(kind, message, fields)
  local e = fields or {}
  e.kind = kind
  e.message = message
  return setmetatable(e, meta)
end

---What a kill raises. There is one such value, so `==` tells it.
errors.GreenletExit = errors.new("GreenletExit", "GreenletExit")

---Whether a value is an error of gluarun, of the given kind if one is given.
---@param e any
---@param kind? string "GreenletExit", "Timeout", "LoopExit", "Cancelled", "interrupted"
---@return boolean
function errors.is_error(e, kind)
  return type(e) == "table" and classes[getmetatable(e)] == true
    and (kind == nil or e.kind == kind)
end

return errors
