-- server.lua: StreamServer: a greenlet for each client.
--
-- One greenlet accepts. It waits for room in the pool before it accepts, so that clients for
-- whom there is none wait in the kernel's backlog and not in here.

local _, core = ...
local check = require "glua.check"
local event = require "glua.event"
local interrupt = require "glua.interrupt"
local pool = require "glua.pool"
local socket = require "glua.socket"
local sleep = require("glua.park").sleep

-- After EMFILE and the like, accept waits so long, doubling from the first to the second.
local BACKOFF_MIN, BACKOFF_MAX = 0.05, 1

-- How long stop waits for the handlers that it has killed.
local GRACE = 1

-- Failures of accept that pass: of the connection itself, or for want of something.
local passing = {
  ECONNABORTED = true, EPROTO = true, ENETDOWN = true, EHOSTUNREACH = true, EPERM = true,
  EMFILE = true, ENFILE = true, ENOBUFS = true, ENOMEM = true,
}

---@class glua.StreamServer
---@field started boolean
---@field address string? host, or path of a Unix socket, once it listens
---@field port integer?
local StreamServer = {}
local meta = {__name = "StreamServer", __index = StreamServer}

-- An address in words: "127.0.0.1:80", "[::1]:80", "unix:/path".
local function describe(host, port)
  if not port then
    return "unix:" .. host
  end
  return (host:find(":", 1, true) and "[%s]:%d" or "%s:%d"):format(host, port)
end

function meta:__tostring()
  local where = self.address and describe(self.address, self.port)
    or describe(self.where.path or self.where.host, self.where.port)
  return ("<StreamServer %s, %s, %d clients>"):format(where,
    self.started and "started" or "stopped", self.handlers:count())
end

local function bad_address(got)
  return check.fail(1, "StreamServer", "address: port, 'host:port', '[v6]:port', 'unix:/path'"
    .. " or a listening socket expected, got " .. got)
end

-- {host=, port=} or {path=} for an address.
local function parse(address)
  if type(address) ~= "number" and type(address) ~= "string" then
    return bad_address(type(address))
  end
  local text = tostring(address)
  local path = text:match("^unix:(.+)$")
  if path then
    return {path = path}
  end
  local host, port = text:match("^%[([%x:.%%%w]+)%]:(%d+)$")
  if not host then
    host, port = text:match("^([^:]*):(%d+)$")
  end
  if not host then
    host, port = "", text:match("^%d+$")
  end
  if not port or tonumber(port) > 65535 then
    return bad_address(text)
  end
  return {host = host ~= "" and host or "*", port = tonumber(port)}
end

-- The socket itself if it is one that listens.
local function check_listener(s)
  local _, role = core.socket.info(s)
  if role ~= "server" then
    return bad_address(tostring(s))
  end
  return s
end

local known_options = {spawn = true, backlog = true, timeout = true}

-- The pool in which handlers are spawned.
local function pool_of(spawn)
  if spawn == nil then
    return pool.Group()
  elseif type(spawn) == "number" then
    return pool.Pool(check.count(spawn, 3, "StreamServer"))
  elseif type(spawn) ~= "table" or type(spawn.spawn) ~= "function" then
    check.fail(3, "StreamServer", "option 'spawn': Pool or number expected, got "
      .. type(spawn))
  end
  return spawn
end

---A server that calls handle(client, host, port) in a greenlet for each client, and closes
---the client afterwards. Its TCP clients send at once (TCP_NODELAY): an answer in two sends
---does not wait for the peer's acknowledgement of the first. Those of a socket that was given
---are as that socket's options have them.
---@param address integer|string|glua.Socket port, "host:port", "[v6]:port", "unix:/path", or
---  a listening socket
---@param handle fun(client: glua.Socket, host: string?, port: integer?)
---@param options? {spawn: integer|table, backlog: integer, timeout: number}
---  spawn: how many clients at a time, or a Pool; when it is full, nobody is accepted.
---  timeout: settimeout of the clients
---@return glua.StreamServer
local function new(address, handle, options)
  local given = getmetatable(address) == core.socket.meta and check_listener(address) or nil
  local where = given and {} or parse(address)
  check.callable(handle, 2, "StreamServer")
  options = check.options(options, known_options, 3, "StreamServer")
  check.timeout(options.timeout, 3, "StreamServer")
  local limiting = pool_of(options.spawn)
  local self = setmetatable({
    where = where,
    given = given ~= nil,
    handle = handle,
    backlog = check.count(options.backlog or 1024, 3, "StreamServer"),
    timeout = options.timeout,
    pool = limiting,
    handlers = limiting,     -- the clients' greenlets, without others in a pool that was given
    listener = given,        -- nil: not listening
    acceptor = nil,          -- Greenlet
    started = false,
    address = nil, port = nil,
    stopped = event.Event(),
    failure = nil,           -- {message, code}: what ended it
    clients = {},            -- sockets by the Greenlets that serve them
    close_client = nil,      -- the link of those
  }, meta)
  function self.close_client(g)
    local client = self.clients[g]
    self.clients[g] = nil
    client:close()
  end
  if type(options.spawn) == "table" then
    self.handlers = pool.Group()
  end
  if given then
    self.address, self.port = given:getsockname()
  end
  return self
