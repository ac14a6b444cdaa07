-- socket.lua: stream sockets with LuaSocket's API, on which a call parks one greenlet.
--
-- The C half (runtime/socket.c) makes one attempt at a time; the loops here go on until it
-- has a result. It returns nothing when it was parked and woken, false when the time is
-- over, true when an interrupt is to be raised.
--
-- What the network does to a call comes back as nil, message, extra, code: the message is
-- LuaSocket's ("closed", "timeout", "connection refused"), the extra value too (the partial
-- data of receive, the last index of send, else nil), the code is symbolic ("EOF",
-- "ETIMEDOUT", "ECONNREFUSED").
--
-- Where it differs from LuaSocket, on purpose: getsockname has the port as a number; an
-- option may be set before connect or bind, and makes it an IPv4 socket; a connected socket
-- does not connect again; a call that needs a connection, or a listening socket, and has none
-- fails where LuaSocket raises.

local _, core = ...
local check = require "glua.check"
local interrupted = require("glua.interrupt").interrupted
local sleep = require("glua.park").sleep

local C = core.socket
local c_receive, c_send = C.receive, C.send
local type = type

---@class glua.Socket
local Socket = {}
local meta = C.meta
meta.__name = "socket"
meta.__index = Socket

function meta:__tostring()
  local fd, role, family, closed = C.info(self)
  local class = (family == "unix" and "unix{%s}" or "tcp{%s}"):format(role)
  if closed or fd < 0 then
    return ("%s: %s"):format(class, closed and "closed" or "no descriptor")
  end
  local host, port
  if role == "client" then
    host, port = C.getpeername(self)
  else
    host, port = C.getsockname(self)
  end
  if not host or host == "" then
    return ("%s: fd %d"):format(class, fd)
  end
  return ("%s: fd %d, %s%s"):format(class, fd, host, port and (":" .. port) or "")
end

local function check_socket(value, name)
  if getmetatable(value) ~= meta then
    check.fail(1, name, ("socket expected, got %s; call it with ':'"):format(type(value)))
  end
end

-- Raises what has interrupted a call.
local function raise(self, message)
  C.leave(self)
  interrupted(nil, message)
end

---Receives by pattern: a number of bytes (0: none, once there are some), "*l" or "l" a line
---without its end and without any "\r" (the default), "*a" or "a" all until the peer closes,
---"any" what is there now (at most `prefix` bytes, if that is a number).
---@param pattern? string|integer
---@param prefix? string|integer what is put before the result; counted by a number pattern
---@return string? data
---@return string? message
---@return string? partial what came before the failure
---@return string? code
function Socket:receive(pattern, prefix)
  local data, message, partial, code = c_receive(self, pattern, prefix)
  while data == nil and message == nil do
    data, message, partial, code = c_receive(self, pattern, prefix, true)
  end
  if data then
    if data ~= true then
      return data
    end
    raise(self, message)
  elseif data == false then
    return nil, "timeout", C.partial(self, pattern, prefix), "ETIMEDOUT"
  end
  return nil, message, partial, code
end

---Receives up to a separator, which is taken away and not part of the result.
---@param separator string plain text
---@param max? integer more before it fails with "message too long", and stays to be
---  received; default 1 MiB
---@return string? data
---@return string? message
---@return string? partial
---@return string? code
function Socket:read_until(separator, max)
  check_socket(self, "read_until")
  check.type(separator, "string", 1, "read_until")
  if separator == "" then
    check.fail(1, "read_until", "separator must not be empty")
  end
  max = max or 1048576
  if type(max) ~= "number" or not (max >= 0) then
    check.fail(2, "read_until", "non-negative number expected, got " .. tostring(max))
  end
  local data, message, partial, code = C.read_until(self, separator, max)
  while data == nil and message == nil do
    data, message, partial, code = C.read_until(self, separator, max, true)
  end
  if data then
    if data ~= true then
      return data
    end
    raise(self, message)
  elseif data == false then
    return nil, "timeout", C.partial(self, "a"), "ETIMEDOUT"
  end
  return nil, message, partial, code
end

