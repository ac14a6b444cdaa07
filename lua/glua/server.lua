-- server.lua: StreamServer: a greenlet for each client.

local _, core = ...
local check = require "glua.check"
local event = require "glua.event"
local pool = require "glua.pool"
local socket = require "glua.socket"
local sleep = require("glua.park").sleep

-- After EMFILE and the like, accept waits so long, doubling from the first to the second.
local BACKOFF_MIN, BACKOFF_MAX = 0.05, 1

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

function meta:__tostring()
  local where = self.address or tostring(self.where)
  return ("<StreamServer %s%s, %s, %d clients>"):format(where,
    self.port and (":" .. self.port) or "", self.started and "started" or "stopped",
    self.pool:count())
end

-- host, port or nil, path for an address; an error names the constructor's argument.
local function parse(address)
  if type(address) == "number" then
    return "*", address
  elseif type(address) == "string" then
    local path = address:match("^unix:(.+)$")
    if path then
      return nil, path
    end
    local host, port = address:match("^%[([%x:.%%%w]+)%]:(%d+)$")
    if not host then
      host, port = address:match("^([^:]*):(%d+)$")
    end
    if not host and address:match("^%d+$") then
      host, port = "*", address
    end
    if port then
      return host == "" and "*" or host, tonumber(port)
    end
  end
  return check.fail(1, "StreamServer", "address: port, 'host:port', '[v6]:port', 'unix:/path'"
    .. " or a listening socket expected, got " .. tostring(address), 1)
end

---A server that calls handle(client, host, port) in a greenlet for each client, and closes
---the client afterwards.
---@param address integer|string|glua.Socket port, "host:port", "[v6]:port", "unix:/path", or
---  a listening socket
---@param handle fun(client: glua.Socket, host: string?, port: integer?)
---@param options? {spawn: integer|table, backlog: integer, timeout: number}
---  spawn: how many clients at a time, or a Pool; when it is full, nobody is accepted.
---  timeout: settimeout of the clients
---@return glua.StreamServer
local function new(address, handle, options)
  options = options or {}
  check.type(options, "table", 3, "StreamServer")
  check.callable(handle, 2, "StreamServer")
  for key in pairs(options) do
    if key ~= "spawn" and key ~= "backlog" and key ~= "timeout" then
      check.fail(3, "StreamServer", ("unknown option '%s'"):format(tostring(key)), 0)
    end
  end
  local given = type(address) == "userdata" and address or nil
  local spawn = options.spawn
  if type(spawn) == "number" then
    spawn = pool.Pool(check.count(spawn, 3, "StreamServer"))
  end
  local self = setmetatable({
    where = given or {parse(address)},
    handle = handle,
    backlog = options.backlog or 1024,
    timeout = options.timeout,
    pool = spawn or pool.Group(),
    listener = given,
    acceptor = nil,          -- Greenlet
    started = false,
    address = nil, port = nil,
    stopped = event.Event(),
  }, meta)
  if given then
    self.address, self.port = given:getsockname()
  end
  return self
end

-- Unlinks a Unix socket's path that a dead server has left behind; a living one answers.
local function remove_stale(path)
  local probe = socket.unix()
  local ok, _, _, code = probe:connect(path)
  probe:close()
  if not ok and code == "ECONNREFUSED" then
    os.remove(path)
  end
end

local function listen(self)
  local host, port = self.where[1], self.where[2]
  local s = host and socket.tcp() or socket.unix()
  if not host then
    remove_stale(port)
    self.path = port
  end
  local ok, message, extra, code = s:bind(host or port, port)
  if ok then
    ok, message, extra, code = s:listen(self.backlog)
  end
  if not ok then
    s:close()
    local name = host and ("%s:%d"):format(host, port) or ("unix:" .. port)
    return nil, ("cannot listen on %s: %s"):format(name, message), extra, code
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
  self.handle(client, host, port)
end

-- Accepts until the listener is closed. A full pool parks here, before the accept.
local function accept_loop(self)
  local backoff = BACKOFF_MIN
  while self.started do
    if self.pool.wait_available then
      self.pool:wait_available()
    end
    local client, message, _, code = self.listener:accept()
    if client then
      backoff = BACKOFF_MIN
      local g = self.pool:spawn(serve, self, client)
      g:rawlink(function() client:close() end)
    elseif passing[code] then
      sleep(backoff)
      backoff = math.min(backoff * 2, BACKOFF_MAX)
    elseif self.started then
      error(("StreamServer: accept failed: %s (%s)"):format(message, code), 0)
    end
  end
end

---Listens, and accepts from now on.
---@return boolean? # true; or nil, message, nil, code
---@return string? message
function StreamServer:start()
  check.self(self, meta, "start")
  if self.started then
    error("start: the server is started already", 2)
  end
  if not self.listener then
    local ok, message, extra, code = listen(self)
    if not ok then
      return nil, message, extra, code
    end
  end
  self.started = true
  self.stopped:clear()
  self.acceptor = core.spawn(accept_loop, self)
  self.acceptor.name = "accept"
  return true
end

---Stops accepting, waits for the clients' handlers, and kills those that are left when the
---time is over. Clients that connected and were not accepted yet are reset.
---@param timeout? number|glua.Timeout nil: as long as they take; 0: kill at once
---@return boolean whether all handlers ended by themselves
function StreamServer:stop(timeout)
  check.self(self, meta, "stop")
  local seconds = check.timeout(timeout, 1, "stop")
  if not self.started then
    return true
  end
  self.started = false
  self.listener:close()
  self.listener = nil
  if self.path then
    os.remove(self.path)
  end
  self.acceptor:kill(nil, {block = false})
  local drained = seconds ~= 0 and self.pool:join(timeout) or self.pool:count() == 0
  if not drained then
    self.pool:kill()
  end
  self.stopped:set()
  return drained
end

---Starts it if it is not, and parks until it is stopped.
---@return boolean? # true; or nil, message, nil, code if it cannot listen
---@return string? message
function StreamServer:serve_forever()
  check.self(self, meta, "serve_forever")
  if not self.started then
    local ok, message, extra, code = self:start()
    if not ok then
      return nil, message, extra, code
    end
  end
  self.stopped:wait()
  return true
end

return {StreamServer = new}
