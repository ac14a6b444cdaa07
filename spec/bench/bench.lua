-- bench.lua: what the benchmark programs share: samples, rounds, judgement, rows.
--
-- A program describes its figures and calls bench.main. Started from the project's folder
-- it measures each of them in rounds and prints it with its baseline beside it:
--
--     bin/gluarun spec/bench/queue.lua
--
-- Started with the key of a figure, it measures that once and prints a number. A round is
-- such a process and, right after it, one of the baseline, on the same pinned core: what
-- else the machine does in these seconds falls on both, and a bad moment spoils one round.
--
-- A figure is a table:
--
--     key, what   its argument and its name
--     unit        "ns", "ms", "s", "B", "MB/s"
--     sample      function that measures once, in a process of its own
--     ours        in its place: a function that measures once from outside
--     baseline    command that prints a number, or a function
--     against     what the baseline is
--     limit       what is asked for, as `judge` says; nil: nothing
--     judge       "ratio"   ours / baseline is at most the limit
--                 "share"   ours / baseline is at least the limit
--                 "scaled"  ours is at most the limit, on a machine where a resume takes
--                           28 ns: there the limits come from
--                 "value"   ours is at most the limit
--     peers       other systems' numbers: {{"node", command}, ...}
--     rounds      default: the environment's ROUNDS, or 5
--
-- The median of the rounds is judged; the least of ours stands beside it.

local bench = {}

-- What a bare resume and yield takes where the limits come from, and what tells it here.
local REFERENCE_NS = 28
local RESUME = "luajit spec/bench/resume.lua 2 3000000"

-- Cores: one for what is measured, the other for what sends load to it.
local CORE, LOAD_CORE = 0, 1

local gluarun = arg[-1] or "bin/gluarun"

-- Commands

