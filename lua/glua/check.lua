-- check.lua: arguments of public functions, checked with errors at the caller's line.

local _, core = ...

local getinfo = debug.getinfo

local check = {}

---Raises an error at the script's line that called into the runtime, however deep in it the
---mistake was found.
---@param message string
function check.misuse(message)
  local level = 2
  local frame = getinfo(level, "Sl")
  while frame and (frame.currentline < 0 or frame.source:find("=[glua", 1, true) == 1) do
    level = level + 1
    frame = getinfo(level, "Sl")
  end
  error((frame and ("%s:%d: "):format(frame.short_src, frame.currentline) or "") .. message, 0)
end

---Raises "bad argument #n to 'name' (...)", in the same way.
---@param n integer
---@param name string
---@param message string
function check.fail(n, name, message)
  check.misuse(("bad argument #%d to '%s' (%s)"):format(n, name, message))
end

local fail = check.fail

local function got(value)
  return type(value) == "number" and tostring(value) or type(value)
end

---@return boolean whether it is a Timeout object
function check.is_timeout(value)
  return type(value) == "table" and rawget(value, "kind") == "Timeout"
end

---An optional timeout. A Timeout object that is not started is as good as its seconds, and
---stays as it is. One that the calling greenlet has started runs on: the caller then parks
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
  elseif check.is_timeout(value) then
    if value.pending and value.owner == core.current() then
      return nil
    end
    return check.timeout(value.seconds, n, name)
  end
  return fail(n, name, "timeout: non-negative seconds expected, got " .. got(value))
end

---The options of a kill.
check.KILL_OPTIONS = {block = true, timeout = true}

---A table of options, or nil.
---@param value any
---@param known table<string, true>
---@param n integer
---@param name string
---@return table options empty for nil
function check.options(value, known, n, name)
  if value == nil then
    return {}
  end
  check.type(value, "table", n, name)
  for key in pairs(value) do
    if not known[key] then
      fail(n, name, ("unknown option '%s'"):format(tostring(key)))
    end
  end
  return value
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
    local mt = debug.getmetatable(value)
    if not mt or not mt.__call then
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
