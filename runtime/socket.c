/* socket.c: stream sockets for Lua. See socket.h; lua/glua/socket.lua has the public face.
 *
 * A call that may wait tries the system call first. When that would block, it parks and,
 * when it runs again, returns nothing: Lua calls once more, with `again`, until there is a
 * result. So a function here is one attempt, and the waiting is one loop in Lua:
 *
 *     value                       success
 *     nil, message, extra, code   failure
 *     nothing                     was parked and woken: call again
 *     false                       the time is over
 *     true                        an interrupt is to be raised
 *
 * A greenlet whose calls always succeed at once still lets others run: see
 * socket_had_its_share(). Receiving is in socket_receive.c, options in socket_options.c. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <lauxlib.h>

#include "core.h"
#include "hub.h"
#include "net.h"
#include "report.h"
#include "socket.h"
#include "util.h"

/* ---- the object ---- */

/* Upvalue 1 of every function here is the metatable of sockets, upvalue 2 that of watches. */
struct socket *socket_check(lua_State *L) {
    struct socket *s = lua_touserdata(L, 1);
    if (s && lua_getmetatable(L, 1)) {
        bool same = lua_rawequal(L, -1, lua_upvalueindex(1));
        lua_pop(L, 1);
        if (same) return s;
    }
    report_bad_argument(L, 1, NULL,
                        lua_pushfstring(L, "socket expected, got %s", luaL_typename(L, 1)));
    return NULL;
}

/* nil, message, extra, code: the extra value, nil unless has_extra, is on top of the stack. */
int socket_fail_with(lua_State *L, const char *text, const char *code, bool has_extra) {
    if (!has_extra) lua_pushnil(L);
    lua_pushnil(L);
    lua_insert(L, -2);
    lua_pushstring(L, text);
    lua_insert(L, -2);
    lua_pushstring(L, code);
    return 4;
}

int socket_failed(lua_State *L, int err, bool has_extra) {
    return socket_fail_with(L, error_text(err), error_name(err), has_extra);
}

int socket_fail_errno(lua_State *L) { return socket_failed(L, errno, false); }

/* Of an operation that sends or receives, on a socket without a descriptor. */
int socket_fail_closed(lua_State *L, const struct socket *s, bool has_extra) {
    return socket_failed(L, s->closed ? EBADF : ENOTCONN, has_extra);
}

static struct socket *new_socket(lua_State *L, int fd, int family, enum socket_role role) {
    struct socket *s = lua_newuserdata(L, sizeof(*s));
    *s = (struct socket){.fd = -1, .family = family, .role = (uint8_t)role};
    s->block = s->total = -1;
    s->born = hub_self->now;
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_setmetatable(L, -2);
    s->fd = fd;
    io_init(&s->io, fd);
    return s;
}

/* Makes the descriptor of a socket that has none yet. */
static int need_fd(struct hub *h, struct socket *s, int family) {
    if (s->closed) {
        errno = EBADF;
        return -1;
    }
    if (s->fd >= 0) return 0;
    int fd = net_socket(family, SOCK_STREAM);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE) && hub_flush_closing(h))
        fd = net_socket(family, SOCK_STREAM);
    if (fd < 0) return -1;
    s->fd = fd;
    s->family = family;
    io_init(&s->io, fd);
    return 0;
}

void socket_free_buffer(struct socket *s) {
    if (s->pinned) return;
    free(s->buffer);
    s->buffer = NULL;
    s->start = s->length = s->size = s->searched = 0;
}

/* Gives the descriptor away, to be closed soon, and wakes who waits for it. A server's port
 * is free at once: the next line of the script may bind it again. */
static void drop_fd(struct hub *h, struct socket *s) {
    int fd = s->fd;
    s->fd = -1;
    io_stop(h, &s->io);
    if (s->role == SOCKET_SERVER) net_vacate(fd);
    hub_close_fd(h, fd);
}

