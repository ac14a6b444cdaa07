-- finalizer.lua: the script's finalizers, whose errors go no further.
--
-- LuaJIT has the error of a finalizer come out of whatever the collector happened to
-- interrupt: of any greenlet, of the hub, or, where that was compiled code, of nothing that
-- could catch it, and the program crashes. Here it is printed instead. The ways by which a
-- script gives a finalizer are newproxy, ffi.gc and ffi.metatype.

local _, core = ...

local finalizing = core.finalizing
local getmetatable, traceback = debug.getmetatable, debug.traceback
local pcall, rawset, setmetatable, tostring, type, xpcall =
  pcall, rawset, setmetatable, tostring, type, xpcall
local stderr = io.stderr

local function report(e)
  local ok, text = pcall(tostring, e)
  text = ok and text or ("(error object is a %s value)"):format(type(e))
  stderr:write(traceback("gluarun: a finalizer failed with " .. text, 2), "\n")
end

-- The protected finalizers by the script's, each for as long as an object has it.
local known = setmetatable({}, {__mode = "kv"})

local function protect(fn)
  if type(fn) ~= "function" then
    return fn
  end
  local protected = known[fn]
  if not protected then
    function protected(object)
      finalizing(true)
      xpcall(fn, report, object)
      finalizing(false)
    end
    known[fn] = protected
  end
  return protected
end

-- The metatable of the metatables of proxies, in which the script sets __gc.
local guard = {
  __newindex = function(meta, key, value)
    rawset(meta, key, key == "__gc" and protect(value) or value)
  end,
}

local original_newproxy = newproxy

function newproxy(...)
  local proxy = original_newproxy(...)
  if (...) == true then
    setmetatable(getmetatable(proxy), guard)
  end
  return proxy
end

local load_ffi = package.preload.ffi

function package.preload.ffi(...)
  local ffi = load_ffi(...)
  local gc, metatype = ffi.gc, ffi.metatype
  function ffi.gc(cdata, fn)
    return gc(cdata, protect(fn))
  end
  function ffi.metatype(ctype, meta)
    if type(meta) == "table" and type(meta.__gc) == "function" then
      meta.__gc = protect(meta.__gc)
    end
    return metatype(ctype, meta)
  end
  return ffi
end
