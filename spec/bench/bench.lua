-- bench.lua: what the benchmark programs share: samples, rounds, judgement, rows.
--
-- A program describes its figures and calls bench.main. Started from the project's folder
-- it measures each of them in rounds and prints it with its baseline beside it:
--
--     bin/gluarun spec/bench/queue.lua [figure]
--
-- A round is a sample, which is the same program once more in a process of its own, and
-- right after it one of the baseline, on the same pinned core: what else the machine does
-- in these seconds falls on both, and a bad moment spoils one round.
--
-- A figure is a table:
--
--     key, what   its argument and its name
--     unit        "ns", "ms", "s", "B", "MB/s"
--     sample      function that measures once and returns a number
--     ours        in its place: a function that measures a process from outside
--     baseline    command that prints a number, or a function
--     against     what the baseline is
--     limit       what is asked for, as `judge` says
--     judge       "ratio"   ours / baseline is at most the limit
--                 "share"   ours / baseline is at least the limit
--                 "scaled"  ours is at most the limit, on a machine where a resume takes
--                           28 ns, as it does where the limits come from
--                 "value"   ours is at most the limit
--     peers       arguments with which the programs in peers/ measure the same, once;
--                 PEERS=no in the environment leaves them out
--     rounds      default: the environment's ROUNDS, or 5
--
-- Judged is the median of the rounds. What the best rounds say stands in parentheses.

local bench = {}

-- What a bare resume and yield takes where the limits come from, and what tells it here.
local REFERENCE_NS = 28
local RESUME = "luajit spec/bench/resume.lua 2 5e6"

-- Cores: one for what is measured, the other for what sends load to it.
local CORE, LOAD_CORE = 0, 1

local gluarun = arg[-1]

-- ---- commands ----

local function output_of(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

local function works(command)
  return output_of(("(%s) >/dev/null 2>&1 && echo yes"):format(command)) ~= ""
end

local can_pin = works("taskset -c 1 true")

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

---Has spec/bench/load work on a server, and ends that.
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

-- ---- for samples ----

---CPU time that fn(...) took, in nanoseconds, divided by n.
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

-- ---- peers ----

local PEERS = "spec/bench/peers/"
local GO_PEER = "build/bench/go_peer"

-- Name, what shows that it is there, and the command without arguments.
local peers = {
  {"Go", ("go build -o %s %sgo_peer.go"):format(GO_PEER, PEERS), GO_PEER},
  {"node", "node -e ''", "node " .. PEERS .. "node_peer.js"},
  {"luv", [[luajit -e 'require "luv"']], "luajit " .. PEERS .. "luv_peer.lua"},
  {"gevent", "python3 -c 'import gevent'", "python3 " .. PEERS .. "gevent_peer.py"},
  {"gevent", "/usr/bin/python3 -c 'import gevent'",
    "/usr/bin/python3 " .. PEERS .. "gevent_peer.py"},
}

-- ---- statistics ----

local function median(list)
  local sorted = {unpack(list)}
  table.sort(sorted)
  local half = (#sorted + 1) / 2
  return (sorted[math.floor(half)] + sorted[math.ceil(half)]) / 2
end

local function best(figure, list)
  return (figure.judge == "share" and math.max or math.min)(unpack(list))
end

-- ---- rounds ----

local function sample_of(figure)
  if figure.ours then
    return figure.ours()
  end
  return bench.number_from(("%s %s %s sample"):format(gluarun, arg[0], figure.key))
end

local function baseline_of(figure)
  if figure.judge == "scaled" then
    return bench.number_from(RESUME)
  elseif type(figure.baseline) == "function" then
    return figure.baseline()
  end
  return figure.baseline and bench.number_from(figure.baseline) or nil
end

-- What numbers of ours and the baseline say for the limit.
local function judged(figure, ours, baseline)
  if figure.judge == "value" then
    return ours
  elseif figure.judge == "scaled" then
    return ours * REFERENCE_NS / baseline
  end
  return ours / baseline
end

local function measure(figure)
  local ours, baseline, judgement = {}, {}, {}
  for i = 1, figure.rounds or tonumber(os.getenv("ROUNDS")) or 5 do
    ours[i] = sample_of(figure)
    baseline[i] = baseline_of(figure)
    judgement[i] = judged(figure, ours[i], baseline[i])
  end
  return ours, baseline, judgement
end

-- ---- rows ----

local ROW = "%-37s %22s %29s %22s %12s  %s"

---The heading over the rows.
---@return string
function bench.heading()
  return ROW:format("figure", "ours (best)", "baseline (best)", "judged (best)", "limit", "")
end

local function digits(number)
  return (number >= 1000 and "%.0f" or number >= 100 and "%.1f" or "%.2f"):format(number)
end

local function pair(number, of_best, word)
  return ("%s (%s) %s"):format(digits(number), digits(of_best), word)
end

local function row(figure, ours, baseline, judgement)
  local scaled, share = figure.judge == "scaled", figure.judge == "share"
  local factor = share or figure.judge == "ratio"
  local best_ours, best_baseline, shown = best(figure, ours), nil, ""
  if baseline[1] then
    best_baseline = best(figure, baseline)
    shown = pair(median(baseline), best_baseline,
      scaled and "ns resume" or ("%s %s"):format(figure.unit, figure.against))
  end
  local value = median(judgement)
  local good
  if share then
    good = value >= figure.limit
  else
    good = value <= figure.limit
  end
  local unit = factor and "x" or figure.unit
  return ROW:format(figure.what,
    pair(median(ours), best_ours, figure.unit),
    shown,
    pair(value, judged(figure, best_ours, best_baseline), unit),
    ("%s %g %s"):format(share and ">=" or "<=", figure.limit, unit),
    good and "ok" or "MISSED")
end

-- Adds a line to what run.lua shows at the end, if that is what runs this program.
local function collect(line)
  local path = os.getenv("BENCH_ROWS")
  if path then
    local file = assert(io.open(path, "a"))
    file:write(line, "\n")
    file:close()
  end
end

-- What the peers take for the same; those that are not installed are named.
local function print_peers(figure)
  local texts, seen = {}, {}
  for _, peer in ipairs(peers) do
    local name, check, command = unpack(peer)
    if not seen[name] and works(check) then
      seen[name] = true
      local number = bench.number_from(("%s %s"):format(command, figure.peers))
      texts[#texts + 1] = ("%s %s %s"):format(name, digits(number), figure.unit)
    end
  end
  for _, peer in ipairs(peers) do
    if not seen[peer[1]] then
      seen[peer[1]] = true
      texts[#texts + 1] = peer[1] .. " left out, it is not installed"
    end
  end
  print("    " .. table.concat(texts, "; "))
end

---What a program does: measures the figure that its first argument names, or all of them.
---@param figures table
function bench.main(figures)
  if not os.getenv("BENCH_ROWS") and arg[2] ~= "sample" then
    print(bench.heading())
  end
  for _, figure in ipairs(figures) do
    if figure.key == arg[1] and arg[2] == "sample" then
      print(figure.sample())
      io.stdout:flush()
      os.exit(0) -- a million greenlets need not be freed one by one
    elseif not arg[1] or figure.key == arg[1] then
      local line = row(figure, measure(figure))
      print(line)
      if figure.peers and os.getenv("PEERS") ~= "no" then
        print_peers(figure)
      end
      io.stdout:flush()
      collect(line)
    end
  end
end

return bench