static void close_socket(struct hub *h, struct socket *s) {
    s->closed = true;
    if (s->fd >= 0) drop_fd(h, s);
    socket_free_buffer(s);
}

static int l_socket_close(lua_State *L) {
    close_socket(hub_self, socket_check(L));
    lua_pushinteger(L, 1);
    return 1;
}

static int l_socket_gc(lua_State *L) {
    struct socket *s = socket_check(L);
    s->pinned = false;
    if (hub_self) close_socket(hub_self, s);
    return 0;
}

/* ---- waiting ---- */

/* Seconds that the call may still wait; < 0: no limit. */
double socket_patience(struct hub *h, const struct socket *s, enum io_way way) {
    if (s->total < 0) return s->block;
    double left = s->total - (hub_clock(h) - s->began[way]);
    if (left < 0) left = 0;
    return s->block >= 0 && s->block < left ? s->block : left;
}

/* The start of every attempt: the direction is this greenlet's, or an error says whose. */
void socket_enter(struct hub *h, lua_State *L, struct socket *s, enum io_way way,
                  bool again) {
    if (again) {
        io_release(&s->io, way);
        return;
    }
    io_check(h, L, &s->io, way);
    if (s->total >= 0) s->began[way] = hub_clock(h);
}

/* Counts a step that succeeded, or will, at once. True when the greenlet has had its share
 * of those: the caller then returns socket_let_others_run(). */
bool socket_had_its_share(struct hub *h, lua_State *L) {
    if (!h->current || --h->io_budget > 0) return false;
    h->io_budget = IO_BUDGET;
    return greenlet_is_interrupted(h) || greenlet_can_yield(h, L);
}

/* The call goes on, with `again`, after the other ready greenlets. */
int socket_let_others_run(struct hub *h, lua_State *L, struct socket *s, enum io_way way) {
    if (greenlet_is_interrupted(h)) return greenlet_raise(L);
    return io_yield(h, L, &s->io, way);
}

/* leave(socket): an interrupt ends the running greenlet's call */
static int l_socket_leave(lua_State *L) {
    struct socket *s = socket_check(L);
    for (int way = IO_READ; way <= IO_WRITE; way++)
        if (s->io.holder[way] == hub_self->current) io_release(&s->io, way);
    return 0;
}

/* Parks until the socket is ready; false at once when no time is left for that. */
int socket_wait(struct hub *h, lua_State *L, struct socket *s, enum io_way way,
                const char *why) {
    if (!h->current)
        return report_error(L, "cannot wait in %s: no greenlet is running", why);
    if (greenlet_is_interrupted(h)) return greenlet_raise(L);
    double seconds = socket_patience(h, s, way);
    if (seconds == 0) {
        lua_pushboolean(L, 0);
        return 1;
    }
    return io_park(h, L, &s->io, way, seconds, why);
}

/* ---- send ---- */

static ptrdiff_t check_index(lua_State *L, int index, ptrdiff_t otherwise) {
    if (lua_isnoneornil(L, index)) return otherwise;
    if (!lua_isnumber(L, index))
        report_bad_argument(
            L, index - 1, "send",
            lua_pushfstring(L, "number expected, got %s", luaL_typename(L, index)));
    return lua_tointeger(L, index);
}

static int send_failed(lua_State *L, const struct socket *s, int err) {
    lua_pushinteger(L, (lua_Integer)s->written);
    return socket_failed(L, err, true);
}