---Sends data, or its bytes i to j, all of it.
---@param data string
---@param i? integer
---@param j? integer
---@return integer? last index of the last byte sent
---@return string? message
---@return integer? sent index of the last byte that went before the failure
---@return string? code
function Socket:send(data, i, j)
  local last, message, sent, code = c_send(self, data, i, j)
  while last == nil and message == nil do
    last, message, sent, code = c_send(self, data, i, j, true)
  end
  if last then
    if last ~= true then
      return last
    end
    raise(self, message)
  elseif last == false then
    return nil, "timeout", C.sent(self), "ETIMEDOUT"
  end
  return nil, message, sent, code
end

---Sends a string, or a list of strings as if it were one.
---@param data string|string[]
---@return boolean? # true
---@return string? message
---@return integer? sent how many bytes went before the failure
---@return string? code
function Socket:sendall(data)
  check_socket(self, "sendall")
  if type(data) == "table" then
    for i, piece in ipairs(data) do
      if type(piece) ~= "string" and type(piece) ~= "number" then
        check.fail(1, "sendall", ("strings expected in the list, got %s at %d"):format(
          type(piece), i))
      end
    end
    data = table.concat(data)
  elseif type(data) ~= "string" and type(data) ~= "number" then
    check.fail(1, "sendall", "string or list of strings expected, got " .. type(data))
  end
  local last, message, sent, code = self:send(data)
  if last then
    return true
  end
  return nil, message, sent, code
end

local function check_address(self, host, port, name)
  check_socket(self, name)
  check.type(host, "string", 1, name)
  local _, _, family = C.info(self)
  if family ~= "unix" and type(port) ~= "string" and type(port) ~= "number" then
    check.fail(2, name, "port: number or string expected, got " .. type(port))
  end
end

-- The packed addresses that host and port stand for.
local function addresses_of(self, host, port, passive)
  local _, _, family = C.info(self)
  if family == "unix" then
    local address, message, extra, code = C.unix_address(host)
    return address and {address}, message, extra, code
  end
  if host == "*" then
    host = family == "inet6" and "::" or "0.0.0.0"
  end
  return C.resolve(host, tostring(port), family, passive)
end

-- One attempt; false when the time is over.
local function connect_once(self, address)
  local ok, message, extra, code = C.connect(self, address)
  while ok == nil and message == nil do
    ok, message, extra, code = C.connect(self, address, true)
  end
  if ok == true then
    raise(self, message)
  end
  return ok, message, extra, code
end

-- A Unix server whose backlog is full says EAGAIN, and no event tells that it no longer is.
local function connect_to(self, address)
  local per_wait, per_call = C.gettimeout(self)
  local limit = per_call < 0 and per_wait or per_wait < 0 and per_call
    or math.min(per_wait, per_call)
  local deadline, pause = limit >= 0 and core.now() + limit, 0.001
  while true do
    local ok, message, extra, code = connect_once(self, address)
    if code ~= "EAGAIN" then
      return ok, message, extra, code
    elseif deadline and core.now() + pause > deadline then
      return false
    end
    sleep(pause)
    pause = math.min(pause * 2, 0.05)
  end
end

---Connects, to the addresses of the host one after the other. A Unix socket takes a path.
---@param host string
---@param port? integer|string
---@return integer? # 1
---@return string? message
---@return nil
---@return string? code
function Socket:connect(host, port)
  check_address(self, host, port, "connect")
  local fd, role = C.info(self)
  if role ~= "master" then
    return nil, "already connected", nil, "EISCONN"
  end
  local addresses, message, extra, code = addresses_of(self, host, port, false)
  if not addresses then
    return nil, message, extra, code
  end
  local ok
  for _, address in ipairs(addresses) do
    ok, message, extra, code = connect_to(self, address)
    if ok then
      return ok
    elseif ok == false then
      return nil, "timeout", nil, "ETIMEDOUT"
    elseif fd < 0 then
      C.reset(self)
    end
  end
  return nil, message, extra, code
end

