-- yieldable.lua: standard functions whose callbacks may park.
--
-- LuaJIT yields across pcall, metamethods and iterators by itself, but not across a C
-- function that calls Lua. Those are replaced here by Lua versions with the same results
-- and the same errors: table.sort, string.gsub, require, dofile, load and print.
--
-- Calls without a callback, and calls with wrong arguments, go to the original as a tail
-- call. That leaves no frame behind, so the original's errors name the caller's line as
-- ever. A callback is called by the very function that stands in for the original, which
-- keeps the levels of error() and debug functions: the caller is level 3 in a callback.
--
-- Differences that remain: level 2, which is such a function, has a position now; load reads
-- all pieces before it compiles the first; a module and a reader run protected, one level
-- further from the caller.

local own_name, core = ...

local error, getmetatable, pcall, select, type = error, getmetatable, pcall, select, type
local rawget, tonumber = rawget, tonumber
local concat = table.concat
local byte, find, match, sub = string.byte, string.find, string.match, string.sub
local format = string.format
local floor, ceil = math.floor, math.ceil
local debug_getmetatable = debug.getmetatable

-- ---- table.sort ----

local sort = table.sort

-- What a turn of quicksort's loop does.
local SPLIT, SEEK_UP, SEEK_DOWN = 1, 2, 3

-- The quicksort of Lua 5.1, comparison by comparison, so that equal elements come out in
-- the order in which they always did. lo..hi is the part being sorted; the larger half of
-- each split waits on the stack.
--
-- One flat loop: the JIT then makes a few dozen traces of it. With a loop inside a loop it
-- unrolls them into many hundreds.
local function quicksort(t, less)
  local lo, hi = 1, #t
  local stack, top = {}, 0
  local step = SPLIT
  local i, j, pivot, right = 0, 0, nil, nil
  while true do
    if step == SEEK_UP then -- for an element that belongs to the right of the pivot
      i = i + 1
      right = t[i]
      if not less(right, pivot) then
        step = SEEK_DOWN
      elseif i >= hi then
        error("invalid order function for sorting", 2)
      end
    elseif step == SEEK_DOWN then -- for one that belongs to the left of it
      j = j - 1
      local left = t[j]
      if less(pivot, left) then
        if j <= lo then
          error("invalid order function for sorting", 2)
        end
      elseif j >= i then
        t[i], t[j] = left, right
        step = SEEK_UP
      else
        t[hi - 1], t[i] = right, pivot
        top = top + 2
        if i - lo < hi - i then
          stack[top - 1], stack[top] = i + 1, hi
          hi = i - 1
        else
          stack[top - 1], stack[top] = lo, i - 1
          lo = i + 1
        end
        step = SPLIT
      end
    elseif lo < hi then
      local first, last = t[lo], t[hi]
      if less(last, first) then
        t[lo], t[hi] = last, first
      end
      if hi - lo > 1 then
        local mid = (lo + hi - (lo + hi) % 2) / 2
        pivot, first = t[mid], t[lo]
        if less(pivot, first) then
          t[mid], t[lo] = first, pivot
        else
          last = t[hi]
          if less(last, pivot) then
            t[mid], t[hi] = last, pivot
          end
        end
        if hi - lo > 2 then -- the pivot hides next to the end
          pivot = t[mid]
          t[mid], t[hi - 1] = t[hi - 1], pivot
          i, j = lo, hi - 1
          step = SEEK_UP
        else
          lo = hi
        end
      else
        lo = hi
      end
    elseif top > 0 then
      lo, hi = stack[top - 1], stack[top]
      top = top - 2
    else
      return
    end
  end
end

-- Whether t[i] is what the original would get and set, whatever the table's metatable.
local function is_raw(t)
  local mt = debug_getmetatable(t)
  if mt and (rawget(mt, "__index") ~= nil or rawget(mt, "__newindex") ~= nil) then
    for i = 1, #t do
      if rawget(t, i) == nil then
        return false
      end
    end
  end
  return true
end

local function has_lt(value)
  local mt = debug_getmetatable(value)
  return mt and rawget(mt, "__lt")
end

-- The original's comparison of two elements, without a comparator. What Lua refuses to
-- compare is given to the original, which raises its own error.
local function is_less(a, b)
  local mt = getmetatable(a)
  if mt == nil or mt ~= getmetatable(b) or type(mt) ~= "table" or not rawget(mt, "__lt") then
    local kind = type(a)
    local lt = has_lt(a)
    if kind ~= type(b)
        or kind ~= "number" and kind ~= "string" and (not lt or lt ~= has_lt(b)) then
      return sort {b, a}
    end
  end
  return a < b
end

