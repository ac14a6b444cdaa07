-- bulk.lua: 1 GiB over loopback in sends of 64 KiB, to a client and from one, against the
-- servers in C.

local bench = dofile "spec/bench/bench.lua"

local GIB = 1024 * 1024 * 1024

local function figure(key, what, mode, load)
  local function speed(server)
    return function()
      return bench.load(server .. mode, ("%s %d"):format(load, GIB), "mbps")
    end
  end
  return {
    key = key,
    what = what,
    unit = "MB/s",
    ours = speed(bench.script("server.lua ")),
    baseline = speed("build/bench/echo_libev 0 "),
    against = "C",
    judge = "share",
    limit = 0.9,
  }
end

bench.main {
  figure("send", "bulk send, 1 GiB", "source", "pull"),
  figure("receive", "bulk receive, 1 GiB", "sink", "push"),
}