---Binds to a local address; "*" is any. A Unix socket takes a path. SO_REUSEADDR is set, as
---every server needs it.
---@param host string
---@param port? integer|string 0: a free one
---@return integer? # 1
---@return string? message
---@return nil
---@return string? code
function Socket:bind(host, port)
  check_address(self, host, port, "bind")
  local fd = C.info(self)
  local addresses, message, extra, code = addresses_of(self, host, port, true)
  if not addresses then
    return nil, message, extra, code
  end
  local ok
  for _, address in ipairs(addresses) do
    local _, _, family = C.address_name(address)
    ok, message, extra, code = C.open(self, family or "unix")
    if ok and family then
      C.setoption(self, "reuseaddr", true)
    end
    if ok then
      ok, message, extra, code = C.bind(self, address)
    end
    if ok then
      return ok
    elseif fd < 0 then
      C.reset(self)
    end
  end
  return nil, message, extra, code
end

---Makes a bound socket a server.
---@param backlog? integer default 32
---@return integer? # 1
function Socket:listen(backlog)
  check_socket(self, "listen")
  if backlog ~= nil then
    check.type(backlog, "number", 1, "listen")
  end
  return C.listen(self, backlog or 32)
end

---Parks until a client has connected.
---@return glua.Socket? client
---@return string? message
---@return nil
---@return string? code
function Socket:accept()
  check_socket(self, "accept")
  local client, message, extra, code = C.accept(self)
  while client == nil and message == nil do
    client, message, extra, code = C.accept(self, true)
  end
  if client == true then
    raise(self, message)
  elseif client == false then
    return nil, "timeout", nil, "ETIMEDOUT"
  elseif client then
    return client -- alone: it may be the last argument of another call
  end
  return nil, message, extra, code
end

---Closes it: who waits on it gets nil, "closed". Harmless a second time.
---@return integer # 1
function Socket:close()
  check_socket(self, "close")
  return C.close(self)
end

---Ends one direction of the connection, or both; harmless where there is none.
---@param how? "receive"|"send"|"both" default "both"
---@return integer # 1
function Socket:shutdown(how)
  check_socket(self, "shutdown")
  if how ~= nil and how ~= "receive" and how ~= "send" and how ~= "both" then
    check.fail(1, "shutdown", "'receive', 'send' or 'both' expected")
  end
  return C.shutdown(self, how)
end

---Limits how long calls wait. Mode "b" is for each wait, "t" (or "r") for each call.
---@param seconds? number nil or negative: no limit; 0: calls do not wait
---@param mode? "b"|"t" default "b"
---@return integer # 1
function Socket:settimeout(seconds, mode)
  check_socket(self, "settimeout")
  local limit = seconds == nil and -1 or tonumber(seconds)
  if not limit or limit ~= limit then
    check.fail(1, "settimeout", "seconds: number expected, got " .. tostring(seconds))
  end
  mode = mode == nil and "b" or type(mode) == "string" and mode:sub(1, 1)
  if mode ~= "b" and mode ~= "t" and mode ~= "r" then
    check.fail(2, "settimeout", "invalid timeout mode")
  end
  C.settimeout(self, mode == "b" and "b" or "t", limit < math.huge and limit or -1)
  return 1
end

---@return number per wait, -1: no limit
---@return number per call
function Socket:gettimeout()
  check_socket(self, "gettimeout")
  return C.gettimeout(self)
end

---Sets an option: keepalive, reuseaddr, reuseport, linger {on, timeout}, tcp-nodelay,
---recv-buffer-size, send-buffer-size, ipv6-v6only, tcp-keepidle ... Values are booleans or
---numbers.
---@param name string
---@param value any
---@return integer? # 1
function Socket:setoption(name, value)
  check_socket(self, "setoption")
  local ok, message, extra, code = C.open_for_option(self)
  if ok or code == "EBADF" then
    return C.setoption(self, name, value) -- which fails on a closed one as LuaSocket's does
  end
  return nil, message, extra, code
end

---@param name string
---@return any value
function Socket:getoption(name)
  check_socket(self, "getoption")
  return C.getoption(self, name)
end

---@return string? host or the path of a Unix socket; nil, message
---@return integer? port
---@return string? family "inet" or "inet6"
function Socket:getpeername()
  check_socket(self, "getpeername")
  return C.getpeername(self)
