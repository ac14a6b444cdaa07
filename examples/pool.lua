-- pool.lua: much work, and a limit to how much of it is done at a time.
--
--     gluarun examples/pool.lua

local glua = require "glua"
local Pool = require("glua.pool").Pool

local running, most = 0, 0

local function square(n)
  running = running + 1
  most = math.max(most, running)
  glua.sleep(0.02 * (10 - n)) -- the later ones are quicker
  running = running - 1
  return n * n
end

local numbers = {1, 2, 3, 4, 5, 6, 7, 8, 9}
local pool = Pool(3)

-- map waits for all of them and has the results in the order of the numbers.
print("map: " .. table.concat(pool:map(square, numbers), " "))
print("running at a time: " .. most)

-- imap_unordered gives each result as soon as there is one.
local order = {}
for n in Pool(9):imap_unordered(square, numbers) do
  order[#order + 1] = n
end
print("done in this order: " .. table.concat(order, " "))

-- spawn parks while the pool is full.
for n = 1, 4 do
  pool:spawn(square, n)
  print(("spawned %d, free places: %d"):format(n, pool:free_count()))
end
pool:join()
print("joined, free places: " .. pool:free_count())
