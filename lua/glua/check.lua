-- check.lua: arguments of public functions, checked with errors at the caller's line.

local _, core = ...

local check = {}

---Raises "bad argument #n to 'name' (...)" at the line of the public function's caller.
---@param n integer
---@param name string
---@param message string
---@param level? integer frames between the public function and here; default 1
function check.fail(n, name, message, level)
  error(("bad argument #%d to '%s' (%s)"):format(n, name, message), 3 + (level or 1))
end

local fail = check.fail

local function got(value)
  return type(value) == "number" and tostring(value) or type(value)
end

---An optional timeout. A Timeout object is started if it was not; the caller then parks
---without a limit, and gives it to `interrupted`.
---@param value? number|glua.Timeout
---@param n integer
---@param name string
---@return number? seconds nil for no limit
function check.timeout(value, n, name)
  if value == nil then
    return nil
  elseif type(value) == "number" then
    if value >= 0 then
      return value < math.huge and value or nil
    end
  elseif type(value) == "table" and rawget(value, "kind") == "Timeout" then
    if not value.pending then
      value:start()
    end
    return nil
  end
  return fail(n, name, "timeout: non-negative seconds expected, got " .. got(value))
end

---Seconds that must be there.
---@param value any
---@param n integer
---@param name string
---@return number
function check.seconds(value, n, name)
  if type(value) ~= "number" or value ~= value then
    fail(n, name, "seconds: number expected, got " .. got(value))
  end
  return value
end

---A function, or a value with __call.
function check.callable(value, n, name)
  if type(value) ~= "function" then
    local mt = getmetatable(value)
    if type(mt) ~= "table" or not mt.__call then
      fail(n, name, "function expected, got " .. type(value))
    end
  end
  return value
end

---A value of the type.
function check.type(value, expected, n, name)
  if type(value) ~= expected then
    fail(n, name, expected .. " expected, got " .. type(value))
  end
  return value
end

---A positive integer.
function check.count(value, n, name)
  if type(value) ~= "number" or value < 1 or value % 1 ~= 0 then
    fail(n, name, "positive integer expected, got " .. got(value))
  end
  return value
end

---An object of the class, whose metatable is given: methods called with `.` and not `:`
---come here.
function check.self(value, meta, name)
  if getmetatable(value) ~= meta then
    fail(1, name, ("%s expected, got %s; call it with ':'"):format(meta.__name, type(value)))
  end
  return value
end

---A Greenlet.
function check.greenlet(value, n, name)
  if not core.is_greenlet(value) then
    fail(n, name, "Greenlet expected, got " .. type(value))
  end
  return value
end

return check
