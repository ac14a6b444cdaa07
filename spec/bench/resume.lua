-- The price of one bare coroutine.resume with its coroutine.yield, in nanoseconds: what a
-- switch costs before there is any hub.
--
--     luajit resume.lua [COROUTINES=2 [ROUNDS=1e7]]
--
-- Resumes the coroutines in turn, ROUNDS times in all, and prints one number.

local create = coroutine.create
local resume = coroutine.resume
local yield = coroutine.yield
local clock = os.clock

local function count_argument(i, name, default)
  local n = default
  if arg[i] then
    n = tonumber(arg[i])
  end
  if not n or n < 1 or n ~= math.floor(n) then
    io.stderr:write("resume.lua: ", name, ": a whole number from 1 on expected\n")
    os.exit(2)
  end
  return n
end

local function run()
  while true do
    yield()
  end
end

local count = count_argument(1, "COROUTINES", 2)
local turns = math.max(1, math.floor(count_argument(2, "ROUNDS", 1e7) / count))

-- The first resume starts a coroutine, which costs more; it is not measured.
local coroutines = {}
for i = 1, count do
  coroutines[i] = create(run)
  resume(coroutines[i])
end

local start = clock()
for _ = 1, turns do
  for i = 1, count do
    resume(coroutines[i])
  end
end
local seconds = clock() - start

print(string.format("%.1f", seconds * 1e9 / (turns * count)))