/* send(socket, data, i|nil, j|nil, again) -> index of the last byte sent; extra is it too */
static int l_socket_send(lua_State *L) {
    struct hub *h = hub_self;
    struct socket *s = socket_check(L);
    size_t size;
    if (!lua_isstring(L, 2))
        report_bad_argument(
            L, 1, "send",
            lua_pushfstring(L, "string expected, got %s", luaL_typename(L, 2)));
    const char *data = lua_tolstring(L, 2, &size);
    ptrdiff_t i = check_index(L, 3, 1), j = check_index(L, 4, -1);
    bool again = lua_toboolean(L, 5);
    if (i < 0) i += (ptrdiff_t)size + 1;
    if (j < 0) j += (ptrdiff_t)size + 1;
    if (i < 1) i = 1;
    if (j > (ptrdiff_t)size) j = (ptrdiff_t)size;
    if (s->fd >= 0) socket_enter(h, L, s, IO_WRITE, again);
    if (!again) s->written = (size_t)i - 1;
    if (s->fd < 0) return send_failed(L, s, s->closed ? EBADF : ENOTCONN);
    if (!again && socket_had_its_share(h, L))
        return socket_let_others_run(h, L, s, IO_WRITE);
    while ((ptrdiff_t)s->written < j) {
        ssize_t n = send(s->fd, data + s->written, (size_t)j - s->written, MSG_NOSIGNAL);
        if (n < 0 && would_block(errno)) return socket_wait(h, L, s, IO_WRITE, "send");
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return send_failed(L, s, errno);
        s->written += (size_t)n;
        s->sent += (double)n;
        if ((ptrdiff_t)s->written < j && socket_had_its_share(h, L))
            return socket_let_others_run(h, L, s, IO_WRITE);
    }
    lua_pushinteger(L, (lua_Integer)s->written);
    return 1;
}

/* sent(socket) -> how far the last send came: for one whose time is over */
static int l_socket_sent(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)socket_check(L)->written);
    return 1;
}

/* ---- connect, bind, listen, accept ---- */

static struct net_address check_address(lua_State *L, int index) {
    struct net_address a = {0};
    size_t size;
    const char *packed = luaL_checklstring(L, index, &size);
    luaL_argcheck(L, size <= sizeof(a.storage), index, "no packed address");
    memcpy(&a.storage, packed, size);
    a.size = (socklen_t)size;
    return a;
}

static int connected(lua_State *L, struct socket *s) {
    s->role = SOCKET_CLIENT;
    lua_pushinteger(L, 1);
    return 1;
}

/* connect(socket, packed address, again) -> 1 */
static int l_socket_connect(lua_State *L) {
    struct hub *h = hub_self;
    struct socket *s = socket_check(L);
    struct net_address a = check_address(L, 2);
    bool again = lua_toboolean(L, 3);
    if (need_fd(h, s, a.storage.ss_family) < 0) return socket_fail_errno(L);
    socket_enter(h, L, s, IO_WRITE, again);
    if (!again) s->connecting = false;
    if (!again && socket_had_its_share(h, L))
        return socket_let_others_run(h, L, s, IO_WRITE);
    if (s->connecting) {
        s->connecting = false;
        return net_take_error(s->fd) < 0 ? socket_fail_errno(L) : connected(L, s);
    }
    int n;
    do
        n = connect(s->fd, (struct sockaddr *)&a.storage, a.size);
    while (n < 0 && errno == EINTR);
    if (n == 0) return connected(L, s);
    if (errno != EINPROGRESS) return socket_fail_errno(L);
    s->connecting = true;
    return socket_wait(h, L, s, IO_WRITE, "connect");
}

/* reset(socket): lets go of a descriptor that failed to connect or to bind, so that the next
 * address gets a fresh one */
static int l_socket_reset(lua_State *L) {
    struct socket *s = socket_check(L);
    if (s->fd >= 0) drop_fd(hub_self, s);
    return 0;
}

/* bind(socket, packed address) -> 1 */
static int l_socket_bind(lua_State *L) {
    struct socket *s = socket_check(L);
    struct net_address a = check_address(L, 2);
    if (need_fd(hub_self, s, a.storage.ss_family) < 0) return socket_fail_errno(L);
    if (bind(s->fd, (struct sockaddr *)&a.storage, a.size) < 0) return socket_fail_errno(L);
    lua_pushinteger(L, 1);
    return 1;
}