local function output_of(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

local function has(program)
  return output_of(("command -v %s || :"):format(program)) ~= ""
end

local can_pin = has("taskset") and tonumber(output_of("nproc")) > 1

local function pinned(core, command)
  return can_pin and ("taskset -c %d %s"):format(core, command) or command
end

-- The number after `name=` in what a command prints, or the last one without a name.
local function number_from(command, name)
  local text = output_of(command)
  local number = tonumber(text:match(name and name .. "=(%S+)" or "(%S+)%s*$"))
  return number or error(("no figure from\n%s\nwhich printed: %s"):format(command, text), 0)
end

---A number from a command that runs on the pinned core.
---@param command string
---@param name? string of the number, where it prints several
---@return number
function bench.number_from(command, name)
  return number_from(pinned(CORE, command), name)
end

---Has spec/bench/load work on a server; both are ended afterwards.
---@param server string command that prints "listening PORT"
---@param load string mode and arguments of load
---@param name string of the number in what load prints
---@return number
function bench.load(server, load, name)
  return number_from(([[
    fifo=$(mktemp -u) && mkfifo "$fifo" || exit
    %s >"$fifo" & server=$!
    trap 'kill $server; rm -f "$fifo"' EXIT
    read -r _ port <"$fifo" && %s 127.0.0.1 "$port" %s -p $server]]):format(
    pinned(CORE, server), pinned(LOAD_CORE, "build/bench/load"), load), name)
end

---The command that runs a script of this folder under the gluarun that runs this one.
---@param script string with its arguments
---@return string
function bench.script(script)
  return ("%s spec/bench/%s"):format(gluarun, script)
end

-- For samples

---CPU time in nanoseconds that fn(...) took, divided by n.
---@param n number
---@param fn function
---@return number
function bench.ns_each(n, fn, ...)
  local start = os.clock()
  fn(...)
  return (os.clock() - start) * 1e9 / n
end

---Bytes of memory that the process has.
---@return number
function bench.rss()
  local file = assert(io.open("/proc/self/statm"))
  local pages = file:read("*a"):match("^%d+ (%d+)")
  file:close()
  return tonumber(pages) * 4096
end

-- Peers

local peers = {
  {"Go", "build/bench/peer_go", "build/bench/peer_go"},
  {"node", "node", "node spec/bench/peers/node.js"},
  {"luv", "luajit -e 'require \"luv\"'", "luajit spec/bench/peers/luv.lua"},
  {"gevent", "python3 -c 'import gevent'", "python3 spec/bench/peers/gevent.py"},
}
bench.peers = function() end

-- Statistics

local function median(list)
  local sorted = {unpack(list)}
  table.sort(sorted)
  local half = (#sorted + 1) / 2
  return (sorted[math.floor(half)] + sorted[math.ceil(half)]) / 2
end

local function least(list)
  return math.min(unpack(list))
end

-- Rounds

local function sample_of(figure)
  if figure.ours then
    return figure.ours()
  end
  return bench.number_from(("%s %s %s"):format(gluarun, arg[0], figure.key))
end

local function baseline_of(figure)
  if figure.judge == "scaled" then
    return bench.number_from(RESUME)
  elseif type(figure.baseline) == "function" then
    return figure.baseline()
  end
  return figure.baseline and bench.number_from(figure.baseline) or nil
end

-- What a round says for the limit.
local function judged(figure, ours, baseline)
  if figure.judge == "value" then
    return ours
  elseif figure.judge == "scaled" then
    return ours * REFERENCE_NS / baseline
  end
  return ours / baseline
end

local function measure(figure)
  local result = {ours = {}, baseline = {}, judged = {}}
  for i = 1, figure.rounds or tonumber(os.getenv("ROUNDS")) or 5 do
    result.ours[i] = sample_of(figure)
    result.baseline[i] = baseline_of(figure)
    result.judged[i] = judged(figure, result.ours[i], result.baseline[i])
  end
  return result
end

-- Rows

local function show(number, unit)
  local format = number >= 1000 and "%.0f" or number >= 100 and "%.1f" or "%.2f"
  return (format .. "%s"):format(number, unit and " " .. unit or "")
end

local ROW = "%-40s %12s %12s %22s %10s %12s  %s"

---The heading over the rows.
---@return string
function bench.heading()
  return ROW:format("figure", "ours", "least", "baseline", "judged", "limit", "")
end

local function row(figure, result)
  local ours, value = median(result.ours), median(result.judged)
  local against, bound, word = "", "", ""
  if result.baseline[1] then
    local scaled = figure.judge == "scaled"
    against = show(median(result.baseline), not scaled and figure.unit or "ns") .. " " ..
      (scaled and "resume" or figure.against)
  end
  local is_factor = figure.judge == "ratio" or figure.judge == "share"
  local shown = is_factor and ("x %.2f"):format(value) or show(value, figure.unit)
  if figure.limit then
    local is_share = figure.judge == "share"
    bound = (is_share and ">= " or "<= ") .. (is_factor and figure.limit
      or figure.limit .. " " .. figure.unit)
    local ok = is_share and value >= figure.limit or not is_share and value <= figure.limit
    word = ok and "ok" or "MISSED"
  end
  return ROW:format(figure.what, show(ours, figure.unit),
    show(least(result.ours), figure.unit), against, shown, bound, word)
end

-- Appends to the file in which run.lua collects the rows, if it asked for that.
local function collect(line)
  local path = os.getenv("BENCH_ROWS")
  if path then
    local file = assert(io.open(path, "a"))
    file:write(line, "\n")
    file:close()
  end
end

-- What the peers take for the same, where they are installed.
local function print_peers(figure)
  local texts = {}
  for i, peer in ipairs(figure.peers or {}) do
    local ok, number = pcall(bench.number_from, peer[2] .. " 2>/dev/null")
    texts[i] = peer[1] .. " " .. (ok and show(number, figure.unit) or "left out, not here")
  end
  if texts[1] then
    print("    " .. table.concat(texts, ", "))
  end
end

---What a program does: measures the figure that its argument names, or all in rounds.
---@param figures table
function bench.main(figures)
  for _, figure in ipairs(figures) do
    if figure.key == arg[1] and figure.sample then
      print(figure.sample())
      io.stdout:flush()
      os.exit(0) -- without freeing a million greenlets one by one
    end
  end
  if not os.getenv("BENCH_ROWS") then
    print(bench.heading())
  end
  for _, figure in ipairs(figures) do
    if not arg[1] or figure.key == arg[1] then
      local line = row(figure, measure(figure))
      print(line)
      print_peers(figure)
      collect(line)
    end
  end
end

return bench
