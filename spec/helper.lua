-- helper.lua: what the specs share.

local glua = require "glua"
local lfs = require "lfs" -- busted brings it

local helper = {}

-- A spec that takes longer than this, in seconds, fails where it is parked.
local LIMIT = tonumber(os.getenv("SPEC_LIMIT")) or 20

-- The program under test: the one that runs this.
helper.program = arg and arg[-1] or "bin/gluarun"

---How many descriptors this process has open.
---@return integer
function helper.descriptors()
  local n = -3 -- ".", ".." and the listing itself
  for _ in lfs.dir("/proc/self/fd") do
    n = n + 1
  end
  return n
end

---What is alive on the hub, once everything that is ready has run.
---@return table counts by name
function helper.alive()
  glua.idle()
  local stats = glua.gethub().stats()
  return {
    greenlets = stats.greenlets, timers = stats.timers, io_waits = stats.io_waits,
    refs = stats.refs, descriptors = helper.descriptors(),
  }
end

-- Names what there is more of than before; nil if there is nothing.
local function excess(before)
  local more = {}
  for name, count in pairs(helper.alive()) do
    if count > before[name] then
      more[#more + 1] = ("%s: %d before, %d after"):format(name, before[name], count)
    end
  end
  return more[1] and table.concat(more, "; ")
end

---Has each `it` of the calling describe checked: it ends in time, and leaves no greenlet,
---timer, watcher or descriptor behind; what the collector takes away may be left to it.
function helper.leaves_nothing_behind()
  local env = getfenv(2)
  local before, limit
  env.before_each(function()
    before = helper.alive()
    limit = glua.Timeout(LIMIT, ("the spec took longer than %g seconds"):format(LIMIT))
    limit:start()
  end)
  env.after_each(function()
    if not limit.pending then
      error(tostring(limit.error), 0)
    end
    limit:cancel()
    if excess(before) then
      collectgarbage()
      collectgarbage()
    end
    local more = excess(before)
    if more then
      error(more, 0)
    end
  end)
end

local function quote(word)
  return "'" .. tostring(word):gsub("'", "'\\''") .. "'"
end

local function take(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  os.remove(path)
  return text
end

---Runs the program in a process of its own and waits for it, blocking the hub.
---@param args string[] its arguments
---@param options? {input: string, env: string, limit: number, wrap: string}
---  env: "NAME=value ..." put before it; wrap: a command put before it; limit: seconds
---@return {status: integer, out: string, err: string}
function helper.gluarun(args, options)
  options = options or {}
  local words = {}
  for i, word in ipairs(args) do
    words[i] = quote(word)
  end
  local out, err, input = os.tmpname(), os.tmpname(), os.tmpname()
  local file = assert(io.open(input, "wb"))
  file:write(options.input or "")
  file:close()
  local command = ("%s timeout %g %s %s %s <%s >%s 2>%s; echo $?"):format(options.env or "",
    options.limit or LIMIT, options.wrap or "", quote(helper.program),
    table.concat(words, " "), input, out, err)
  local shell = assert(io.popen(command))
  local status = shell:read("*n")
  shell:close()
  os.remove(input)
  return {status = status, out = take(out), err = take(err)}
end

---The same for a script given as text.
---@param text string
---@param ... string arguments of the script
function helper.run(text, ...)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
  local result = helper.gluarun({path, ...})
  os.remove(path)
  result.path = path
  return result
end

---Asserts that fn raises an error with the message, at fn's own first line.
---@param message string
---@param fn function written in one line
function helper.misuse(message, fn)
  local place = debug.getinfo(fn, "S")
  local expected = ("%s:%d: %s"):format(place.short_src, place.linedefined, message)
  local ok, e = pcall(fn)
  if ok or e ~= expected then
    error(("expected the error\n  %s\ngot\n  %s"):format(expected, ok and "none" or tostring(e)), 2)
  end
end

---A number of things to do, far smaller in a run in which the collector works all the time.
---@param n integer
---@return integer
function helper.many(n)
  return os.getenv("GLUA_GC") == "stress" and math.min(n, 50) or n
end

---Keeps the processor for so many seconds, without parking.
---@param seconds number
function helper.burn(seconds)
  local till = glua.now() + seconds
  repeat until glua.now() >= till
end

return helper
