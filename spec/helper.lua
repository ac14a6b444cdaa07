-- helper.lua: what the specs share.

local glua = require "glua"

local helper = {}

-- A spec that takes longer than this, in seconds, fails where it is parked.
local LIMIT = tonumber(os.getenv("SPEC_LIMIT")) or 20

-- The program under test: the one that runs this.
helper.program = arg and arg[-1] or "bin/gluarun"

---How many descriptors this process has open.
---@return integer
function helper.descriptors()
  local listing = io.popen("ls /proc/$PPID/fd | wc -l")
  local n = listing:read("*n")
  listing:close()
  return n
end

---What is alive on the hub: counts that shall be the same before and after each spec.
---@return table
function helper.alive()
  collectgarbage()
  collectgarbage()
  glua.idle()
  local stats = glua.gethub().stats()
  return {
    greenlets = stats.greenlets, timers = stats.timers, io_waits = stats.io_waits,
    refs = stats.refs, descriptors = helper.descriptors(),
  }
end

---Has each `it` of the calling describe checked: it ends in time, and leaves no greenlet,
---timer, watcher or descriptor behind.
function helper.leaves_nothing_behind()
  local env = getfenv(2)
  local before, limit
  env.before_each(function()
    before = helper.alive()
    limit = glua.Timeout(LIMIT, ("the spec took longer than %g seconds"):format(LIMIT))
    limit:start()
  end)
  env.after_each(function()
    limit:cancel()
    local after = helper.alive()
    for name, count in pairs(before) do
      if after[name] ~= count then
        error(("%s: %d before, %d after"):format(name, count, after[name]), 0)
      end
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

return helper