/* open(socket, "inet"|"inet6"|"unix") -> 1: makes the descriptor before it is needed */
static int l_socket_open(lua_State *L) {
    static const char *const names[] = {"inet", "inet6", "unix", NULL};
    static const int families[] = {AF_INET, AF_INET6, AF_UNIX};
    struct socket *s = socket_check(L);
    int which = luaL_checkoption(L, 2, NULL, names);
    if (need_fd(hub_self, s, families[which]) < 0) return socket_fail_errno(L);
    lua_pushinteger(L, 1);
    return 1;
}

/* open_for_option(socket) -> 1: an option is set before connect or bind has decided on the
 * family: it is IPv4 then */
static int l_socket_open_for_option(lua_State *L) {
    struct socket *s = socket_check(L);
    int family = s->family == AF_UNSPEC ? AF_INET : s->family;
    if (need_fd(hub_self, s, family) < 0) return socket_fail_errno(L);
    lua_pushinteger(L, 1);
    return 1;
}

/* As socket_failed(), with the system's own words: of what does not send or receive. */
static int fail_plainly(lua_State *L, int err) {
    return socket_fail_with(L, strerror(err), error_name(err), false);
}

/* listen(socket, backlog) -> 1 */
static int l_socket_listen(lua_State *L) {
    struct socket *s = socket_check(L);
    if (listen(s->fd, luaL_checkint(L, 2)) < 0)
        return errno == EBADF ? fail_plainly(L, errno) : socket_fail_errno(L);
    s->role = SOCKET_SERVER;
    lua_pushinteger(L, 1);
    return 1;
}

/* accept(socket, again) -> socket */
static int l_socket_accept(lua_State *L) {
    struct hub *h = hub_self;
    struct socket *s = socket_check(L);
    bool again = lua_toboolean(L, 2);
    if (s->fd < 0) return socket_failed(L, s->closed ? EBADF : EINVAL, false);
    socket_enter(h, L, s, IO_READ, again);
    if (!again && socket_had_its_share(h, L))
        return socket_let_others_run(h, L, s, IO_READ);
    struct socket *client = new_socket(L, -1, s->family, SOCKET_CLIENT);
    int fd = net_accept(s->fd);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE) && hub_flush_closing(h))
        fd = net_accept(s->fd);
    if (fd < 0) {
        if (would_block(errno)) return socket_wait(h, L, s, IO_READ, "accept");
        return socket_fail_errno(L);
    }
    client->fd = fd;
    io_init(&client->io, fd);
    return 1;
}

/* shutdown(socket, "receive"|"send"|"both") -> 1, whatever comes of it, as in LuaSocket */
static int l_socket_shutdown(lua_State *L) {
    static const char *const names[] = {"receive", "send", "both", NULL};
    struct socket *s = socket_check(L);
    int how = luaL_checkoption(L, 2, "both", names); /* SHUT_RD 0, SHUT_WR 1, SHUT_RDWR 2 */
    if (s->fd >= 0) shutdown(s->fd, how);
    lua_pushinteger(L, 1);
    return 1;
}

/* ---- state ---- */

/* Pushes host, port, family; a Unix socket has only a path. */
static int push_address(lua_State *L, const struct net_address *a) {
    char host[NI_MAXHOST];
    int port;
    if (net_format(a, host, sizeof(host), &port) < 0) return socket_fail_errno(L);
    lua_pushstring(L, host);
    if (a->storage.ss_family == AF_UNIX) return 1;
    lua_pushinteger(L, port);
    lua_pushstring(L, net_family_name(a->storage.ss_family));
    return 3;
}

static int push_name(lua_State *L, int (*name)(int, struct sockaddr *, socklen_t *)) {
    struct socket *s = socket_check(L);
    struct net_address a = {.size = sizeof(a.storage)};
    if (name(s->fd, (struct sockaddr *)&a.storage, &a.size) < 0)
        return fail_plainly(L, errno);
    return push_address(L, &a);
}