function table.sort(...)
  local t, less = ...
  if type(t) == "table" then
    if less == nil then
      local kind = type(rawget(t, 1))
      less = (kind == "table" or kind == "userdata") and is_less
    end
    if type(less) == "function" and is_raw(t) then
      return quicksort(t, less)
    end
  end
  return sort(...)
end

-- ---- string.gsub ----

local gsub = string.gsub

-- A number as the int that C makes of it; nil for no number.
local function to_int(n)
  if not n then
    return nil
  end
  n = n < 0 and ceil(n) or floor(n)
  if n >= -2^31 and n < 2^31 then
    return n
  elseif n > -2^63 and n < 2^63 then
    n = n % 2^32
    return n < 2^31 and n or n - 2^32
  end
  return 0
end

-- Two patterns that find takes for plain text are none for gsub: NUL ends a pattern, and a
-- parenthesis that nothing has opened is an error.
local function for_find(p)
  p = match(p, "^%Z*")
  return find(p, "^[^%^%$*+?.([%%-]*%)") and p .. "%" or p
end

-- gsub with a function or a table, in terms of find.
local function substitute(s, p, repl, limit)
  if find(p, "[%z)]") then
    p = for_find(p)
  end
  if byte(p) == 94 and limit > 1 then -- ^
    limit = 1
  end
  local calls = type(repl) == "function"
  local stop = #s + 1
  local pieces, n = nil, 0
  local count = 0
  local from = 1   -- where the next match may begin
  local copied = 1 -- what stands before this is in the pieces
  while count < limit and from <= stop do
    -- pcall, for a malformed pattern is an error at the caller's line.
    local ok, first, last, c1, c2, c3, c4 = pcall(find, s, p, from)
    if not ok then
      error(first, 2)
    elseif not first then
      break
    end
    count = count + 1
    if c1 == nil then
      c1 = sub(s, first, last)
    end
    local value
    if not calls then
      value = repl[c1]
    elseif c2 == nil then
      value = repl(c1)
    elseif c3 == nil then
      value = repl(c1, c2)
    elseif c4 == nil then
      value = repl(c1, c2, c3)
    else
      value = repl(select(3, find(s, p, from)))
    end
    if value then
      local kind = type(value)
      if kind ~= "string" and kind ~= "number" then
        error("invalid replacement value (a " .. kind .. ")", 2)
      end
      pieces = pieces or {}
      if copied < first then
        n = n + 1
        pieces[n] = sub(s, copied, first - 1)
      end
      n = n + 1
      pieces[n] = value
      copied = last + 1
    end
    -- After an empty match one character is stepped over.
    from = (last < first and first or last) + 1
  end
  if not pieces then
    return s, count
  end
  pieces[n + 1] = sub(s, copied)
  return concat(pieces), count
end

-- Whether a lookup in the table may call a function.
local function has_index(t)
  local mt = debug_getmetatable(t)
  local index = mt and rawget(mt, "__index")
  return type(index) == "function" or type(index) == "table"
end

local function is_text(value)
  local kind = type(value)
  return kind == "string" or kind == "number"
end

function string.gsub(...)
  local s, p, repl, limit = ...
  local kind = type(repl)
  if kind == "function" or kind == "table" and has_index(repl) then
    local max = limit == nil and math.huge or to_int(tonumber(limit))
    if max and is_text(s) and is_text(p) then
      return substitute(s .. "", p .. "", repl, max)
    end
  end
  return gsub(...)
end

-- ---- require ----

local original_require, package, loaded = require, package, package.loaded
local require

-- What the original leaves in package.loaded while a module loads, and after it failed.
-- This module is just being loaded by the original, so there it stands.
local LOADING = loaded[own_name] or newproxy()

-- The modules that greenlets are loading:
-- name -> {owner = greenlet, list = of those who wait or nil, done, value = the outcome}
local locks = {}

-- Greenlet -> the lock that it waits for.
local awaited = {}

-- Errors that break a load off from outside: they say nothing of the module, so the next
-- require of it tries again.
local FROM_OUTSIDE = {
  Cancelled = true, GreenletExit = true, LoopExit = true, Timeout = true, interrupted = true,
}

local function is_from_outside(e)
  return type(e) == "table" and FROM_OUTSIDE[rawget(e, "kind")] and getmetatable(e) ~= nil
end

-- Whether to wait for the lock would never end: its owner is the greenlet itself, or waits,
-- over others perhaps, for a module that the greenlet is loading.
local function is_loop(lock, me)
  while lock do
    if lock.owner == me then
      return true
    end
    lock = awaited[lock.owner]
  end
  return false
end

