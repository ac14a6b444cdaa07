-- run.lua: all benchmarks, and their rows together at the end.
--
--     bin/gluarun spec/bench/run.lua [program ...]
--
-- from the project's folder, after the programs in C were built: `make bench` does both,
-- and `make bench ONLY=switch` runs one.

local bench = dofile "spec/bench/bench.lua"

local PROGRAMS = {
  "switch", "spawn", "memory", "queue", "event", "sleepers", "echo", "bulk", "idle", "startup",
}

local programs = arg[1] and arg or PROGRAMS
local path = os.tmpname()

print(bench.heading())
local failed = {}
for _, program in ipairs(programs) do
  io.stdout:flush()
  local command = ("BENCH_ROWS=%s %s"):format(path, bench.script(program .. ".lua"))
  if os.execute(command) ~= 0 then
    failed[#failed + 1] = program
  end
end

local file = assert(io.open(path))
local rows = file:read("*a")
file:close()
os.remove(path)
print("\n" .. bench.heading() .. "\n" .. rows)
if failed[1] then
  print("without a result: " .. table.concat(failed, ", "))
end
local _, missed = rows:gsub("MISSED", "")
print(missed == 0 and "no figure missed" or ("%d missed"):format(missed))
os.exit(failed[1] and 1 or 0)