static int name_of_peer(int fd, struct sockaddr *to, socklen_t *size) {
    return getpeername(fd, to, size);
}

static int name_of_self(int fd, struct sockaddr *to, socklen_t *size) {
    return getsockname(fd, to, size);
}

static int l_socket_getpeername(lua_State *L) { return push_name(L, name_of_peer); }

static int l_socket_getsockname(lua_State *L) { return push_name(L, name_of_self); }

/* info(socket) -> fd or -1, "master"|"client"|"server", "inet"|"inet6"|"unix"|"unspec",
 * closed, bytes buffered */
static int l_socket_info(lua_State *L) {
    static const char *const roles[] = {"master", "client", "server"};
    struct socket *s = socket_check(L);
    lua_pushinteger(L, s->fd);
    lua_pushstring(L, roles[s->role]);
    lua_pushstring(L, s->family == AF_UNSPEC ? "unspec" : net_family_name(s->family));
    lua_pushboolean(L, s->closed);
    lua_pushnumber(L, (double)s->length);
    return 5;
}

/* settimeout(socket, "b"|"t", seconds): < 0 or nil is no limit */
static int l_socket_settimeout(lua_State *L) {
    struct socket *s = socket_check(L);
    double seconds = core_seconds(L, 3);
    if (seconds < 0) seconds = -1;
    if (*luaL_checkstring(L, 2) == 't')
        s->total = seconds;
    else
        s->block = seconds;
    return 0;
}

/* gettimeout(socket) -> per wait, per call */
static int l_socket_gettimeout(lua_State *L) {
    struct socket *s = socket_check(L);
    lua_pushnumber(L, s->block);
    lua_pushnumber(L, s->total);
    return 2;
}

/* stats(socket [, received, sent, age]) -> received, sent, age in seconds */
static int l_socket_stats(lua_State *L) {
    struct socket *s = socket_check(L);
    double now = hub_clock(hub_self);
    if (lua_gettop(L) > 1) {
        s->received = luaL_optnumber(L, 2, s->received);
        s->sent = luaL_optnumber(L, 3, s->sent);
        s->born = now - luaL_optnumber(L, 4, now - s->born);
    }
    lua_pushnumber(L, s->received);
    lua_pushnumber(L, s->sent);
    lua_pushnumber(L, now - s->born);
    return 3;
}

/* What a descriptor from elsewhere is. */
static enum socket_role role_of(int fd) {
    struct net_address a = {.size = sizeof(a.storage)};
    if (net_is_listening(fd)) return SOCKET_SERVER;
    bool has_peer = getpeername(fd, (struct sockaddr *)&a.storage, &a.size) == 0;
    return has_peer ? SOCKET_CLIENT : SOCKET_MASTER;
}

/* setfd(socket, fd): a descriptor from elsewhere, or -1 to let go of the one it has */
static int l_socket_setfd(lua_State *L) {
    struct socket *s = socket_check(L);
    int fd = luaL_checkint(L, 2);
    struct net_address a = {.size = sizeof(a.storage)};
    if (s->fd >= 0) io_stop(hub_self, &s->io);
    socket_free_buffer(s);
    s->fd = fd < 0 ? -1 : fd;
    s->drained = s->connecting = false;
    if (fd < 0) return 0;
    s->closed = false;
    s->role = (uint8_t)role_of(fd);
    net_set_nonblocking(fd);
    if (getsockname(fd, (struct sockaddr *)&a.storage, &a.size) == 0)
        s->family = a.storage.ss_family;
    io_init(&s->io, fd);
    return 0;
}

/* ---- functions without a socket ---- */