local function wait_for(lock, me)
  lock.list = lock.list or core.waitlist("require")
  awaited[me] = lock
  local st, message = core.park(lock.list)
  awaited[me] = nil
  if st then
    require("glua.interrupt").interrupted(nil, message)
  end
end

-- What runs loaders: interrupt.protect keeps the traceback of an error, which is raised
-- again here. interrupt.lua and what it requires do without.
local function protector(name)
  local interrupt = loaded["glua.interrupt"]
  if interrupt == LOADING or not interrupt and name == "glua.interrupt" then
    return pcall
  end
  return require("glua.interrupt").protect
end

-- Returns true and a loader, or true, nil and why there is none, or false and an error.
local function find_loader(name, protect)
  local loaders = package.loaders
  if type(loaders) ~= "table" then
    return true, nil, "'package.loaders' must be a table"
  end
  local tried = ""
  local i = 1
  while true do
    local search = rawget(loaders, i)
    if search == nil then
      return true, nil, format("module '%s' not found:%s", name, tried)
    end
    local ok, found = protect(search, name)
    if not ok or type(found) == "function" then
      return ok, found
    elseif is_text(found) then
      tried = tried .. found
    end
    i = i + 1
  end
end

-- Returns true and the module, or false and an error.
local function run_loader(loader, name, protect)
  loaded[name] = LOADING
  local ok, value = protect(loader, name)
  if not ok then
    if loaded[name] == LOADING and is_from_outside(value) then
      loaded[name] = nil
    end
    return false, value
  end
  if value ~= nil then
    loaded[name] = value
  end
  if loaded[name] == LOADING then
    loaded[name] = true
  end
  return true, loaded[name]
end

local function load_module(...)
  local name = ...
  if not is_text(name) then
    return original_require(...)
  end
  name = name .. ""
  local me = core.current() -- nil while the program starts
  local protect = me and protector(name) or pcall
  local lock = locks[name]
  while lock do
    if not me or is_loop(lock, me) then
      error(format("loop or previous error loading module '%s'", name), 2)
    end
    wait_for(lock, me)
    if lock.done then
      return lock.value
    end
    lock = locks[name]
  end
  local value = loaded[name]
  if value == LOADING then
    error(format("loop or previous error loading module '%s'", name), 2)
  elseif value then
    return value
  end

  lock = {owner = me, list = nil, done = false, value = nil}
  locks[name] = me and lock
  local ok, loader, complaint = find_loader(name, protect)
  if not ok then
    value = loader
  elseif loader then
    ok, value = run_loader(loader, name, protect)
    lock.done, lock.value = ok, value
  end
  locks[name] = nil
  if lock.list then
    core.wake_all(lock.list)
  end
  if complaint then
    error(complaint, 2)
  elseif not ok then
    error(value, 0)
  end
  return value
end

function require(...)
  local module = loaded[...]
  if module and module ~= LOADING then
    return module
  end
  return load_module(...)
end

_G.require = require

-- ---- dofile and load ----

local original_dofile, original_load, loadfile = dofile, load, loadfile

local function pass(...)
  return ...
end

function _G.dofile(...)
  local name = ...
  if name ~= nil and not is_text(name) then
    return original_dofile(...)
  end
  local chunk, message = loadfile(name)
  if not chunk then
    error(message, 0)
  end
  return pass(chunk())
end

local function read_no_text()
  return false
end

function _G.load(...)
  local reader, name, mode, env = ...
  if type(reader) ~= "function" or name ~= nil and not is_text(name)
      or mode ~= nil and not is_text(mode) then
    return original_load(...)
  end
  local pieces, n = {}, 0
  while true do
    local ok, piece = pcall(reader)
    if not ok then
      return nil, piece
    elseif piece == nil or piece == "" then
      break
    elseif not is_text(piece) then
      return original_load(read_no_text) -- which has the message for it
    end
    n = n + 1
    pieces[n] = piece
  end
  return original_load(concat(pieces), name or "=(load)", mode, env)
end

-- ---- print ----

local original_print, original_tostring = print, tostring
local globals, stdout, write = _G, io.stdout, io.stdout.write

-- The line comes out at once, even if another greenlet prints while this one is parked.
local function print_converted(...)
  local n = select("#", ...)
  local texts = {...}
  for i = 1, n do
    local text = globals.tostring(texts[i])
    if not is_text(text) then
      error("'tostring' must return a string to 'print'", 2)
    end
    texts[i] = text
  end
  write(stdout, concat(texts, "\t"), "\n")
end

function _G.print(...)
  local plain = globals.tostring == original_tostring
  for i = 1, select("#", ...) do
    local kind = type((select(i, ...)))
    if not plain or kind == "table" or kind == "userdata" then
      return print_converted(...)
    end
  end
  return original_print(...)
end

return true
