-- startup.lua: wall time of a gluarun that has nothing to do, against such a luajit.

local bench = dofile "spec/bench/bench.lua"

local function ms(command)
  return function()
    return bench.number_from(("build/bench/times 200 %s -e ''"):format(command), "median")
  end
end

bench.main {
  {
    key = "wall",
    what = "start-up, median of 200",
    unit = "ms",
    ours = ms(arg[-1]),
    baseline = ms("luajit"),
    against = "luajit",
    judge = "ratio",
    limit = 2,
  },
}