/* socket(family or "unspec") -> socket without a descriptor */
static int l_socket_new(lua_State *L) {
    const char *family = luaL_checkstring(L, 1);
    new_socket(L, -1,
               *family == 'i' ? (family[4] ? AF_INET6 : AF_INET)
                              : (strcmp(family, "unix") == 0 ? AF_UNIX : AF_UNSPEC),
               SOCKET_MASTER);
    return 1;
}

/* socketpair() -> socket, socket */
static int l_socket_pair(lua_State *L) {
    struct socket *a = new_socket(L, -1, AF_UNIX, SOCKET_CLIENT);
    struct socket *b = new_socket(L, -1, AF_UNIX, SOCKET_CLIENT);
    int fds[2];
    if (net_socketpair(fds) < 0 &&
        !(hub_flush_closing(hub_self) && net_socketpair(fds) == 0))
        return socket_fail_errno(L);
    a->fd = fds[0];
    b->fd = fds[1];
    io_init(&a->io, fds[0]);
    io_init(&b->io, fds[1]);
    return 2;
}

static int fail_resolve(lua_State *L, int err) {
    switch (err) {
    case EAI_NONAME:
        return socket_fail_with(L, "host or service not provided, or not known",
                                "ENOTFOUND", false);
    case EAI_SERVICE:
        return socket_fail_with(L, "service not supported for socket type", "ENOTFOUND",
                                false);
    case EAI_AGAIN:
        return socket_fail_with(L, "temporary failure in name resolution", "EAGAIN", false);
    case EAI_FAIL:
        return socket_fail_with(L, "non-recoverable failure in name resolution",
                                "ENOTFOUND", false);
    case EAI_SYSTEM: return socket_fail_errno(L);
    default: return socket_fail_with(L, gai_strerror(err), "ENOTFOUND", false);
    }
}

/* resolve(host, port, "inet"|"inet6"|"unspec", passive) -> array of packed addresses; nil,
 * message, nil, code. Blocks in the C library for names that are not numeric. */
static int l_resolve(lua_State *L) {
    const char *host = luaL_checkstring(L, 1), *port = luaL_checkstring(L, 2);
    const char *family = luaL_checkstring(L, 3);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    if (*family == 'i') hints.ai_family = family[4] ? AF_INET6 : AF_INET;
    if (lua_toboolean(L, 4)) hints.ai_flags = AI_PASSIVE;
    int err = getaddrinfo(host, port, &hints, &found);
    if (err != 0) return fail_resolve(L, err);
    lua_newtable(L);
    int n = 0;
    for (struct addrinfo *a = found; a; a = a->ai_next) {
        lua_pushlstring(L, (const char *)a->ai_addr, a->ai_addrlen);
        lua_rawseti(L, -2, ++n);
    }
    freeaddrinfo(found);
    return 1;
}

/* unix_address(path) -> packed address */
static int l_unix_address(lua_State *L) {
    size_t length;
    const char *path = luaL_checklstring(L, 1, &length);
    struct net_address a;
    if (net_unix_address(&a, path, length) < 0) return socket_fail_errno(L);
    lua_pushlstring(L, (const char *)&a.storage, a.size);
    return 1;
}

/* unlink_socket(path): removes it if it is a Unix socket, and nothing else */
static int l_unlink_socket(lua_State *L) {
    net_unlink_socket(luaL_checkstring(L, 1));
    return 0;
}

/* address_name(packed address) -> host, port, family */
static int l_address_name(lua_State *L) {
    struct net_address a = check_address(L, 1);
    return push_address(L, &a);
}

/* gettime() -> seconds since 1970 */
static int l_gettime(lua_State *L) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    lua_pushnumber(L, (double)t.tv_sec + (double)t.tv_nsec * 1e-9);
    return 1;
}

/* ---- waiting for any descriptor ---- */

static int l_watch_gc(lua_State *L) {
    if (hub_self) io_stop(hub_self, lua_touserdata(L, 1));
    return 0;
}