end

---@return string? host or the path of a Unix socket; nil, message
---@return integer? port
---@return string? family
function Socket:getsockname()
  check_socket(self, "getsockname")
  return C.getsockname(self)
end

---@return "inet4"|"inet6"|"unix" "inet4" also for one of which it is still open
function Socket:getfamily()
  check_socket(self, "getfamily")
  local _, _, family = C.info(self)
  return (family == "inet" or family == "unspec") and "inet4" or family
end

---@return integer descriptor; -1 without one
function Socket:getfd()
  check_socket(self, "getfd")
  return (C.info(self))
end

---Gives it another descriptor, which becomes non-blocking, without closing the one it has;
----1: none.
---@param fd integer
function Socket:setfd(fd)
  check_socket(self, "setfd")
  check.type(fd, "number", 1, "setfd")
  C.setfd(self, fd)
end

---@return boolean whether there is received data that was not asked for yet
function Socket:dirty()
  check_socket(self, "dirty")
  return (select(5, C.info(self))) > 0
end

---@return number bytes received
---@return number bytes sent
---@return number age seconds
function Socket:getstats()
  check_socket(self, "getstats")
  return C.stats(self)
end

---Sets what getstats returns.
---@return integer # 1
function Socket:setstats(received, sent, age)
  check_socket(self, "setstats")
  C.stats(self, received, sent, age)
  return 1
end

-- LuaSocket's other names for the two.
Socket.setpeername = Socket.connect
Socket.setsockname = Socket.bind

local M = {_VERSION = "LuaSocket 3.1 (gluarun " .. core.version .. ")"}

---A TCP socket without a descriptor yet; connect or bind decides on IPv4 or IPv6.
---@return glua.Socket
function M.tcp()
  return C.new("unspec")
end

local function new_of(family)
  local s = C.new(family)
  local ok, message, extra, code = C.open(s, family)
  if not ok then
    return nil, message, extra, code
  end
  return s
end

---@return glua.Socket? # or nil, message, nil, code
---@return string? message
function M.tcp4()
  return new_of("inet")
end

---@return glua.Socket? # or nil, message, nil, code
---@return string? message
function M.tcp6()
  return new_of("inet6")
end

---A Unix stream socket; with a path, connected to it.
---@param path? string
---@return glua.Socket? # or nil, message, nil, code
---@return string? message
function M.unix(path)
  local s = C.new("unix")
  if path == nil then
    return s
  end
  local ok, message, extra, code = s:connect(path)
  if not ok then
    s:close()
    return nil, message, extra, code
  end
  return s
end

local function tcp_of(family)
  if family == nil then
    return M.tcp()
  elseif family == "inet" or family == "inet4" then
    return M.tcp4()
  elseif family == "inet6" then
    return M.tcp6()
  end
  return check.fail(5, "connect", "family 'inet' or 'inet6' expected")
end

---A socket connected to host and port.
---@param host string
---@param port integer|string
---@param local_host? string bind to this first
---@param local_port? integer|string
---@param family? "inet"|"inet6"
---@return glua.Socket? # or nil, message, nil, code
---@return string? message
function M.connect(host, port, local_host, local_port, family)
  local s, message, extra, code = tcp_of(family)
  if not s then
    return nil, message, extra, code
  end
  check_address(s, host, port, "connect")
  local ok = true
  if local_host then
    ok, message, extra, code = s:bind(local_host, local_port or 0)
  end
  if ok then
    ok, message, extra, code = s:connect(host, port)
  end
  if not ok then
    s:close()
    return nil, message, extra, code
  end
  return s
end

function M.connect4(host, port, local_host, local_port)
  return M.connect(host, port, local_host, local_port, "inet")
end

function M.connect6(host, port, local_host, local_port)
  return M.connect(host, port, local_host, local_port, "inet6")
end

