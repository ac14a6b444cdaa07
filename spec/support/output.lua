-- output.lua: what a run of the specs prints: a line for each file, failures in full, and
-- at the end "N passed, N failed[, N skipped]".

return function()
  local busted = require "busted"
  local handler = require "busted.outputHandlers.base"()
  local passed, failed, skipped = 0, 0, 0
  local in_file, slow = 0, {}

  local function write(...)
    io.stdout:write(...)
    io.stdout:flush()
  end

  local function show(failure)
    local trace = failure.trace or {}
    local message = failure.message
    if type(message) ~= "string" then
      message = require("pl.pretty").write(message or "nil")
    end
    local at = failure.element.trace or {}
    write(("\nFAILED %s (%s:%s)\n  %s\n"):format(failure.name, at.short_src or "?",
      at.currentline or "?", (message:gsub("\n", "\n  "))))
    if trace.traceback and failure.isError then
      write("  ", (trace.traceback:gsub("\n", "\n  ")), "\n")
    end
  end

  handler.fileStart = function(file)
    in_file = passed + failed
    write(("%-40s"):format(file.name))
    return nil, true
  end

  handler.fileEnd = function(file)
    write((" %4d  %6.2f s\n"):format(passed + failed - in_file,
      file.duration or file.endtick - file.starttick))
    return nil, true
  end

  handler.testEnd = function(element, _, status)
    if status == "success" then
      passed = passed + 1
    elseif status == "pending" then
      skipped = skipped + 1
      local reason = handler.pendings[#handler.pendings]
      write("\nSKIPPED ", reason.name, ": ", tostring(reason.message), "\n")
    else
      failed = failed + 1
      local list = status == "failure" and handler.failures or handler.errors
      show(list[#list])
    end
    if (element.duration or 0) > 1 then
      slow[#slow + 1] = ("%6.2f s  %s"):format(element.duration, handler.getFullName(element))
    end
    return nil, true
  end

  -- An error outside of any test: in a file's own code, or in a setup.
  handler.error = function(element)
    if element.descriptor ~= "it" then
      failed = failed + 1
      show(handler.errors[#handler.errors])
    end
    return nil, true
  end

  handler.suiteEnd = function()
    for _, line in ipairs(slow) do
      write("slow: ", line, "\n")
    end
    write(("%d passed, %d failed%s\n"):format(passed, failed,
      skipped > 0 and (", %d skipped"):format(skipped) or ""))
    return nil, true
  end

  busted.subscribe({"file", "start"}, handler.fileStart)
  busted.subscribe({"file", "end"}, handler.fileEnd)
  busted.subscribe({"test", "end"}, handler.testEnd, {predicate = handler.cancelOnPending})
  busted.subscribe({"suite", "end"}, handler.suiteEnd)
  busted.subscribe({"error"}, handler.error)
  busted.subscribe({"failure"}, handler.error)
  return handler
end
