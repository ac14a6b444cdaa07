-- bench.lua: what the benchmark programs share: samples, rounds, judgement, table.
--
-- A program describes its figures and calls bench.main. Started by itself, from the
-- project's folder, it measures each of them in rounds and prints it with its baseline:
--
--     bin/gluarun spec/bench/queue.lua
--
-- Started with the key of a figure it measures that once and prints a number. A round is
-- such a process and, right after it, one of the baseline, both on the same pinned core: so
-- what else the machine does in these seconds falls on both, and a bad moment on one round.
--
-- A figure is a table:
--
--     key, what     its argument and its name
--     unit          "ns", "ms", "s", "B" ...
--     sample        function that measures once, in a process of its own
--     ours          in place of sample: function that measures once from outside
--     baseline      command that prints a number, or a function; what it is: `against`
--     limit         what is asked for, by `judge`:
--         "ratio"   ours / baseline, at most the limit
--         "share"   ours / baseline, at least the limit
--         "scaled"  ours, at most the limit on a machine where a resume takes 28 ns
--         "value"   ours, at most the limit
--     peers         other systems' names with commands that print their number
--     rounds        default 5, or the environment's ROUNDS
--
-- What is judged is the median of the rounds; minima stand beside it.

local bench = {}

-- What a bare resume and yield took where the limits come from, and takes here.
local REFERENCE_NS = 28
local RESUME = "luajit spec/bench/resume.lua 2 3000000"

local COMPUTE_CORE, SERVER_CORE, LOAD_CORE = 1, 0, 1

local gluarun = arg[-1] or "bin/gluarun"

-- The output of a shell command.
local function output_of(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

local function has(program)
  return output_of(("command -v %s || :"):format(program)) ~= ""
end

local cores = tonumber(output_of("nproc")) or 1
local can_pin = cores > 1 and has("taskset")

local function pinned(core, command)
  return can_pin and ("taskset -c %d %s"):format(core, command) or command
end

---The number that a command prints last, or the one after `name=` with a name.
function bench.number_from(command, name)
  local text = output_of(command)
  local digits = name and text:match(name .. "=(%S+)") or text:match("(%S+)%s*$")
  return tonumber(digits) or error(("no figure from: %s\n%s"):format(command, text), 0)
end

---Starts a server, lets spec/bench/load work on it and returns the number called `name`
---from what that prints. The shell ends the server, whatever happens.
---@param server string command that prints "listening PORT"
---@param load string mode and arguments of load
function bench.load(server, load, name)
  local script = ([[
    fifo=$(mktemp -u) && mkfifo "$fifo" || exit 1
    %s >"$fifo" & server=$!
    trap 'kill $server; rm -f "$fifo"' EXIT
    read -r _ port <"$fifo" && %s 127.0.0.1 "$port" %s -p $server]]):format(
    pinned(SERVER_CORE, server), pinned(LOAD_CORE, "build/bench/load"), "%s")
  -- load takes its option first.
  script = script:gsub('127%.0%.0%.1 "%$port" %%s %-p %$server',
    '-p $server 127.0.0.1 "$port" ' .. load)
  return bench.number_from(script, name)
end

return bench
