-- pool_spec.lua: Group and Pool.

local event = require "glua.event"
local glua = require "glua"
local helper = require "spec.helper"
local pool = require "glua.pool"
local queue = require "glua.queue"

local function list(...)
  return {n = select("#", ...), ...}
end

local function raise_unless(ok, e)
  if not ok then
    error(e, 0)
  end
end

-- A function that parks until the event is set, and counts how many are in it.
local function counted()
  local c = {running = 0, most = 0, go = event.Event()}
  function c.fn(...)
    c.running = c.running + 1
    c.most = math.max(c.most, c.running)
    local ok, e = pcall(c.go.wait, c.go)
    c.running = c.running - 1
    raise_unless(ok, e)
    return ...
  end
  return c
end

-- Collects index = value of an iteration, and the order in which they came.
local function collect(iterator)
  local values, order = {}, {}
  for index, value in iterator do
    values[index] = value
    order[#order + 1] = index
  end
  return values, order
end

local function collect_garbage()
  collectgarbage()
  collectgarbage()
  glua.idle()
end

describe("glua.pool", function()
  helper.leaves_nothing_behind()

  -- ---- Group ----

  it("has its greenlets until they end", function()
    local group = pool.Group()
    local c = counted()
    local a, b = group:spawn(c.fn, 1, nil), group:spawn(c.fn)
    assert.equal(2, group:count())
    assert.is_true(group:contains(a) and group:contains(b))
    local seen = {}
    for g in group:each() do
      seen[g] = true
    end
    assert.same({[a] = true, [b] = true}, seen)
    glua.sleep(0)
    assert.equal(2, c.running)
    assert.is_false(group:join(0))
    assert.is_false(group:join(0.001))
    c.go:set()
    assert.is_true(group:join())
    assert.equal(0, group:count())
    assert.is_false(group:contains(a))
    assert.same(list(1, nil), list(a:get()))
    assert.is_true(group:join())
  end)

  it("joins those that come while it joins", function()
    local group = pool.Group()
    local log = {}
    group:spawn(function()
      group:spawn(function()
        glua.sleep(0.001)
        log[#log + 1] = "second"
      end)
      log[#log + 1] = "first"
    end)
    assert.is_true(group:join())
    assert.same({"first", "second"}, log)
  end)

  it("takes in greenlets from elsewhere, and starts them", function()
    local group = pool.Group()
    local c = counted()
    local running, new = glua.spawn(c.fn), glua.Greenlet(c.fn, "value")
    group:add(running)
    group:add(running)
    group:add(new)
    assert.equal(2, group:count())
    assert.is_true(new.started)
    group:discard(running)
    group:discard(running)
    assert.equal(1, group:count())
    glua.sleep(0)
    c.go:set()
    assert.is_true(group:join())
    assert.equal("value", new:get())
    assert.is_true(running:join())
    group:add(new) -- which is dead
    assert.is_true(group:join())
  end)

  it("kills them all, and waits for their end", function()
    local group = pool.Group()
    local cleaned = 0
    for _ = 1, 3 do
      group:spawn(function()
        local ok, e = pcall(glua.sleep, 10)
        glua.shield(glua.sleep, 0.001)
        cleaned = cleaned + 1
        raise_unless(ok, e)
      end)
    end
    glua.sleep(0)
    local unborn = group:spawn(function() error("must not run") end)
    assert.is_true(group:kill())
    assert.equal(3, cleaned)
    assert.same(list(nil, "killed"), list(unborn:get()))
    assert.equal(0, group:count())
    assert.is_true(group:kill())
  end)

  it("kills with an error, without waiting, and with a limit", function()
    local group = pool.Group()
    local go = event.Event()
    local g = group:spawn(function() glua.shield(go.wait, go) end)
    local other = group:spawn(glua.sleep, 10)
    other:link_exception(function() end)
    glua.sleep(0)
    assert.is_false(group:kill("failed", {block = false}))
    assert.is_false(other.dead)
    assert.is_false(group:kill("failed", {timeout = 0.001}))
    assert.equal("failed", other.exception)
    g:link_exception(function() end)
    go:set()
    assert.is_true(group:join())
    helper.misuse("bad argument #2 to 'kill' (unknown option 'blok')",
      function() group:kill(nil, {blok = false}) end)
  end)

  it("kills many in a time that grows with their number", function()
    local group, n = pool.Group(), helper.many(50000)
    for _ = 1, n do
      group:spawn(glua.sleep, 1000)
    end
    glua.sleep(0)
    local before = os.clock()
    assert.is_true(group:kill())
    assert.equal(0, group:count())
    assert.is_true(os.clock() - before < 5)
  end)

  it("says so when a method is called with '.'", function()
    helper.misuse("bad argument #1 to 'spawn' (Group expected, got function; call it with ':')",
      function() pool.Group().spawn(print) end)
    helper.misuse("bad argument #1 to 'kill' (Group expected, got nil; call it with ':')",
      function() pool.Pool(1).kill() end)
    helper.misuse("bad argument #1 to 'map' (Group expected, got function; call it with ':')",
      function() pool.Pool(1).map(print, {}) end)
  end)

  it("can be killed by one of its own, which dies too", function()
    local group = pool.Group()
    local others = {group:spawn(glua.sleep, 10), group:spawn(glua.sleep, 10)}
    local after = false
    local suicide = group:spawn(function()
      group:kill()
      after = true
    end)
    assert.is_true(group:join())
    assert.is_false(after)
    for _, g in ipairs {others[1], others[2], suicide} do
      assert.same(list(nil, "killed"), list(g:get()))
    end
  end)

  -- ---- Pool ----

  it("runs no more than its size at a time", function()
    local p = pool.Pool(3)
    local running, most = 0, 0
    for _ = 1, 20 do
      p:spawn(function()
        running = running + 1
        most = math.max(most, running)
        glua.sleep(0)
        running = running - 1
      end)
      assert.is_true(p:count() <= 3)
    end
    assert.is_true(p:join())
    assert.equal(3, most)
    assert.equal(3, p:free_count())
  end)

  it("parks who spawns into a full one, in order", function()
    local p = pool.Pool(1)
    local c = counted()
    local first = p:spawn(c.fn)
    assert.is_true(p:full())
    assert.equal(0, p:free_count())
    local log = {}
    for i = 1, 3 do
      glua.spawn(function()
        p:spawn(function() log[#log + 1] = "runs " .. i end)
        log[#log + 1] = "spawned " .. i
      end)
    end
    glua.sleep(0)
    assert.same({}, log)
    c.go:set()
    first:join()
    while #log < 6 do
      glua.sleep(0)
    end
    assert.same({"spawned 1", "runs 1", "spawned 2", "runs 2", "spawned 3", "runs 3"}, log)
    assert.is_true(p:join())
    assert.is_false(p:full())
  end)

  it("has the place again of one that failed, was killed, or was discarded", function()
    local p = pool.Pool(1)
    local failing = p:spawn(function() error("failed", 0) end)
    failing:link_exception(function() end)
    assert.is_true(p:wait_available())
    assert.equal(1, p:free_count())
    local killed = p:spawn(glua.sleep, 10)
    glua.sleep(0)
    killed:kill()
    assert.is_true(p:wait_available())
    local unborn = p:spawn(function() error("must not run") end)
    unborn:kill()
    assert.is_true(p:wait_available())
    local discarded = p:spawn(glua.sleep, 10)
    p:discard(discarded)
    assert.equal(1, p:free_count())
    local member = p:spawn(glua.sleep, 10)
    discarded:kill() -- it is not the pool's any more
    glua.sleep(0)
    assert.equal(0, p:free_count())
    member:kill()
    assert.is_true(p:join())
    assert.equal(1, p:free_count())
  end)

  it("loses no place to a kill of one that is parked in spawn", function()
    local p = pool.Pool(1)
    local member = p:spawn(glua.sleep, 10)
    local function never() error("must not run") end
    local spawner = glua.spawn(p.spawn, p, never)
    local adder = glua.spawn(p.add, p, glua.Greenlet(never))
    local available = glua.spawn(p.wait_available, p)
    glua.sleep(0)
    glua.killall {spawner, adder, available}
    member:kill()
    assert.is_true(p:join())
    assert.equal(1, p:free_count())
    assert.equal(0, p:count())
  end)

  it("loses no place to a kill of one that has just got it", function()
    for _, call in ipairs {"spawn", "wait_available"} do
      local p = pool.Pool(1)
      local member = p:spawn(glua.sleep, 10)
      local ran = false
      local g = glua.spawn(p[call], p, call == "spawn" and function() ran = true end or nil)
      glua.sleep(0)
      p:discard(member)
      g:kill(nil, {block = false})
      g:join()
      assert.is_true(p:join())
      assert.equal(call == "spawn", ran)
      assert.equal(1, p:free_count())
      member:kill()
    end
  end)

  it("does not take a greenlet in twice", function()
    local p = pool.Pool(2)
    local c = counted()
    p:spawn(c.fn)
    p:spawn(c.fn)
    local g = glua.Greenlet(function() end)
    local adders = {glua.spawn(p.add, p, g), glua.spawn(p.add, p, g)}
    glua.sleep(0)
    c.go:set()
    glua.joinall(adders)
    assert.is_true(p:join())
    assert.equal(2, p:free_count())
    assert.is_true(g:successful())
  end)

  it("waits for room, and takes none", function()
    local p = pool.Pool(1)
    assert.is_true(p:wait_available())
    assert.is_true(p:wait_available(0))
    local member = p:spawn(glua.sleep, 10)
    assert.is_false(p:wait_available(0))
    assert.is_false(p:wait_available(0.001))
    local waiters = {glua.spawn(p.wait_available, p), glua.spawn(p.wait_available, p)}
    glua.sleep(0)
    member:kill()
    for _, g in ipairs(waiters) do
      assert.is_true(g:get())
    end
    assert.equal(1, p:free_count())
  end)

  it("kills also those that come into the places of the killed", function()
    local p = pool.Pool(2)
    local ended = 0
    local feeder = glua.spawn(function()
      for _ = 1, 6 do
        p:spawn(function()
          local ok, e = pcall(glua.sleep, 10)
          ended = ended + 1
          raise_unless(ok, e)
        end)
      end
    end)
    glua.sleep(0)
    assert.is_true(p:kill())
    feeder:kill()
    p:kill()
    assert.equal(0, p:count())
    assert.equal(2, p:free_count())
    assert.is_true(ended >= 2)
  end)

  -- ---- apply ----

  it("applies a function and returns what it returns, or raises what it raises", function()
    for _, group in ipairs {pool.Group(), pool.Pool(1)} do
      assert.same(list(1, nil, 3, nil), list(group:apply(function(...)
        glua.sleep(0)
        return ...
      end, 1, nil, 3, nil)))
      assert.same(list(), list(group:apply(function() end)))
      for _, e in ipairs {"text", {}, false} do
        assert.same(list(false, e), list(pcall(group.apply, group, function() error(e, 0) end)))
      end
      local g = group:apply_async(function() return "later" end)
      assert.is_false(g:ready())
      assert.equal("later", g:get())
    end
  end)

  it("applies directly in a greenlet of its own, which would wait for its own place", function()
    local p = pool.Pool(1)
    local g = p:spawn(function()
      return p:apply(function() return glua.getcurrent(), "inner" end)
    end)
    assert.same(list(g, "inner"), list(g:get()))
  end)

  -- ---- map ----

  it("maps at the same time, and gives the results in order", function()
    local p = pool.Pool(3)
    local running, most = 0, 0
    local results = p:map(function(item)
      running = running + 1
      most = math.max(most, running)
      glua.sleep(item == 1 and 0.004 or 0.001)
      running = running - 1
      return item * item
    end, {1, 2, 3, 4, 5})
    assert.same({1, 4, 9, 16, 25, n = 5}, results)
    assert.equal(3, most)
    assert.same({n = 0}, pool.Group():map(error, {}))
  end)

  it("maps over lists, iterators and queues, and carries nil and false", function()
    local group = pool.Group()
    local function same(item)
      glua.sleep(0)
      if item ~= 2 then
        return item
      end
    end
    assert.same({false, nil, 3, n = 3}, group:map(same, {false, 2, 3}))
    local i = 0
    assert.same({1, nil, 3, n = 3}, group:map(same, function()
      i = i + 1
      glua.sleep(0)
      return i <= 3 and i or nil
    end))
    local q = queue.Queue(nil, {1, 2, false})
    q:close()
    assert.same({1, nil, false, n = 3}, group:map(same, q))
  end)

  it("raises the first error of map, and kills the rest", function()
    local p = pool.Pool(3)
    local log = {}
    local ok, e = pcall(p.map, p, function(item)
      log[#log + 1] = item
      if item == 2 then
        error({item}, 0)
      end
      glua.sleep(10)
      log[#log + 1] = "after"
    end, {1, 2, 3, 4, 5, 6, 7, 8})
    assert.is_false(ok)
    assert.same({2}, e)
    p:join()
    assert.is_true(#log < 8)
    assert.equal(3, p:free_count())
    ok, e = pcall(p.map, p, print, function() error("no items", 0) end)
    assert.is_false(ok)
    assert.equal("no items", e)
    ok, e = pcall(p.map, p, function() error(nil, 0) end, {1})
    assert.is_false(ok)
    assert.is_nil(e)
  end)

  it("kills what a map has started when it is left by a kill or a Timeout", function()
    for _, interrupt in ipairs {
      function(g) g:kill() end,
      function(g) g:throw(glua.Timeout(1)) g:join() end,
    } do
      local p = pool.Pool(2)
      local c = counted()
      local g = glua.spawn(function()
        pcall(p.map, p, c.fn, {1, 2, 3, 4})
      end)
      repeat
        glua.sleep(0)
      until c.running == 2
      interrupt(g)
      p:join()
      assert.equal(0, c.running)
      assert.equal(2, p:free_count())
    end
  end)

  -- ---- imap ----

  it("iterates in the order of the items", function()
    local p = pool.Pool(4)
    local values, order = collect(p:imap(function(item)
      glua.sleep((5 - item) / 1000)
      return item % 2 == 1 and item * 10 or nil
    end, {1, 2, 3, 4}))
    assert.same({1, 2, 3, 4}, order)
    assert.same({10, nil, 30}, values)
    assert.same({}, (collect(p:imap(error, {}))))
  end)

  it("iterates in the order of completion", function()
    local p = pool.Pool(4)
    local gates = {}
    for i = 1, 4 do
      gates[i] = event.Event()
    end
    local log = {}
    local iterator = p:imap_unordered(function(item)
      gates[item]:wait()
      return item * 10
    end, {1, 2, 3, 4})
    for _, i in ipairs {3, 1, 4, 2} do
      gates[i]:set()
      local index, value = iterator()
      log[#log + 1] = index
      assert.equal(index * 10, value)
    end
    assert.same({3, 1, 4, 2}, log)
    assert.is_nil(iterator())
    assert.is_nil(iterator())
  end)

  it("runs no further ahead of the iteration than maxsize", function()
    for _, name in ipairs {"imap", "imap_unordered"} do
      local group = pool.Group()
      local started = 0
      local iterator = group[name](group, function(item)
        started = started + 1
        return item
      end, {1, 2, 3, 4, 5, 6}, {maxsize = 2})
      for _ = 1, 5 do
        glua.sleep(0)
      end
      assert.equal(2, started)
      local values = {}
      for i = 1, 6 do
        local index, value = iterator()
        values[index] = value
        for _ = 1, 5 do
          glua.sleep(0)
        end
        assert.equal(math.min(i + 2, 6), started)
      end
      assert.is_nil(iterator())
      assert.same({1, 2, 3, 4, 5, 6}, values)
    end
  end)

  it("raises an error of imap when its turn comes, and ends there", function()
    local p = pool.Pool(4)
    local killed
    local iterator = p:imap(function(item)
      if item == 2 then
        error("second", 0)
      elseif item == 4 then
        killed = select(2, pcall(glua.sleep, 10))
        error(killed, 0)
      end
      glua.sleep(item == 1 and 0.002 or 0)
      return item
    end, {1, 2, 3, 4})
    assert.same(list(1, 1), list(iterator()))
    assert.same(list(false, "second"), list(pcall(iterator)))
    assert.is_nil(iterator())
    p:join()
    assert.equal(glua.GreenletExit, killed)
  end)

  it("raises an error of imap_unordered when it happens", function()
    local p = pool.Pool(4)
    local iterator = p:imap_unordered(function(item)
      if item == 2 then
        error("second", 0)
      end
      glua.sleep(10)
    end, {1, 2, 3})
    assert.same(list(false, "second"), list(pcall(iterator)))
    assert.is_nil(iterator())
    p:join()
  end)

  it("raises an error of the iterator of items after the results before it", function()
    for _, name in ipairs {"imap", "imap_unordered"} do
      local group = pool.Group()
      local n = 0
      local iterator = group[name](group, function(item) return item end, function()
        n = n + 1
        if n == 3 then
          error("no third", 0)
        end
        glua.sleep(0.001)
        return n
      end)
      assert.same(list(1, 1), list(iterator()))
      assert.same(list(2, 2), list(iterator()))
      assert.same(list(false, "no third"), list(pcall(iterator)))
      assert.is_nil(iterator())
    end
  end)

  it("can go on after a Timeout in the midst of the iteration", function()
    local p = pool.Pool(1)
    local go = event.Event()
    local iterator = p:imap(function(item)
      go:wait()
      return item
    end, {"a", "b"})
    local ok, e = pcall(glua.with_timeout, 0.001, iterator)
    assert.is_false(ok)
    assert.is_true(glua.is_error(e, "Timeout"))
    go:set()
    assert.same({"a", "b"}, (collect(iterator)))
  end)

  it("leaves nothing behind of an iteration that was left early", function()
    for _, name in ipairs {"imap", "imap_unordered"} do
      for _, options in ipairs {{}, {maxsize = 2}} do
        local p = pool.Pool(2)
        local started, killed = 0, 0
        local iterator = p[name](p, function(item)
          started = started + 1
          if item > 1 then
            local ok, e = pcall(glua.sleep, 10)
            killed = killed + 1
            raise_unless(ok, e)
          end
          return item
        end, {1, 2, 3, 4, 5, 6}, options)
        assert.equal(1, (iterator()))
        repeat
          glua.sleep(0)
        until started > 1
        iterator = nil -- luacheck: ignore
        collect_garbage()
        assert.equal(0, p:count())
        assert.equal(2, p:free_count())
        assert.equal(started - 1, killed)
        assert.is_true(killed > 0 and started < 6)
      end
    end
  end)

  it("does not kill what runs on of an iteration that came to its end", function()
    local group = pool.Group()
    local log = {}
    collect(group:imap(function() group:spawn(function()
      glua.sleep(0.002)
      log[#log + 1] = "ended"
    end) end, {1}))
    collect_garbage()
    group:join()
    assert.same({"ended"}, log)
  end)

  -- ---- misuse and looks ----

  it("refuses wrong arguments, at the caller's line", function()
    local p = pool.Pool(1)
    local function refuses(message, name, ...)
      local args = list(...)
      helper.misuse("bad argument " .. message, function() p[name](p, unpack(args, 1, args.n)) end)
    end
    for _, name in ipairs {"spawn", "apply", "apply_async", "map", "imap", "imap_unordered"} do
      refuses(("#1 to '%s' (function expected, got string)"):format(name), name, "fn")
    end
    for _, name in ipairs {"map", "imap", "imap_unordered"} do
      refuses(("#2 to '%s' (list or iterator expected, got number)"):format(name), name, print, 5)
    end
    for _, name in ipairs {"imap", "imap_unordered"} do
      refuses(("#3 to '%s' (positive integer expected, got 0)"):format(name), name, print, {},
        {maxsize = 0})
      refuses(("#3 to '%s' (unknown option 'max')"):format(name), name, print, {}, {max = 1})
      refuses(("#3 to '%s' (table expected, got number)"):format(name), name, print, {}, 1)
    end
    refuses("#1 to 'add' (Greenlet expected, got function)", "add", print)
    assert.equal(1, p:free_count())
    helper.misuse("bad argument #1 to 'Pool' (positive integer expected, got 0)",
      function() pool.Pool(0) end)
    helper.misuse("bad argument #1 to 'Pool' (positive integer expected, got nil)",
      function() pool.Pool() end)
  end)

  it("shows itself", function()
    local p = pool.Pool(3)
    local g = p:spawn(glua.sleep, 10)
    assert.equal("<Pool of 1 greenlets, room for 2>", tostring(p))
    assert.equal("<Group of 0 greenlets>", tostring(pool.Group()))
    g:kill()
    p:join()
  end)

  it("notes where its greenlets were spawned", function()
    local p = pool.Pool(3)
    local g = p:spawn(function() end)
    assert.matches("pool_spec.lua:%d+$", g.spawned_at)
    p:join()
  end)
end)
