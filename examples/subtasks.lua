-- subtasks.lua: a task that splits itself up, and gathers the results.
--
--     gluarun examples/subtasks.lua
--
-- joinall returns the greenlets in the order in which they ended; get has what the function
-- returned, or raises what it raised.

local glua = require "glua"

local PRICES = {
  {shop = "north", seconds = 0.06, price = 12},
  {shop = "south", seconds = 0.02, price = 15},
  {shop = "west", seconds = 0.04},
}

local function ask(shop)
  glua.sleep(shop.seconds)
  return shop.price or error(shop.shop .. " is closed", 0)
end

local function cheapest()
  local questions = {}
  for i, shop in ipairs(PRICES) do
    questions[i] = glua.spawn(ask, shop)
    questions[i].name = shop.shop
    questions[i]:link_exception(function(g)
      print(("%s failed: %s"):format(g.name, g.exception))
    end)
  end
  local best
  for _, question in ipairs(glua.joinall(questions)) do
    if question:successful() then
      print(("%s says %d"):format(question.name, question:get()))
      best = math.min(best or math.huge, question:get())
    end
  end
  return best
end

print("the best price: " .. glua.spawn(cheapest):get())
