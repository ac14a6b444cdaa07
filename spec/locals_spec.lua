-- locals_spec.lua: tables whose fields are each greenlet's own.

local event = require "glua.event"
local glua = require "glua"
local helper = require "spec.helper"
local locals = require "glua.locals"
local pool = require "glua.pool"

describe("glua.locals", function()
  helper.leaves_nothing_behind()

  it("shows each greenlet its own fields", function()
    local l = locals.new()
    l.x = "main"
    local log = {}
    local greenlets = {}
    for i = 1, 3 do
      greenlets[i] = glua.spawn(function()
        assert.is_nil(l.x)
        l.x = i
        glua.sleep(0)
        log[#log + 1] = l.x
        l.x = nil
        assert.is_nil(l.x)
      end)
    end
    glua.joinall(greenlets, {raise_error = true})
    assert.same({1, 2, 3}, log)
    assert.equal("main", l.x)
    l.x = nil
  end)

  it("takes any key and value", function()
    local l = locals.new()
    local key = {}
    l[key], l[1], l[true], l.no = key, "one", "true", false
    assert.equal(key, l[key])
    assert.equal("one", l[1])
    assert.equal("true", l[true])
    assert.is_false(l.no)
    assert.has_error(function() l[nil] = 1 end)
  end)

  it("keeps the fields of several tables apart", function()
    local a, b = locals.new(), locals.new()
    a.x = 1
    assert.is_nil(b.x)
    b.x = 2
    assert.equal(1, a.x)
  end)

  it("sees one greenlet in all the coroutines that it runs", function()
    local l = locals.new()
    glua.spawn(function()
      l.x = 1
      local co = coroutine.wrap(function()
        assert.equal(1, l.x)
        l.x = 2
        glua.sleep(0)
        coroutine.yield(l.x)
        l.x = 3
      end)
      assert.equal(2, co())
      co()
      assert.equal(3, l.x)
    end):get()
  end)

  it("works in a greenlet of spawn_raw", function()
    local l = locals.new()
    local done = event.AsyncResult()
    glua.spawn_raw(function()
      l.x = 1
      glua.sleep(0)
      done:set(l.x)
    end)
    assert.equal(1, done:get())
    assert.is_nil(l.x)
  end)

  it("begins anew in a greenlet that runs on the coroutine of an ended one", function()
    local l = locals.new()
    for i = 1, 3 do
      glua.spawn(function()
        assert.is_nil(l.x)
        l.x = i
      end):get()
    end
  end)

  it("lets go of the fields with the greenlet, even if they refer to it", function()
    local l = locals.new()
    local weak = setmetatable({}, {__mode = "v"})
    local function run()
      l.self = glua.getcurrent()
      l.data = {}
      weak.data = l.data
    end
    glua.spawn(run):join()
    pool.Group():apply(run)
    glua.idle()
    collectgarbage()
    collectgarbage()
    assert.is_nil(weak.data)
  end)

  it("lets go of the fields with the table", function()
    local l = locals.new()
    local weak = setmetatable({{}}, {__mode = "v"})
    l.data = weak[1]
    l = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.is_nil(weak[1])
  end)
end)
