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
-- Differences that remain: level 2 has a position now; load has read all pieces before it
-- compiles the first; a module or reader sees one more level, for it is called protected.

local own_name, core = ...

local error, getmetatable, pcall, select, type = error, getmetatable, pcall, select, type
local rawget, rawset = rawget, rawset
local concat = table.concat
local byte, find, match, sub = string.byte, string.find, string.match, string.sub
local floor, ceil = math.floor, math.ceil
local debug_getmetatable = debug.getmetatable

-- ---- table.sort ----

local sort = table.sort

-- The quicksort of Lua 5.1, comparison by comparison, so that equal elements come out in
-- the order in which they always did. The larger part of each split waits on a stack; the
-- original calls itself instead.
local function quicksort(t, less)
  local lo, hi = 1, #t
  local stack, top = nil, 0
  while true do
    -- The ends and the middle, in order; the middle is the pivot.
    if lo < hi then
      local first, last = t[lo], t[hi]
      if less(last, first) then
        t[lo] = last
        t[hi] = first
      end
    end
    local mid = floor((lo + hi) / 2)
    if hi - lo > 1 then
      local pivot, first = t[mid], t[lo]
      if less(pivot, first) then
        t[mid] = first
        t[lo] = pivot
      else
        local last = t[hi]
        if less(last, pivot) then
          t[mid] = last
          t[hi] = pivot
        end
      end
    end
    if hi - lo > 2 then
      -- The pivot hides next to the end while the others go to its sides.
      local pivot = t[mid]
      t[mid] = t[hi - 1]
      t[hi - 1] = pivot
      local i, j = lo, hi - 1
      while true do
        i = i + 1
        local right = t[i]
        while less(right, pivot) do
          if i >= hi then
            error("invalid order function for sorting", 2)
          end
          i = i + 1
          right = t[i]
        end
        j = j - 1
        local left = t[j]
        while less(pivot, left) do
          if j <= lo then
            error("invalid order function for sorting", 2)
          end
          j = j - 1
          left = t[j]
        end
        if j < i then
          break
        end
        t[i] = left
        t[j] = right
      end
      t[hi - 1] = t[i]
      t[i] = pivot
      stack = stack or {}
      if i - lo < hi - i then
        stack[top + 1], stack[top + 2] = i + 1, hi
        hi = i - 1
      else
        stack[top + 1], stack[top + 2] = lo, i - 1
        lo = i + 1
      end
      top = top + 2
    elseif top > 0 then
      lo, hi = stack[top - 1], stack[top]
      top = top - 2
    else
      return
    end
  end
end

-- The original's comparison of two elements. Those that it refuses are given to it.
local function is_less(a, b)
  local kind = type(a)
  if kind ~= "number" and kind ~= "string" or kind ~= type(b) then
    local mt_a, mt_b = debug_getmetatable(a), debug_getmetatable(b)
    local lt = mt_a and rawget(mt_a, "__lt")
    if lt == nil or kind ~= type(b) or not mt_b or lt ~= rawget(mt_b, "__lt") then
      return sort {b, a}
    end
  end
  return a < b
end

function table.sort(...)
  local t, less = ...
  if type(t) == "table" then
    if type(less) == "function" then
      return quicksort(t, less)
    elseif less == nil then
      local kind = type(t[1])
      if kind == "table" or kind == "userdata" then
        return quicksort(t, is_less)
      end
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
  local calls = type(repl) == "function"
  local anchored = byte(p) == 94 -- ^
  local pieces, n = nil, 0
  local count = 0
  local from = 1   -- where the next match may begin
  local copied = 1 -- what stands before this is in the pieces
  while count < limit do
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
    if anchored or from > #s + 1 then
      break
    end
  end
  if not pieces then
    return s, count
  end
  pieces[n + 1] = sub(s, copied)
  return concat(pieces), count
end

local function is_text(value)
  local kind = type(value)
  return kind == "string" or kind == "number"
end

-- Whether a lookup in the table may call a function.
local function has_index(t)
  local mt = debug_getmetatable(t)
  local index = mt and rawget(mt, "__index")
  return type(index) == "function" or type(index) == "table"
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
