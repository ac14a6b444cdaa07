-- queue_spec.lua: Queue, LifoQueue, PriorityQueue, JoinableQueue, Channel, select.

local glua = require "glua"
local helper = require "spec.helper"
local queue = require "glua.queue"

local kinds = {"Queue", "LifoQueue", "PriorityQueue", "JoinableQueue"}

local function list(...)
  return {n = select("#", ...), ...}
end

-- The items that are left, in the order in which they come out.
local function drain(q)
  local items = {}
  while true do
    local item, why = q:get_nowait()
    if item == nil then
      return items, why
    end
    items[#items + 1] = item
  end
end

describe("glua.queue", function()
  helper.leaves_nothing_behind()

  -- ---- order ----

  it("gives items in the order of the kind", function()
    local items = {3, 1, 2}
    local expected = {
      Queue = {3, 1, 2}, LifoQueue = {2, 1, 3}, PriorityQueue = {1, 2, 3},
      JoinableQueue = {3, 1, 2},
    }
    for _, kind in ipairs(kinds) do
      local q = queue[kind]()
      for _, item in ipairs(items) do
        assert.is_true(q:put(item))
      end
      assert.equal(3, q:qsize())
      assert.same(expected[kind], drain(q))
      assert.same(expected[kind], drain(queue[kind](nil, items)))
      assert.same(expected[kind], drain(queue[kind](3, items)))
    end
  end)

  it("keeps the order while it grows and wraps around", function()
    local q = queue.Queue()
    local first, last = 0, 0
    for round = 1, 60 do
      for _ = 1, round % 7 * 5 do
        last = last + 1
        q:put(last)
      end
      for _ = 1, math.min(round % 5 * 6, q:qsize()) do
        first = first + 1
        assert.equal(first, q:get())
      end
    end
    while first < last do
      first = first + 1
      assert.equal(first, q:get())
    end
    assert.is_true(q:empty())
  end)

  it("sorts by priority, and equal items by their coming", function()
    math.randomseed(7)
    local q = queue.PriorityQueue(nil, nil, function(a, b) return a.rank > b.rank end)
    local items = {}
    for i = 1, 300 do
      items[i] = {rank = math.random(8), number = i}
      q:put(items[i])
      if i % 3 == 0 then -- in between, too
        local best = q:get()
        local better = 0
        for n, item in ipairs(items) do
          if item.rank > best.rank then
            better = better + 1
          elseif item == best then
            items[n] = {rank = -1}
          end
        end
        assert.equal(0, better)
      end
    end
    local before = {rank = math.huge, number = 0}
    for _ = 1, q:qsize() do
      local item = q:get()
      assert.is_true(item.rank < before.rank
        or item.rank == before.rank and item.number > before.number)
      before = item
    end
  end)

  it("stays as it was when items of a PriorityQueue cannot be compared", function()
    local q = queue.PriorityQueue(nil, {5, 3, 4, 1, 2})
    for _ = 1, 3 do
      assert.has_error(function() q:put({}) end)
    end
    assert.equal(5, q:qsize())
    assert.same({1, 2, 3, 4, 5}, drain(q))
  end)

  it("stays as it was when the comparison fails in get", function()
    local fail = false
    local q = queue.PriorityQueue(nil, {5, 3, 4, 1, 2}, function(a, b)
      if fail then
        error("failed", 0)
      end
      return a < b
    end)
    fail = true
    assert.has_error(function() q:get() end, "failed")
    fail = false
    assert.same({1, 2, 3, 4, 5}, drain(q))
  end)

  it("raises in the putter when its item comes in too late to be compared", function()
    local q = queue.PriorityQueue(2, {1, 2})
    local ok, e
    local putter = glua.spawn(function() ok, e = pcall(q.put, q, {}) end)
    local chooser = glua.spawn(function()
      return pcall(queue.select, {{q, put = "x"}, {queue.Queue()}})
    end)
    glua.sleep(0)
    assert.equal(1, q:get())
    putter:join()
    assert.is_false(ok)
    assert.matches("attempt to compare", e)
    assert.is_false((chooser:get()))
    assert.same({2}, drain(q))
    assert.is_true(q:put(3))
  end)

  it("says in the script's line what a PriorityQueue cannot compare", function()
    local q = queue.PriorityQueue(2, {1})
    local message = "PriorityQueue: attempt to compare: table with number"
    helper.misuse(message, function() q:put({}) end)
    helper.misuse(message:gsub("number", "table"), function() queue.PriorityQueue(2, {{}, {}}) end)
    q:put(2)
    local late = function() q:put({}) end
    local putter = glua.spawn(function() return select(2, pcall(late)) end)
    glua.sleep(0)
    q:get()
    local line = debug.getinfo(late, "S").linedefined
    assert.equal(("spec/queue_spec.lua:%d: %s"):format(line, message), (putter:get()))
    assert.is_true(queue.PriorityQueue(nil, {2LL, 1}):put(3ULL)) -- LuaJIT compares these
  end)

  it("says so when it is begun with a hole, or put is called with '.'", function()
    helper.misuse("bad argument #2 to 'Queue' (item 1: item expected, got nil)",
      function() queue.Queue(nil, {nil, 2}) end)
    local q = queue.Queue()
    helper.misuse("bad argument #1 to 'put' (Queue expected, got number; call it with ':')",
      function() q.put(1) end)
    helper.misuse("bad argument #1 to 'put' (item expected, got nil)",
      function() q:put() end)
  end)

  it("takes false for an item", function()
    for _, kind in ipairs {"Queue", "LifoQueue", "JoinableQueue"} do
      local q = queue[kind](nil, {false})
      q:put(false)
      assert.equal(2, q:qsize())
      assert.equal(false, (q:peek()))
      assert.same({false, false}, drain(q))
    end
    local q = queue.Queue()
    local getter = glua.spawn(q.get, q)
    glua.sleep(0)
    q:put(false)
    assert.same(list(false), list(getter:get()))
    local ch = queue.Channel()
    local putter = glua.spawn(ch.put, ch, false)
    glua.sleep(0)
    assert.same(list(false), list(ch:get()))
    assert.is_true(putter:get())
    local chooser = glua.spawn(queue.select, {{q}, {ch}})
    glua.sleep(0)
    ch:put(false)
    assert.same(list(2, false), list(chooser:get()))
    assert.same(list(1, true), list(queue.select {{q, put = false}}))
    q:close()
    local n = 0
    for item in q:iter() do
      n = n + 1
      assert.is_false(item)
    end
    assert.equal(1, n)
  end)

  -- ---- size ----

  it("knows its size", function()
    for _, kind in ipairs(kinds) do
      local q = queue[kind](2)
      assert.same({0, true, false}, {q:qsize(), q:empty(), q:full()})
      q:put(1)
      assert.same({1, false, false}, {q:qsize(), q:empty(), q:full()})
      q:put(2)
      assert.same({2, false, true}, {q:qsize(), q:empty(), q:full()})
      assert.same(list(nil, "full"), list(q:put_nowait(3)))
      q:get()
      assert.is_true(q:put_nowait(3))
      assert.is_false(queue[kind]():full())
    end
    local ch = queue.Channel()
    assert.same({0, true, true}, {ch:qsize(), ch:empty(), ch:full()})
  end)

  it("does not wait where the name says so", function()
    local q = queue.Queue(1)
    assert.same(list(nil, "empty"), list(q:get_nowait()))
    assert.same(list(nil, "empty"), list(q:peek_nowait()))
    assert.is_true(q:put_nowait("a"))
    assert.same(list(nil, "full"), list(q:put_nowait("b")))
    assert.equal("a", q:peek_nowait())
    assert.equal("a", q:get_nowait())
    local ch = queue.Channel()
    assert.same(list(nil, "full"), list(ch:put_nowait("a")))
    assert.same(list(nil, "empty"), list(ch:get_nowait()))
  end)

  it("parks who puts into a full one, in order", function()
    for _, kind in ipairs(kinds) do
      local q = queue[kind](1, {0})
      local log = {}
      for i = 1, 3 do
        glua.spawn(function()
          assert.is_true(q:put(i))
          log[#log + 1] = "put " .. i
        end)
      end
      glua.sleep(0)
      assert.same({}, log)
      for i = 0, 3 do
        log[#log + 1] = "got " .. q:get()
        assert.equal(i < 3 and 1 or 0, q:qsize())
        glua.sleep(0)
      end
      assert.same({"got 0", "put 1", "got 1", "put 2", "got 2", "put 3", "got 3"}, log)
    end
  end)

  it("does not let a later put overtake one that waits", function()
    local q = queue.Queue(2, {1, 2})
    local first = glua.spawn(q.put, q, 3)
    glua.sleep(0)
    local second = glua.spawn(q.put, q, 4)
    q:get() -- 3 comes in at once
    assert.same(list(nil, "full"), list(q:put_nowait(5)))
    glua.sleep(0)
    assert.is_true(first:get())
    assert.same({2, 3, 4}, drain(q))
    assert.is_true(second:get())
  end)

  it("serves those who get in the order of their coming", function()
    for _, kind in ipairs {"Queue", "LifoQueue", "PriorityQueue", "JoinableQueue", "Channel"} do
      local q = queue[kind]()
      local log = {}
      for i = 1, 3 do
        glua.spawn(function()
          local item = q:get()
          log[#log + 1] = i .. item
        end)
      end
      glua.sleep(0)
      for _, item in ipairs {"c", "a", "b"} do
        assert.is_true(q:put(item, 0))
      end
      assert.equal(0, q:qsize())
      glua.sleep(0)
      assert.same({"1c", "2a", "3b"}, log)
    end
  end)

  it("gives an item to who waits for it, and not to who comes before that one runs", function()
    local q = queue.Queue()
    local waiting = glua.spawn(q.get, q)
    glua.sleep(0)
    q:put("item")
    assert.same(list(nil, "empty"), list(q:get_nowait()))
    assert.equal("item", waiting:get())
  end)

  it("loses no item to a getter that has timed out, and leaves it none", function()
    for _, kind in ipairs {"Queue", "LifoQueue", "PriorityQueue", "JoinableQueue"} do
      local q = queue[kind]()
      local late = glua.spawn(q.get, q, 0.001)
      local patient = glua.spawn(q.get, q)
      late:join()
      q:put("item")
      assert.equal("item", patient:get())
      assert.same(list(nil, "empty"), list(late:get()))
      assert.equal(0, q:qsize())
      q:put("next")
      assert.equal("next", q:get_nowait())
    end
  end)

  it("gives an item that comes in the turn of the timeout to somebody else", function()
    local q = queue.Queue()
    local putter = glua.spawn(function()
      glua.sleep(0.001)
      q:put("item")
    end)
    local late = glua.spawn(q.get, q, 0.0015)
    glua.sleep(0)
    helper.burn(0.002) -- both timers come due; the putter runs first
    assert.same(list(nil, "empty"), list(late:get()))
    putter:get()
    assert.equal("item", q:get_nowait())
  end)

  it("takes back the item of a putter that gave up", function()
    for _, kind in ipairs(kinds) do
      local q = queue[kind](1, {1})
      local late = glua.spawn(q.put, q, 2, 0.001)
      local patient = glua.spawn(q.put, q, 3)
      assert.same(list(nil, "full"), list(late:get()))
      assert.equal(1, q:get())
      assert.equal(3, q:get())
      assert.is_true(patient:get())
      assert.is_true(q:empty())
    end
    local ch = queue.Channel()
    local killed = glua.spawn(ch.put, ch, 1)
    glua.sleep(0)
    killed:kill()
    assert.same(list(nil, "empty"), list(ch:get_nowait()))
  end)

  it("keeps no count and no item of those who are gone", function()
    local weak = setmetatable({}, {__mode = "v"})
    local function new_item()
      local item = {}
      weak[#weak + 1] = item
      return item
    end
    for _, kind in ipairs {"Queue", "LifoQueue", "JoinableQueue", "Channel"} do
      local q = kind == "Channel" and queue.Channel() or queue[kind](1)
      local idle = tostring(q)
      local function all_ways(...)
        local late = glua.spawn(...)
        late:join()
        local killed = glua.spawn(...)
        glua.sleep(0)
        assert.are_not.equal(idle, tostring(q))
        killed:kill()
      end
      all_ways(q.get, q, 0.001)
      all_ways(queue.select, {{q}, {queue.Queue()}, {q}}, 0.001)
      local other = queue.Channel()
      glua.spawn(other.put, other, new_item(), 0.001)
      assert.equal(2, (queue.select {{q}, {other}})) -- the other case is done
      assert.equal(idle, tostring(q))

      q:put_nowait(new_item())
      idle = tostring(q)
      all_ways(q.put, q, new_item(), 0.001)
      all_ways(queue.select, {{q, put = new_item()}, {queue.Queue()}}, 0.001)
      local putters = {glua.spawn(q.put, q, new_item()),
        glua.spawn(queue.select, {{q, put = new_item()}, {queue.Queue()}})}
      glua.sleep(0)
      repeat until not q:get_nowait()
      glua.joinall(putters)
      assert.matches(" 0 getting, 0 putting", tostring(q))
      collectgarbage()
      collectgarbage()
      assert.is_nil(next(weak))
    end
  end)

  -- ---- peek ----

  it("shows the next item and leaves it", function()
    local first = {Queue = 3, LifoQueue = 2, PriorityQueue = 1, JoinableQueue = 3}
    for _, kind in ipairs(kinds) do
      local q = queue[kind](nil, {3, 1, 2})
      assert.equal(first[kind], q:peek())
      assert.equal(first[kind], q:peek_nowait())
      assert.equal(3, q:qsize())
      assert.equal(first[kind], q:get())
    end
  end)

  it("wakes all who peek, and takes nothing from who gets", function()
    local q = queue.Queue()
    local peekers = {glua.spawn(q.peek, q), glua.spawn(q.peek, q)}
    local getter = glua.spawn(q.get, q)
    glua.sleep(0)
    q:put("for the getter")
    glua.sleep(0)
    assert.equal("for the getter", getter:get())
    assert.is_false(peekers[1]:ready())
    q:put("to peek at")
    for _, peeker in ipairs(peekers) do
      assert.equal("to peek at", peeker:get())
    end
    assert.equal(1, q:qsize())
  end)

  it("peeks on when somebody was faster", function()
    local q = queue.Queue()
    local peeker = glua.spawn(q.peek, q)
    glua.sleep(0)
    q:put(1)
    assert.equal(1, q:get())
    glua.sleep(0)
    assert.is_false(peeker:ready())
    q:close()
    assert.same(list(nil, "closed"), list(peeker:get()))
    assert.same(list(nil, "closed"), list(q:peek()))
    assert.same(list(nil, "closed"), list(q:peek_nowait()))
  end)

  -- ---- close ----

  it("can be drained after close, and then says that it is closed", function()
    for _, kind in ipairs(kinds) do
      local q = queue[kind](nil, {1, 2})
      q:close()
      assert.same(list(nil, "closed"), list(q:put(3)))
      assert.same(list(nil, "closed"), list(q:put_nowait(3)))
      local items, why = drain(q)
      assert.equal(2, #items)
      assert.equal("closed", why)
      assert.same(list(nil, "closed"), list(q:get()))
      q:close()
    end
  end)

  it("drops what is left when closed with discard", function()
    for _, kind in ipairs(kinds) do
      local q = queue[kind](2, {1, 2})
      local putter = glua.spawn(q.put, q, 3)
      glua.sleep(0)
      q:close(true)
      assert.same(list(nil, "closed"), list(q:get()))
      assert.same(list(nil, "closed"), list(putter:get()))
      assert.equal(0, q:qsize())
    end
    local q = queue.Queue(nil, {1})
    q:close()
    q:close(true)
    assert.same(list(nil, "closed"), list(q:get()))
  end)

  it("wakes all who wait when it is closed", function()
    for _, kind in ipairs {"Queue", "LifoQueue", "PriorityQueue", "JoinableQueue", "Channel"} do
      local q = queue[kind]()
      local getters = {glua.spawn(q.get, q), glua.spawn(q.get, q, 10)}
      glua.sleep(0)
      q:close()
      for _, g in ipairs(getters) do
        assert.same(list(nil, "closed"), list(g:get()))
      end

      q = kind == "Channel" and queue.Channel() or queue[kind](1, {1})
      local putters = {glua.spawn(q.put, q, 2), glua.spawn(q.put, q, 3, 10)}
      glua.sleep(0)
      q:close()
      for _, g in ipairs(putters) do
        assert.same(list(nil, "closed"), list(g:get()))
      end
      assert.same(kind == "Channel" and {} or {1}, (drain(q)))
    end
  end)

  it("gives an item that was put before close to who waited for it", function()
    local q = queue.Queue()
    local getter = glua.spawn(q.get, q)
    glua.sleep(0)
    q:put("item")
    q:close()
    assert.same(list("item"), list(getter:get()))
  end)

  it("iterates until it is closed and empty", function()
    for _, kind in ipairs(kinds) do
      local q = queue[kind](2)
      glua.spawn(function()
        for i = 1, 6 do
          q:put(i)
        end
        q:close()
      end)
      local items = {}
      for item in q:iter() do
        items[#items + 1] = item
      end
      table.sort(items)
      assert.same({1, 2, 3, 4, 5, 6}, items)
    end
    local ch = queue.Channel()
    glua.spawn(function()
      ch:put("a")
      ch:put("b")
      ch:close()
    end)
    local items = {}
    for item in ch:iter() do
      items[#items + 1] = item
    end
    assert.same({"a", "b"}, items)
  end)

  it("shares its items among those who iterate", function()
    local q = queue.Queue(nil, {1, 2, 3, 4})
    q:close()
    local got = {}
    local workers = {}
    for w = 1, 2 do
      workers[w] = glua.spawn(function()
        for item in q:iter() do
          got[#got + 1] = w .. ":" .. item
          glua.sleep(0)
        end
      end)
    end
    glua.joinall(workers)
    assert.same({"1:1", "2:2", "1:3", "2:4"}, got)
  end)

  -- ---- JoinableQueue ----

  it("joins when each item is done", function()
    local q = queue.JoinableQueue(nil, {1, 2})
    q:put(3)
    local log = {}
    local joiners = {}
    for i = 1, 2 do
      joiners[i] = glua.spawn(function()
        assert.is_true(q:join())
        log[#log + 1] = "joined"
      end)
    end
    for i = 1, 3 do
      assert.equal(i, q:get())
      glua.sleep(0)
      log[#log + 1] = i
      q:task_done()
    end
    glua.joinall(joiners)
    assert.same({1, 2, 3, "joined", "joined"}, log)
    assert.is_true(q:join())
    assert.is_true(q:join(0))
  end)

  it("counts an item from its put on, however it comes to its getter", function()
    local q = queue.JoinableQueue(1)
    local getter = glua.spawn(q.get, q)
    glua.sleep(0)
    q:put("at once")
    assert.is_false(q:join(0))
    getter:get()
    q:task_done()
    q:put("stored")
    local putter = glua.spawn(q.put, q, "later")
    glua.sleep(0)
    q:get()
    q:task_done()
    assert.is_false(q:join(0))
    q:get()
    q:task_done()
    assert.is_true(putter:get())
    assert.is_true(q:join())
    local given_up = glua.spawn(q.put, q, "never", 0)
    q:put("stored")
    given_up:join()
    q:get()
    q:task_done()
    assert.is_true(q:join(0))
  end)

  it("refuses task_done without an item", function()
    local q = queue.JoinableQueue()
    local message = "task_done: called more often than there were items"
    helper.misuse(message, function() q:task_done() end)
    q:put(1)
    q:task_done()
    helper.misuse(message, function() q:task_done() end)
  end)

  it("counts what close discards as done", function()
    local q = queue.JoinableQueue(nil, {1, 2, 3})
    assert.equal(1, q:get())
    local joiner = glua.spawn(q.join, q)
    glua.sleep(0)
    q:close(true)
    glua.sleep(0)
    assert.is_false(joiner:ready())
    q:task_done()
    assert.is_true(joiner:get())
  end)

  -- ---- Channel ----

  it("has put and get meet in a Channel", function()
    local ch = queue.Channel()
    local log = {}
    glua.spawn(function()
      for i = 1, 2 do
        log[#log + 1] = "put " .. i
        assert.is_true(ch:put(i))
        log[#log + 1] = i .. " was taken"
      end
    end)
    glua.sleep(0)
    assert.same({"put 1"}, log)
    log[#log + 1] = "got " .. ch:get()
    glua.sleep(0)
    log[#log + 1] = "got " .. ch:get()
    glua.sleep(0)
    assert.same({"put 1", "got 1", "1 was taken", "put 2", "got 2", "2 was taken"}, log)
  end)

  it("has them meet in the order of their coming, on both sides", function()
    local ch = queue.Channel()
    local log = {}
    for i = 1, 3 do
      glua.spawn(function()
        ch:put(i)
        log[#log + 1] = "put " .. i
      end)
    end
    glua.sleep(0)
    for i = 1, 3 do
      assert.equal(i, ch:get())
    end
    glua.sleep(0)
    for i = 1, 3 do
      glua.spawn(function()
        local item = ch:get()
        log[#log + 1] = ("got %d by %d"):format(item, i)
      end)
    end
    glua.sleep(0)
    for i = 4, 6 do
      assert.is_true(ch:put(i))
    end
    glua.sleep(0)
    assert.same({"put 1", "put 2", "put 3", "got 4 by 1", "got 5 by 2", "got 6 by 3"}, log)
  end)

  it("has nothing to peek at in a Channel", function()
    local ch = queue.Channel()
    helper.misuse("peek: a Channel holds no items", function() ch:peek() end)
    helper.misuse("peek: a Channel holds no items", function() ch:peek_nowait() end)
  end)

  -- ---- select ----

  it("selects the first case that can be done now", function()
    local a, b, full = queue.Queue(), queue.Queue(nil, {"b"}), queue.Queue(1, {"full"})
    assert.same(list(2, "b"), list(queue.select {{a}, {b}}))
    assert.same(list(3, true), list(queue.select {{a}, {full, put = "x"}, {b, put = "new"}}))
    assert.same(list(1, "new"), list(queue.select {{b}, {full}}))
    assert.same(list(2, "full"), list(queue.select {{b}, {full}}))
    assert.same(list(nil, "timeout"), list(queue.select({{a}, {b}}, 0)))
  end)

  it("waits for the first of several", function()
    local a, b, full = queue.Queue(), queue.Channel(), queue.Queue(1, {"full"})
    local function start()
      local g = glua.spawn(queue.select, {{a}, {b}, {full, put = "mine"}})
      glua.sleep(0)
      return g
    end
    local g = start()
    a:put("a")
    assert.same(list(1, "a"), list(g:get()))
    g = start()
    assert.is_true(b:put_nowait("b"))
    assert.same(list(2, "b"), list(g:get()))
    g = start()
    assert.equal("full", full:get())
    assert.same(list(3, true), list(g:get()))
    assert.equal("mine", full:get())
    -- Nothing of it is left in the others.
    assert.same(list(nil, "full"), list(b:put_nowait("x")))
    a:put("still here")
    assert.equal("still here", a:get_nowait())
  end)

  it("selects on a Channel in both directions", function()
    local ch, other = queue.Channel(), queue.Channel()
    local putter = glua.spawn(ch.put, ch, "waits")
    glua.sleep(0)
    assert.same(list(2, "waits"), list(queue.select {{other}, {ch}}))
    assert.is_true(putter:get())
    local getter = glua.spawn(ch.get, ch)
    glua.sleep(0)
    assert.same(list(2, true), list(queue.select {{other}, {ch, put = "given"}}))
    assert.equal("given", getter:get())
    local chooser = glua.spawn(queue.select, {{other, put = 1}, {ch, put = 2}})
    glua.sleep(0)
    assert.equal(2, ch:get())
    assert.same(list(2, true), list(chooser:get()))
    assert.same(list(nil, "empty"), list(other:get_nowait()))
  end)

  it("has two selects meet over a Channel", function()
    local ch, other = queue.Channel(), queue.Queue()
    local one = glua.spawn(queue.select, {{other}, {ch, put = "from one"}})
    local two = glua.spawn(queue.select, {{ch}, {other}})
    assert.same(list(2, true), list(one:get()))
    assert.same(list(1, "from one"), list(two:get()))
    -- One that waits for both sides of a Channel does not meet itself.
    local lonely = glua.spawn(queue.select, {{ch}, {ch, put = "mine"}}, 0.001)
    assert.same(list(nil, "timeout"), list(lonely:get()))
  end)

  it("tells which case is closed", function()
    local a, full = queue.Queue(), queue.Queue(1, {1})
    local g = glua.spawn(queue.select, {{a}, {full, put = 2}})
    glua.sleep(0)
    full:close()
    assert.same(list(2, nil, "closed"), list(g:get()))
    assert.same(list(1, nil, "closed"), list(queue.select {{full, put = 2}, {a}}))
    g = glua.spawn(queue.select, {{a}, {queue.Channel()}})
    glua.sleep(0)
    a:close()
    assert.same(list(1, nil, "closed"), list(g:get()))
    assert.same(list(1, 1), list(queue.select {{full}, {a}}))
  end)

  it("takes turns with others that wait for the same queue", function()
    local q = queue.Queue()
    local log = {}
    local function get(name)
      local item = q:get()
      log[#log + 1] = name .. item
    end
    glua.spawn(get, "get 1 ")
    glua.spawn(function()
      local _, item = queue.select {{queue.Queue()}, {q}}
      log[#log + 1] = "select " .. item
    end)
    glua.spawn(get, "get 2 ")
    glua.sleep(0)
    for _, item in ipairs {"a", "b", "c"} do
      q:put(item)
    end
    glua.sleep(0)
    assert.same({"get 1 a", "select b", "get 2 c"}, log)
  end)

  it("does not mind what happens to the list of cases while it waits", function()
    local cases = {{queue.Queue()}, {queue.Queue(1, {1}), put = 2}}
    local first, second = cases[1][1], cases[2][1]
    local g = glua.spawn(queue.select, cases)
    glua.sleep(0)
    cases[1], cases[2][1], cases[2].put = nil, nil, nil
    collectgarbage()
    assert.equal(1, second:get())
    assert.same(list(2, true), list(g:get()))
    first:put("stays")
    assert.equal("stays", first:get_nowait())
    assert.equal(2, second:get_nowait())
  end)

  -- ---- links ----

  it("can be waited for, and is ready when get would not park", function()
    for _, kind in ipairs(kinds) do
      local q = queue[kind]()
      local other = queue[kind]()
      assert.is_false(q:ready())
      glua.spawn(q.put, q, 1)
      assert.same({q}, glua.wait({other, q}, 10, 1))
      assert.is_true(q:ready())
      assert.same({q}, glua.wait({q}))
      q:get()
      glua.spawn(q.close, q)
      assert.same({q}, glua.wait({other, q}, 10, 1))
      assert.is_true(q:ready())
    end
    local ch = queue.Channel()
    assert.is_false(ch:ready())
    local putter = glua.spawn(ch.put, ch, 1)
    assert.same({ch}, glua.wait({ch}))
    assert.is_true(ch:ready())
    assert.equal(1, ch:get_nowait())
    assert.is_true(putter:get())
    assert.is_false(ch:ready())
  end)

  it("calls its links when it becomes ready, until they are taken away", function()
    local q = queue.Queue()
    local log = {}
    local function link(object)
      log[#log + 1] = object:qsize()
    end
    q:rawlink(link)
    q:put(1)
    glua.sleep(0)
    assert.same({1}, log)
    q:get()
    q:put(2)
    q:get() -- before the links are called
    glua.sleep(0)
    assert.same({1}, log)
    q:put(3)
    glua.sleep(0)
    assert.same({1, 1}, log)
    q:unlink(link)
    q:get()
    q:put(4)
    glua.sleep(0)
    assert.same({1, 1}, log)
  end)

  -- ---- misuse ----

  it("refuses nil, at the caller's line", function()
    for _, kind in ipairs {"Queue", "LifoQueue", "PriorityQueue", "JoinableQueue", "Channel"} do
      local q = queue[kind]()
      for _, name in ipairs {"put", "put_nowait"} do
        helper.misuse(("bad argument #1 to '%s' (item expected, got nil)"):format(name),
          function() q[name](q, nil) end)
      end
      assert.is_true(q:empty())
    end
  end)

  it("refuses wrong arguments of its makers, at the caller's line", function()
    local function refuses(message, kind, ...)
      local args = list(...)
      helper.misuse("bad argument " .. message, function() queue[kind](unpack(args, 1, args.n)) end)
    end
    for _, kind in ipairs(kinds) do
      local to = ("to '%s' "):format(kind)
      refuses("#1 " .. to .. "(maxsize must not be 0: use Channel for a rendezvous)", kind, 0)
      refuses("#1 " .. to .. "(positive integer expected, got -1)", kind, -1)
      refuses("#1 " .. to .. "(positive integer expected, got 1.5)", kind, 1.5)
      refuses("#1 " .. to .. "(positive integer expected, got string)", kind, "1")
      refuses("#2 " .. to .. "(table expected, got string)", kind, nil, "items")
      refuses("#2 " .. to .. "(more items than maxsize)", kind, 1, {1, 2})
    end
    refuses("#3 to 'PriorityQueue' (function expected, got string)", "PriorityQueue", 1, {},
      "less")
  end)

  it("refuses cases that are none, at the caller's line", function()
    local function refuses(message, cases)
      helper.misuse(("bad argument #1 to 'select' (%s)"):format(message),
        function() queue.select(cases) end)
    end
    local wrong = "case %d: {queue} or {queue, put=item} expected"
    refuses("table expected, got number", 5)
    refuses("at least one case expected", {})
    refuses(wrong:format(1), {{}})
    refuses(wrong:format(1), {{{}}})
    refuses(wrong:format(1), {{{queue.Queue()}}})
    refuses(wrong:format(2), {{queue.Queue()}, 5})
  end)

  it("shows itself", function()
    local q = queue.PriorityQueue(2, {1, 2})
    local putter = glua.spawn(q.put, q, 3)
    glua.sleep(0)
    assert.equal("<PriorityQueue 2 of 2, 0 getting, 1 putting>", tostring(q))
    assert.matches("parked in PriorityQueue.put", tostring(putter))
    q:close()
    assert.equal("<PriorityQueue 2 of 2, 0 getting, 0 putting, closed>", tostring(q))
    assert.equal("<Queue 0, 0 getting, 0 putting>", tostring(queue.Queue()))
  end)

  -- ---- conservation ----

  -- A hundred greenlets put, get, select, give up and are killed, over queues of all kinds.
  -- Each item is a number of its own; each must come out once, or be known not to be in.
  local function conserve(seed, with_close)
    math.randomseed(seed)
    local random = math.random
    local queues = {
      queue.Queue(1), queue.Queue(3), queue.Queue(), queue.LifoQueue(2),
      queue.PriorityQueue(2), queue.JoinableQueue(2), queue.Channel(), queue.Channel(),
    }
    local last = 0
    local state = {} -- by item: "offered", "in", "refused", "out"

    local function new_item()
      last = last + 1
      state[last] = "offered"
      return last
    end
    -- An item may be got before its putter runs again and says that it is in.
    local function settle(item, ok, why)
      if ok then
        assert(state[item] == "offered" or state[item] == "out", "put twice")
        if state[item] == "offered" then
          state[item] = "in"
        end
      else
        assert(why == "full" or why == "closed" or why == "timeout" or why == "raised")
        assert(state[item] == "offered", "refused, and yet " .. state[item])
        state[item] = "refused"
      end
    end
    local function got(item, why)
      if item == nil then
        assert(why == "empty" or why == "closed" or why == "timeout")
        return
      end
      assert(state[item] == "in" or state[item] == "offered", "got an item that was "
        .. tostring(state[item]))
      state[item] = "out"
    end
    local function limit()
      return random(3) > 1 and random(0, 3) / 1000 or nil
    end

    local function put_one(q)
      local item = new_item()
      local ok, result, why = pcall(q.put, q, item, limit())
      settle(item, ok and result, ok and why or "raised")
      if not ok then
        error(result, 0)
      end
    end
    local function get_one(q)
      got(q:get(limit()))
    end
    local function choose()
      local cases, items = {}, {}
      for i = 1, random(1, 4) do
        local q = queues[random(#queues)]
        if random(2) == 1 then
          items[i] = new_item()
          cases[i] = {q, put = items[i]}
        else
          cases[i] = {q}
        end
      end
      local ok, i, item, why = pcall(queue.select, cases, limit())
      for n in ipairs(cases) do
        if items[n] and not (ok and n == i) then
          settle(items[n], false, "timeout")
        elseif items[n] then
          settle(items[n], item, why)
        end
      end
      if not ok then
        error(i, 0)
      end
      if i and not items[i] then
        got(item, why)
      end
    end

    local function work()
      for _ = 1, random(5, 30) do
        local q = queues[random(#queues)]
        local what = random(10)
        if what <= 4 then
          put_one(q)
        elseif what <= 8 then
          get_one(q)
        elseif what == 9 then
          choose()
        else
          glua.sleep(random(0, 1) / 1000)
        end
      end
    end

    local greenlets = {}
    for i = 1, 100 do
      greenlets[i] = glua.spawn(work)
    end
    local killer = glua.spawn(function()
      while true do
        glua.sleep(random(0, 2) / 1000)
        local g = greenlets[random(#greenlets)]
        if random(2) == 1 then
          g:kill(nil, {block = false})
        elseif with_close then
          queues[random(#queues)]:close()
        end
      end
    end)
    -- Those that wait for ever end by the close.
    glua.joinall(greenlets, 0.05)
    killer:kill()
    for _, q in ipairs(queues) do
      q:close()
    end
    glua.joinall(greenlets)
    for i, g in ipairs(greenlets) do
      assert.is_true(g:successful(), ("greenlet %d: %s"):format(i, tostring(g.exception)))
    end
    for _, q in ipairs(queues) do
      for _, item in ipairs((drain(q))) do
        got(item)
      end
    end
    local count = {}
    for item = 1, last do
      count[state[item]] = (count[state[item]] or 0) + 1
    end
    -- Every item is out, or was refused: none is lost, and none was there twice.
    assert.equal(last, (count.out or 0) + (count.refused or 0))
    assert.is_true(count.out > 50 and count.refused > 10)
  end

  it("conserves items under timeouts and kills", function()
    for seed = 1, 3 do
      conserve(seed, false)
    end
  end)

  it("conserves items under timeouts, kills and closes", function()
    for seed = 11, 13 do
      conserve(seed, true)
    end
  end)
end)