end

-- Removes a Unix socket's path that a dead server has left behind; a living one answers.
local function remove_stale(path)
  local probe = socket.unix()
  probe:settimeout(0)
  local ok, _, _, code = probe:connect(path)
  probe:close()
  if not ok and code == "ECONNREFUSED" then
    core.socket.unlink_socket(path)
  end
end

local function listen(self)
  local where = self.where
  local s = where.path and socket.unix() or socket.tcp()
  if where.path then
    remove_stale(where.path)
  end
  local ok, message, extra, code = s:bind(where.path or where.host, where.port)
  if ok then
    ok, message, extra, code = s:listen(self.backlog)
  end
  if not ok then
    s:close()
    return nil, ("cannot listen on %s: %s"):format(
      describe(where.path or where.host, where.port), message), extra, code
  end
  if not where.path then
    s:setoption("tcp-nodelay", true) -- what is accepted has it too
  end
  self.listener = s
  self.address, self.port = s:getsockname()
  return true
end

-- What the greenlet of a client runs.
local function serve(self, client)
  local host, port = client:getpeername()
  if self.timeout then
    client:settimeout(self.timeout)
  end
  return self.handle(client, host or nil, host and port) -- in place of this frame
end

local function start_handler(self, client)
  local ok, g = pcall(self.pool.spawn, self.pool, serve, self, client)
  if not ok then -- killed, while others had filled the pool after all
    client:close()
    error(g, 0)
  end
  self.clients[g] = client
  g:rawlink(self.close_client)
  if self.handlers ~= self.pool then
    self.handlers:add(g)
  end
end

local function close_listener(self)
  self.started = false
  self.listener:close()
  self.listener = nil
  if self.where.path then
    core.socket.unlink_socket(self.where.path)
  end
end

-- The acceptor: until its listener is closed.
local function accept_loop(self)
  local listener, backoff = self.listener, BACKOFF_MIN
  while true do
    if self.pool.wait_available then
      self.pool:wait_available()
    end
    local client, message, _, code = listener:accept()
    if client then
      backoff = BACKOFF_MIN
      start_handler(self, client)
    elseif self.listener ~= listener then
      return
    elseif passing[code] then
      sleep(backoff)
      backoff = math.min(backoff * 2, BACKOFF_MAX)
    else
      close_listener(self)
      self.failure = {"accept failed: " .. message, code}
      self.stopped:set()
      error(("%s: %s"):format(tostring(self), self.failure[1]), 0)
    end
  end
end

-- No more clients; does nothing if it is not started. Wherever the acceptor is parked.
local function stop_accepting(self)
  if self.started then
    close_listener(self)
    self.acceptor:kill(nil, {block = false})
  end
end

---Listens, and accepts from now on.
---@return boolean? # true; or nil, message, nil, code
---@return string? message
function StreamServer:start()
  check.self(self, meta, "start")
  if self.started then
    check.misuse("start: the server is started already")
  elseif not self.listener then
    if self.given then
      check.misuse("start: the given socket was closed when the server stopped")
    end
    local ok, message, extra, code = listen(self)
    if not ok then
      return nil, message, extra, code
    end
  end
  self.started = true
  self.failure = nil
  self.stopped:clear()
  self.acceptor = core.spawn(accept_loop, self)
  self.acceptor.name = "accept"
  return true
end

---Stops accepting, waits for the clients' handlers, and kills those that are left when the
---time is over. Clients that connected and were not accepted yet are reset. A handler that
---stops its own server is not waited for. A second call, while the first one waits, may set
---a shorter time.
---@param timeout? number|glua.Timeout nil: as long as they take; 0: kill at once
---@return boolean whether all handlers ended by themselves
function StreamServer:stop(timeout)
  check.self(self, meta, "stop")
  local seconds = check.timeout(timeout, 1, "stop")
  stop_accepting(self)
  self.handlers:discard(core.current())
  local ok, drained = true, self.handlers:count() == 0
  if not drained and seconds ~= 0 then
    ok, drained = interrupt.protect(self.handlers.join, self.handlers, timeout)
  end
  if ok and not drained then
    self.handlers:kill(nil, {timeout = GRACE})
  elseif not ok then
    self.handlers:kill(nil, {block = false})
  end
  self.stopped:set()
  if not ok then
    error(drained, 0)
  end
  return drained
end

---Starts it if it is not, and parks until it is stopped. When the calling greenlet is killed
---here, or gets a Timeout, that stops the server too, and kills its handlers.
---@return boolean? # true; or nil, message, nil, code: it cannot listen, or accept any more
---@return string? message
function StreamServer:serve_forever()
  check.self(self, meta, "serve_forever")
  if not self.started then
    local ok, message, extra, code = self:start()
    if not ok then
      return nil, message, extra, code
    end
  end
  local ok, e = interrupt.protect(self.stopped.wait, self.stopped)
  if not ok then
    stop_accepting(self)
    self.handlers:kill(nil, {block = false})
    self.stopped:set()
    error(e, 0)
  elseif self.failure then
    return nil, self.failure[1], nil, self.failure[2]
  end
  return true
end

return {StreamServer = new}