/* watch(fd) -> userdata; nil, message, nil, code. Upvalue 2: its metatable. */
static int l_watch(lua_State *L) {
    int fd = luaL_checkint(L, 1);
    if (fcntl(fd, F_GETFD) < 0) return fail_plainly(L, errno);
    io_init(lua_newuserdata(L, sizeof(struct io)), fd);
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_setmetatable(L, -2);
    return 1;
}

static int wait_io(lua_State *L, struct io *io, const char *way, double seconds) {
    struct hub *h = hub_self;
    enum io_way which = *way == 'r' ? IO_READ : IO_WRITE;
    if (!h->current) return report_error(L, "cannot wait: no greenlet is running");
    if (greenlet_is_interrupted(h)) return greenlet_raise(L);
    io_check(h, L, io, which);
    return io_park(h, L, io, which, seconds, which == IO_READ ? "wait_read" : "wait_write");
}

/* watch_wait(watch, "read"|"write", seconds|nil) */
static int l_watch_wait(lua_State *L) {
    return wait_io(L, lua_touserdata(L, 1), luaL_checkstring(L, 2), core_seconds(L, 3));
}

/* unwatch(watch) */
static int l_unwatch(lua_State *L) {
    io_stop(hub_self, lua_touserdata(L, 1));
    return 0;
}

/* wait(socket, "read"|"write", seconds|nil): as watch_wait */
static int l_socket_wait(lua_State *L) {
    struct socket *s = socket_check(L);
    if (s->fd < 0) return socket_fail_closed(L, s, false);
    s->drained = false; /* the next receive shall look */
    return wait_io(L, &s->io, luaL_checkstring(L, 2), core_seconds(L, 3));
}

static const luaL_Reg functions[] = {
    {"accept", l_socket_accept},
    {"address_name", l_address_name},
    {"bind", l_socket_bind},
    {"close", l_socket_close},
    {"connect", l_socket_connect},
    {"getoption", l_socket_getoption},
    {"gettime", l_gettime},
    {"getpeername", l_socket_getpeername},
    {"getsockname", l_socket_getsockname},
    {"gettimeout", l_socket_gettimeout},
    {"info", l_socket_info},
    {"leave", l_socket_leave},
    {"listen", l_socket_listen},
    {"new", l_socket_new},
    {"open", l_socket_open},
    {"open_for_option", l_socket_open_for_option},
    {"pair", l_socket_pair},
    {"partial", l_socket_partial},
    {"read_until", l_socket_read_until},
    {"receive", l_socket_receive},
    {"reset", l_socket_reset},
    {"resolve", l_resolve},
    {"send", l_socket_send},
    {"sent", l_socket_sent},
    {"setfd", l_socket_setfd},
    {"setoption", l_socket_setoption},
    {"settimeout", l_socket_settimeout},
    {"shutdown", l_socket_shutdown},
    {"stats", l_socket_stats},
    {"unix_address", l_unix_address},
    {"unlink_socket", l_unlink_socket},
    {"unwatch", l_unwatch},
    {"wait", l_socket_wait},
    {"watch", l_watch},
    {"watch_wait", l_watch_wait},
    {NULL, NULL},
};

/* core.socket: the functions; core.socket.meta: the metatable, for Lua to complete. */
void core_add_socket(lua_State *L) {
    lua_newtable(L);
    lua_newtable(L); /* core, socket, meta */
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, l_socket_gc, 1);
    lua_setfield(L, -2, "__gc");
    lua_newtable(L); /* core, socket, meta, metatable of watches */
    lua_pushcfunction(L, l_watch_gc);
    lua_setfield(L, -2, "__gc");
    for (const luaL_Reg *f = functions; f->name; f++) {
        lua_pushvalue(L, -2);
        lua_pushvalue(L, -2);
        lua_pushcclosure(L, f->func, 2);
        lua_setfield(L, -4, f->name);
    }
    lua_pop(L, 1);
    lua_setfield(L, -2, "meta");
    lua_setfield(L, -2, "socket");
}
