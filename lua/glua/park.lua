-- park.lua: the waits that need no object: sleep, idle.

local _, core = ...
local check = require "glua.check"
local interrupted = require("glua.interrupt").interrupted

local core_sleep, core_idle = core.sleep, core.idle

local park = {}

---Parks the calling greenlet for so many seconds.
---@param seconds? number <= 0 or nil: only lets every other ready greenlet run once
function park.sleep(seconds)
  if seconds == nil then
    seconds = 0
  elseif type(seconds) ~= "number" or seconds ~= seconds then
    check.seconds(seconds, 1, "sleep")
  end
  local st, message = core_sleep(seconds)
  if st then
    interrupted(nil, message)
  end
end

---Parks until the hub has nothing else to run and no event is waiting.
function park.idle()
  local st, message = core_idle()
  if st then
    interrupted(nil, message)
  end
end

return park
