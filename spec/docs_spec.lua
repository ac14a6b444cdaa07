-- docs_spec.lua: the documentation says what the program does.
--
-- Marks in the text, after the language of a code block:
--
--     ```lua run                a whole program; the `text` block below it is its output
--     ```lua examples/x.lua     a part of that file, or all of it
--     ```lua module x           a module glua.x for the programs further down
--     ```console                each "$ gluarun ..." is run in the project's folder
--     ```text loose             the output up to numbers, bars, blanks and order of lines;
--                               also `console loose`

local glua = require "glua"
local helper = require "spec.helper"

local PAGES = {
  "README.md", "CHANGELOG.md", "docs/tutorial.md", "docs/reference.md", "docs/design.md",
}

-- A function of one string that is computed once for each: a run in which the collector
-- works all the time is slow enough.
local function once(fn)
  local known = {}
  return function(key)
    if known[key] == nil then
      known[key] = fn(key)
    end
    return known[key]
  end
end

local function read(path)
  local file = assert(io.open(path))
  local text = file:read("*a")
  file:close()
  return text
end

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

local function output_of(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

-- The code blocks of a page: {language=, mark=, text=, line=}.
local blocks_of = once(function(path)
  local blocks, block, line = {}, nil, 0
  for text in (read(path) .. "\n"):gmatch("(.-)\n") do
    line = line + 1
    local info = text:match("^```(.*)$")
    if block and info then
      block.text = table.concat(block, "\n") .. "\n"
      blocks[#blocks + 1] = block
      block = nil
    elseif info then
      local language, mark = info:match("^(%S*) ?(.*)$")
      block = {language = language, mark = mark, line = line, path = path}
    elseif block then
      block[#block + 1] = text
    end
  end
  assert(not block, path .. ": a code block does not end")
  return blocks
end)

-- The text of a page without its code blocks.
local prose_of = once(function(path)
  return (("\n" .. read(path)):gsub("\n```.-\n```", "\n"))
end)

local function each_block(language, fn)
  local n = 0
  for _, page in ipairs(PAGES) do
    local blocks = blocks_of(page)
    for i, block in ipairs(blocks) do
      if block.language == language then
        n = n + 1
        fn(block, blocks[i + 1])
      end
    end
  end
  assert.is_true(n > 0)
end

-- Numbers, bars and blanks are all alike, and lines are sorted.
local function loosely(text)
  local lines = {}
  for line in text:gmatch("[^\n]+") do
    lines[#lines + 1] = line:gsub("%d+", "0"):gsub("=+", "="):gsub(" +", " ")
  end
  table.sort(lines)
  return table.concat(lines, "\n")
end

local function assert_output(block, expected, loose, actual)
  if loose then
    expected, actual = loosely(expected), loosely(actual)
  end
  assert.equal(expected, actual, ("%s:%d"):format(block.path, block.line))
end

-- A folder for the program under test under its own name, and for scripts.
local place

local function make_place()
  place = os.tmpname()
  os.remove(place)
  local program = output_of("realpath " .. helper.program):match("^[^\n]*")
  assert(os.execute(("mkdir %s %s/glua && ln -s '%s' %s/gluarun")
    :format(place, place, program, place)) == 0)
end

local function remove_place()
  os.execute("rm -r " .. place)
end

-- What a command prints, first to stdout and then to stderr, and its status.
local function run(folder, command)
  local text = output_of(
    ("cd '%s' && { PATH=%s:$PATH GLUARUN_LUA=%s timeout 20 %s 2>%s/stderr; }; echo $?")
      :format(folder, place, place, command, place))
  local out, status = text:match("^(.-)(%d+)\n$")
  return out .. read(place .. "/stderr"), tonumber(status)
end

-- ---- names ----

-- The value of an upvalue of fn.
local function upvalue(fn, wanted)
  for i = 1, math.huge do
    local name, value = debug.getupvalue(fn, i)
    assert(name, "no upvalue " .. wanted)
    if name == wanted then
      return value
    end
  end
end

local function methods_of(object)
  local index = getmetatable(object).__index
  if type(index) == "function" then
    local meta = getmetatable(object)
    return upvalue(index, type(object) == "userdata" and "Greenlet" or meta.__tostring
      and object.kind or "Timeout")
  end
  return index
end

local MODULES = {"event", "queue", "lock", "pool", "locals", "socket", "server"}

-- An object of each class, made by fn(take). Subclasses are compared for what they add.
local function each_object(take)
  local event, queue, lock = require "glua.event", require "glua.queue", require "glua.lock"
  local pool, server = require "glua.pool", require "glua.server"
  take("Greenlet", glua.getcurrent())
  take("Timeout", glua.Timeout(1))
  glua.scope(function(s) take("Scope", s) end)
  local handler = glua.signal("SIGUSR1", function() end)
  take("SignalHandler", handler)
  handler:cancel()
  take("Event", event.Event())
  take("AsyncResult", event.AsyncResult())
  take("Queue", queue.Queue())
  take("JoinableQueue", queue.JoinableQueue(), queue.Queue())
  take("LifoQueue", queue.LifoQueue(), queue.Queue())
  take("PriorityQueue", queue.PriorityQueue(), queue.Queue())
  take("Channel", queue.Channel(), queue.Queue())
  take("Semaphore", lock.Semaphore())
  take("BoundedSemaphore", lock.BoundedSemaphore(), lock.Semaphore())
  take("Lock", lock.Lock(), lock.Semaphore())
  take("RLock", lock.RLock())
  take("Condition", lock.Condition())
  take("Barrier", lock.Barrier(1))
  take("Group", pool.Group())
  take("Pool", pool.Pool(1), pool.Group())
  local socket = require("glua.socket").tcp()
  take("socket", socket)
  socket:close()
  take("StreamServer", server.StreamServer(0, function() end))
end

-- Methods that are there for the runtime alone.
local INTERNAL = {
  ["Timeout:raised"] = true,      -- what interrupt.lua raises for it
  ["Queue:push"] = true, ["Queue:pop"] = true, ["Queue:first"] = true, -- the kinds of queue
}

-- What each object that can be waited for has: one entry for all, "object:rawlink".
local COMMON = {rawlink = true, unlink = true, ready = true}

-- Of links.mix_into, for the classes themselves.
local MIXED_IN = {notify = true, links_stay_due = true}

local function registered_names()
  local names = {}
  local lazy = upvalue(getmetatable(glua).__index, "lazy")
  for name in pairs(lazy) do
    names["glua." .. name] = true
  end
  names["glua.scope"] = true -- the one that is loaded in a way of its own
  for name in pairs(glua) do
    names["glua." .. name] = true
  end
  for name in pairs(glua.gethub()) do
    names["Hub." .. name] = true
  end
  for _, module in ipairs(MODULES) do
    for name in pairs(require("glua." .. module)) do
      names[module .. "." .. name] = true
    end
  end
  each_object(function(class, object, parent)
    local inherited = parent and methods_of(parent) or {}
    local methods = methods_of(object)
    for name in pairs(methods) do
      local full = ("%s:%s"):format(class, name)
      if COMMON[name] and class ~= "Greenlet" then
        names["object:" .. name] = true
      elseif not inherited[name] and not INTERNAL[full]
        and not (MIXED_IN[name] and methods.rawlink) then
        names[full] = true
      end
    end
  end)
  return names
end

-- The names in the headings of docs/reference.md: what stands before the parenthesis.
local function documented_names()
  local names = {}
  for heading in prose_of("docs/reference.md"):gmatch("\n###+ ([^\n]+)") do
    for name in heading:gmatch("`([%w_]+[.:][%w_]+)[^`]*`") do
      assert.is_nil(names[name], name .. " has two headings")
      names[name] = true
    end
  end
  return names
end

local function sorted(set)
  local list = {}
  for name in pairs(set) do
    list[#list + 1] = name
  end
  table.sort(list)
  return list
end

-- What GitHub makes of a heading.
local function slug(heading)
  return (heading:lower():gsub("[^%w%s_-]", ""):gsub(" ", "-"))
end

local slugs_of = once(function(path)
  local slugs = {}
  for heading in prose_of(path):gmatch("\n#+ ([^\n]+)") do
    slugs[slug(heading)] = true
  end
  return slugs
end)

describe("docs", function()
  helper.leaves_nothing_behind()

  it("have an entry in the reference for each public name, and no other", function()
    assert.same(sorted(registered_names()), sorted(documented_names()))
  end)

  it("tell of each field of a Greenlet", function()
    local getters = upvalue(getmetatable(glua.getcurrent()).__index, "getters")
    local section = read("docs/reference.md"):match("\n### The Greenlet\n(.-)\n### ")
    for name in pairs(getters) do
      assert.is_truthy(section:find(("| `%s` |"):format(name), 1, true), name)
    end
    for name in section:gmatch("\n| `(%w+)` |") do
      assert.is_truthy(getters[name], name)
    end
  end)

  it("have only Lua that compiles", function()
    each_block("lua", function(block)
      local chunk, message = loadstring(block.text, ("=%s:%d"):format(block.path, block.line))
      assert.is_truthy(chunk, message)
    end)
  end)

  it("show the parts of files as they are", function()
    local n = 0
    each_block("lua", function(block)
      if block.mark:find("/", 1, true) then
        n = n + 1
        assert.is_truthy(read(block.mark):find("\n" .. block.text, 1, true),
          ("%s:%d: not in %s"):format(block.path, block.line, block.mark))
      else
        assert.is_truthy(block.mark == "" or block.mark == "run"
          or block.mark:find("^module %l+$"), block.mark)
      end
    end)
    assert.is_true(n > 0)
  end)

  it("show what their programs print", function()
    make_place()
    finally(remove_place)
    each_block("lua", function(block, shown)
      local module = block.mark:match("^module (.*)$")
      if module then
        write(("%s/glua/%s.lua"):format(place, module), block.text)
      elseif block.mark == "run" then
        assert.equal("text", shown and shown.language)
        write(place .. "/example.lua", block.text)
        local out = run(place, "gluarun example.lua")
        assert_output(block, shown.text, shown.mark == "loose", out)
      end
    end)
  end)

  it("show what the commands print", function()
    make_place()
    finally(remove_place)
    each_block("console", function(block)
      local command, rest = block.text:match("^%$ (gluarun [^\n]*)\n(.*)$")
      assert.is_truthy(command, ("%s:%d"):format(block.path, block.line))
      local out = run(".", command)
      assert_output(block, rest, block.mark == "loose", out)
    end)
  end)

  it("show each example in the tutorial", function()
    local tutorial = read("docs/tutorial.md")
    for name in output_of("ls examples"):gmatch("(%S+)") do
      assert.is_truthy(tutorial:find("$ gluarun examples/" .. name .. "\n", 1, true), name)
    end
  end)

  it("have each file of runtime/ and of lua/glua in the README", function()
    local readme = read("README.md")
    local tour = readme:match("\n## A tour of runtime/\n(.-)\n## ")
    local modules = readme:match("\n## What is in lua/glua/\n(.-)\n## ")
    for folder, section in pairs {runtime = tour, ["lua/glua"] = modules} do
      local files = output_of("ls " .. folder)
      for name in files:gmatch("(%S+)") do
        assert.is_truthy(section:find(("`%s`"):format(name), 1, true), folder .. "/" .. name)
      end
      for name in section:gmatch("`([%w_]+%.%l+)`") do
        local is_file = name:find("%.[ch]$") or name:find("%.lua$")
        assert.is_true(not is_file or files:find(name, 1, true) ~= nil, name)
      end
    end
  end)

  it("have links that lead somewhere", function()
    local n = 0
    for _, page in ipairs(PAGES) do
      local folder = page:match("^(.*/)") or ""
      for target in prose_of(page):gmatch("%]%(([^)]*)%)") do
        if not target:find("^https?:") then
          n = n + 1
          local path, anchor = target:match("^([^#]*)#?(.*)$")
          path = path == "" and page or folder .. path
          assert.equal(0, os.execute(("test -e '%s'"):format(path)), page .. ": " .. target)
          if anchor ~= "" then
            assert.is_true(slugs_of(path)[anchor], page .. ": " .. target)
          end
        end
      end
    end
    assert.is_true(n > 0)
  end)

  it("name only options that the command has", function()
    local help = helper.gluarun({"--help"}).out
    local section = read("docs/reference.md"):match("\n## The command\n(.-)\n## ")
    local function options_in(text, pattern)
      local options = {}
      for option in text:gmatch(pattern) do
        options[option] = true
      end
      return sorted(options)
    end
    assert.same(options_in(help, "\n  (%-%S*)"), options_in(section, "\n| `(%-[^ `]*)"))
  end)
end)