---A server socket bound to host and port.
---@param host string "*": any
---@param port integer|string 0: a free one
---@param backlog? integer default 32
---@return glua.Socket? # or nil, message, nil, code
---@return string? message
function M.bind(host, port, backlog)
  local s = M.tcp()
  check_address(s, host, port, "bind")
  local ok, message, extra, code = s:bind(host, port)
  if ok then
    ok, message, extra, code = s:listen(backlog)
  end
  if not ok then
    s:close()
    return nil, message, extra, code
  end
  return s
end

---Two sockets connected to each other.
---@return glua.Socket? # or nil, message, nil, code
---@return glua.Socket|string
function M.socketpair()
  return C.pair()
end

local function descriptor_of(value, name)
  local ok, fd = true, value
  if type(value) ~= "number" then
    ok, fd = pcall(function() return value:getfd() end)
  end
  if not ok or type(fd) ~= "number" or fd < 0 or fd % 1 ~= 0 then
    check.fail(1, name, "descriptor or object with getfd() expected, got "
      .. (type(value) == "number" and value or type(value)))
  end
  return fd
end

-- These two return what C's waits do: nil when it is ready; nil, message, nil, code.
local function wait_socket(s, way, seconds)
  if way == "read" and s:dirty() then
    return nil
  end
  local st, message, extra, code = C.wait(s, way, seconds)
  C.leave(s)
  if st == nil and message == nil and C.info(s) < 0 then
    return nil, "closed", nil, "EBADF"
  end
  return st, message, extra, code
end

local function wait_descriptor(fd, way, seconds)
  local watch, message, extra, code = C.watch(fd)
  if not watch then
    return nil, message, extra, code
  end
  local st
  st, message = C.watch_wait(watch, way, seconds)
  C.unwatch(watch)
  return st, message
end

local function wait_for(what, way, timeout, name)
  local seconds = check.timeout(timeout, 2, name)
  local st, message, extra, code
  if getmetatable(what) == meta then
    st, message, extra, code = wait_socket(what, way, seconds)
  else
    st, message, extra, code = wait_descriptor(descriptor_of(what, name), way, seconds)
  end
  if st then
    interrupted(timeout, message)
  elseif st == nil and message then
    return nil, message, extra, code
  elseif st == nil then
    return true
  end
  return nil, "timeout", nil, "ETIMEDOUT"
end

---Parks until a descriptor, or an object with getfd(), can be read. What a socket has
---received and not given out yet counts.
---@param what integer|table|userdata
---@param timeout? number|glua.Timeout
---@return boolean? # true; or nil, "timeout"
---@return string? message
function M.wait_read(what, timeout)
  return wait_for(what, "read", timeout, "wait_read")
end

---Parks until a descriptor, or an object with getfd(), can be written.
---@param what integer|table|userdata
---@param timeout? number|glua.Timeout
---@return boolean? # true; or nil, "timeout"
---@return string? message
function M.wait_write(what, timeout)
  return wait_for(what, "write", timeout, "wait_write")
end

---@param seconds number
function M.sleep(seconds)
  local n = tonumber(seconds)
  if not n or n ~= n then
    check.fail(1, "sleep", "seconds: number expected, got " .. tostring(seconds))
  end
  sleep(n)
end

---@return number seconds since 1970
function M.gettime()
  return C.gettime()
end

---All its arguments but the first n.
function M.skip(n, ...)
  return select(n + 1, ...)
end

-- What try raises and protect catches: a table around the message.
local try_meta = {__name = "socket.try", __tostring = function(e) return tostring(e[1]) end}

---A function that returns its arguments if the first is true; else calls `finalizer`, and
---raises the second one for protect.
---@param finalizer? function
function M.newtry(finalizer)
  return function(...)
    if (...) then
      return ...
    end
    if finalizer then
      finalizer()
    end
    return error(setmetatable({(select(2, ...))}, try_meta), 0)
  end
end

M.try = M.newtry()

local function protected(ok, ...)
  if ok then
    return ...
  end
  local e = ...
  if getmetatable(e) == try_meta then
    return nil, e[1]
  end
  return error(e, 0)
end

---A function that calls fn and turns what a try in it raised into nil, message.
---@param fn function
function M.protect(fn)
  return function(...)
    return protected(pcall(fn, ...))
  end
end

return M
