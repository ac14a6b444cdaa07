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
 * A greenlet whose calls always succeed at once still lets others run: see spend(). */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
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
static struct socket *check_socket(lua_State *L) {
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
static int fail_with(lua_State *L, const char *text, const char *code, bool has_extra) {
    if (!has_extra) lua_pushnil(L);
    lua_pushnil(L);
    lua_insert(L, -2);
    lua_pushstring(L, text);
    lua_insert(L, -2);
    lua_pushstring(L, code);
    return 4;
}

static int failed(lua_State *L, int err, bool has_extra) {
    return fail_with(L, error_text(err), error_name(err), has_extra);
}

static int fail_errno(lua_State *L) { return failed(L, errno, false); }

/* The peer's orderly end. */
static int fail_eof(lua_State *L) { return fail_with(L, "closed", "EOF", true); }

/* Of an operation that sends or receives, on a socket without a descriptor. */
static int fail_closed(lua_State *L, const struct socket *s, bool has_extra) {
    return failed(L, s->closed ? EBADF : ENOTCONN, has_extra);
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

static void free_buffer(struct socket *s) {
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
    free_buffer(s);
}

static int l_socket_close(lua_State *L) {
    close_socket(hub_self, check_socket(L));
    lua_pushinteger(L, 1);
    return 1;
}

static int l_socket_gc(lua_State *L) {
    struct socket *s = check_socket(L);
    s->pinned = false;
    if (hub_self) close_socket(hub_self, s);
    return 0;
}

/* ---- waiting ---- */

/* Seconds that the call may still wait; < 0: no limit. */
static double patience(struct hub *h, const struct socket *s, enum io_way way) {
    if (s->total < 0) return s->block;
    double left = s->total - (hub_clock(h) - s->began[way]);
    if (left < 0) left = 0;
    return s->block >= 0 && s->block < left ? s->block : left;
}

/* The start of every attempt: the direction is this greenlet's, or an error says whose. */
static void enter(struct hub *h, lua_State *L, struct socket *s, enum io_way way, bool again) {
    if (again) {
        io_release(&s->io, way);
        return;
    }
    io_check(h, L, &s->io, way);
    if (s->total >= 0) s->began[way] = hub_clock(h);
}

/* Counts a step that succeeded, or will, at once. True when the greenlet has had its share
 * of those: the caller then returns let_others_run(). */
static bool has_had_its_share(struct hub *h, lua_State *L) {
    if (!h->current || --h->io_budget > 0) return false;
    h->io_budget = IO_BUDGET;
    return greenlet_is_interrupted(h) || greenlet_can_yield(h, L);
}

/* The call goes on, with `again`, after the other ready greenlets. */
static int let_others_run(struct hub *h, lua_State *L, struct socket *s, enum io_way way) {
    if (greenlet_is_interrupted(h)) return greenlet_raise(L);
    return io_yield(h, L, &s->io, way);
}

/* leave(socket): an interrupt ends the running greenlet's call */
static int l_socket_leave(lua_State *L) {
    struct socket *s = check_socket(L);
    for (int way = IO_READ; way <= IO_WRITE; way++)
        if (s->io.holder[way] == hub_self->current) io_release(&s->io, way);
    return 0;
}

/* Parks until the socket is ready; false at once when no time is left for that. */
static int wait_for(struct hub *h, lua_State *L, struct socket *s, enum io_way way,
                    const char *why) {
    if (!h->current) return report_error(L, "cannot wait in %s: no greenlet is running", why);
    if (greenlet_is_interrupted(h)) return greenlet_raise(L);
    double seconds = patience(h, s, way);
    if (seconds == 0) {
        lua_pushboolean(L, 0);
        return 1;
    }
    return io_park(h, L, &s->io, way, seconds, why);
}

static bool would_block(int err) { return err == EAGAIN || err == EWOULDBLOCK; }

/* ---- receive ---- */

enum pattern { BY_COUNT, BY_LINE, TO_END, ANY, BY_SEPARATOR };

/* What a receive is for. */
struct wanted {
    enum pattern pattern;
    size_t count;          /* bytes: BY_COUNT so many, ANY at most, BY_SEPARATOR at most before it */
    size_t enough;         /* BY_COUNT: so many have to be there, 1 where `count` is 0 */
    const char *separator; /* BY_SEPARATOR */
    size_t size;           /* its length */
    int prefix;            /* stack index of what is put before the result */
};

/* As LuaSocket reads it: a number, in digits too, or *l and *a; and "l", "a", "any". The
 * arguments are numbered as the script counts them, without the socket. */
static enum pattern check_pattern(lua_State *L, int index, size_t *count) {
    if (lua_isnoneornil(L, index)) return BY_LINE;
    if (lua_isnumber(L, index)) {
        double n = lua_tonumber(L, index);
        if (n >= 0) {
            *count = n < 9e15 ? (size_t)n : (size_t)9e15;
            return BY_COUNT;
        }
    } else if (lua_type(L, index) == LUA_TSTRING) {
        const char *p = lua_tostring(L, index);
        if (strcmp(p, "l") == 0 || (p[0] == '*' && p[1] == 'l')) return BY_LINE;
        if (strcmp(p, "a") == 0 || (p[0] == '*' && p[1] == 'a')) return TO_END;
        if (strcmp(p, "any") == 0) return ANY;
    }
    report_bad_argument(L, index - 1, "receive", "invalid receive pattern");
    return BY_LINE;
}

/* ANY has its maximum where the others have the prefix. */
static size_t check_maximum(lua_State *L, int index) {
    if (lua_isnoneornil(L, index)) return SIZE_MAX;
    double n = lua_tonumber(L, index);
    if (!(n >= 1)) report_bad_argument(L, index - 1, "receive", "positive maximum expected");
    return n < 9e15 ? (size_t)n : SIZE_MAX;
}

static struct wanted check_wanted(lua_State *L) {
    struct wanted w = {.prefix = 3};
    w.pattern = check_pattern(L, 2, &w.count);
    if (w.pattern == ANY) {
        w.count = check_maximum(L, 3);
        lua_pushnil(L);
        lua_replace(L, 3);
    }
    if (lua_isnil(L, 3)) {
        w.enough = w.count > 0 ? w.count : 1;
        return w;
    }
    if (!lua_isstring(L, 3))
        report_bad_argument(L, 2, "receive", "prefix: string expected");
    size_t had;
    lua_tolstring(L, 3, &had);
    if (w.pattern == BY_COUNT) w.count = w.count > had ? w.count - had : 0;
    w.enough = w.count > 0 || had > 0 ? w.count : 1;
    return w;
}

/* Makes room for `room` more bytes behind the buffered ones. */
static void reserve(struct socket *s, size_t room) {
    if (s->start > 0 && s->start + s->length + room > s->size) {
        memmove(s->buffer, s->buffer + s->start, s->length);
        s->start = 0;
    }
    if (s->length + room <= s->size) return;
    size_t size = s->size * 2;
    if (size < s->length + room) size = s->length + room;
    s->buffer = xrealloc(s->buffer, size);
    s->size = size;
}

/* What has been received: in the socket's buffer, or still in the hub's. */
struct received {
    char *data;
    size_t length;
    bool in_hub; /* data is the hub's: what is not taken has to be kept */
};

static struct received buffered(struct socket *s) {
    return (struct received){s->length ? s->buffer + s->start : NULL, s->length, false};
}

static void keep(struct socket *s, struct received *r) {
    if (!r->in_hub) return;
    r->in_hub = false;
    if (r->length == 0) return;
    reserve(s, r->length);
    memcpy(s->buffer + s->start + s->length, r->data, r->length);
    s->length += r->length;
}

/* Reads once. Small reads go through the hub's buffer, so that an idle socket has none
 * and what is asked for becomes a string without a copy in between. */
static ssize_t read_once(struct hub *h, struct socket *s, size_t missing,
                         struct received *r) {
    bool direct = s->length > 0 || missing > IO_BUFFER || !h->io_buffer;
    size_t room = IO_BUFFER;
    char *to = h->io_buffer;
    if (direct) {
        if (missing > room) room = missing < 16 * (size_t)IO_BUFFER ? missing : 16 * IO_BUFFER;
        reserve(s, room);
        to = s->buffer + s->start + s->length;
    }
    ssize_t n;
    do
        n = recv(s->fd, to, room, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0) return n;
    s->drained = (size_t)n < room;
    s->received += (double)n;
    if (direct) s->length += (size_t)n;
    *r = direct ? buffered(s) : (struct received){to, (size_t)n, true};
    return n;
}

/* Makes a string of bytes in a buffer. That may run the collector and with it a finalizer
 * of the script's, which could close this socket or receive from another: meanwhile the
 * buffers are out of its reach. */
static void push_bytes(lua_State *L, struct socket *s, const char *data, size_t length) {
    struct hub *h = hub_self;
    char *io_buffer = h->io_buffer;
    h->io_buffer = NULL;
    s->pinned = true;
    lua_pushlstring(L, data, length);
    s->pinned = false;
    h->io_buffer = io_buffer;
    if (s->closed) free_buffer(s);
}

/* Takes every '\r' out, in place, as LuaSocket does with a line; returns the new length. */
static size_t without_returns(char *data, size_t length) {
    char *to = length ? memchr(data, '\r', length) : NULL;
    if (!to) return length;
    for (const char *from = to; from < data + length; from++)
        if (*from != '\r') *to++ = *from;
    return (size_t)(to - data);
}

/* Pushes the prefix and the first `take` bytes, and drops `drop` bytes. */
static void push_received(lua_State *L, struct socket *s, struct received *r, size_t take,
                          size_t drop, const struct wanted *w) {
    if (w->pattern == BY_LINE) take = without_returns(r->data, take);
    push_bytes(L, s, r->data, take);
    if (r->in_hub) {
        r->data += drop;
        r->length -= drop;
        keep(s, r);
    } else if (s->length > drop) {
        s->start += drop;
        s->length -= drop;
    } else {
        free_buffer(s);
    }
    s->searched = 0;
    if (lua_objlen(L, w->prefix) == 0) return;
    lua_pushvalue(L, w->prefix);
    lua_insert(L, -2);
    lua_concat(L, 2);
}

/* Where the line or the part before the separator ends, or NULL. */
static const char *find_end(const struct socket *s, const struct received *r,
                            const struct wanted *w) {
    size_t from = r->in_hub ? 0 : s->searched;
    if (from >= r->length) return NULL;
    if (w->pattern == BY_LINE) return memchr(r->data + from, '\n', r->length - from);
    from = from > w->size ? from - w->size : 0;
    return memmem(r->data + from, r->length - from, w->separator, w->size);
}

/* Pushes the results if what was received is what is wanted, or can never be; returns their
 * number, 0 if more has to come. */
static int satisfy(lua_State *L, struct socket *s, struct received *r,
                   const struct wanted *w) {
    const char *end;
    size_t n;
    switch (w->pattern) {
    case TO_END: return 0;
    case ANY:
        if (r->length == 0) return 0;
        n = w->count < r->length ? w->count : r->length;
        push_received(L, s, r, n, n, w);
        return 1;
    case BY_COUNT:
        if (r->length < w->enough) return 0;
        push_received(L, s, r, w->count, w->count, w);
        return 1;
    case BY_LINE:
        if (!(end = find_end(s, r, w))) return 0;
        n = (size_t)(end - r->data);
        push_received(L, s, r, n, n + 1, w);
        return 1;
    case BY_SEPARATOR:
        end = find_end(s, r, w);
        n = end ? (size_t)(end - r->data) : r->length;
        if (n > w->count) {
            keep(s, r);
            lua_pushliteral(L, "");
            return fail_with(L, "message too long", "EMSGSIZE", true);
        }
        if (!end) return 0;
        push_received(L, s, r, n, n + w->size, w);
        return 1;
    }
    return 0;
}

/* The end of the stream, or an error: what is there is the partial result. */
static int receive_end(lua_State *L, struct socket *s, const struct wanted *w, int err) {
    struct received r = buffered(s);
    push_received(L, s, &r, r.length, r.length, w);
    if (w->pattern == TO_END && err == 0 && r.length > 0) return 1;
    return err == 0 ? fail_eof(L) : failed(L, err, true);
}

/* Whether there is nothing to read, as far as one can know without asking the kernel. */
static bool is_drained(struct hub *h, const struct socket *s, bool again) {
    return s->drained && !again && patience(h, s, IO_READ) != 0;
}

static int receive(lua_State *L, struct socket *s, const struct wanted *w, bool again,
                   const char *why) {
    struct hub *h = hub_self;
    if (s->pinned) return report_error(L, "%s: a finalizer cannot read what is being read", why);
    if (s->fd < 0) {
        lua_pushvalue(L, w->prefix);
        if (lua_isnil(L, -1)) lua_pop(L, 1), lua_pushliteral(L, "");
        return fail_closed(L, s, true);
    }
    enter(h, L, s, IO_READ, again);
    if (!again) s->searched = 0;
    if (!again && has_had_its_share(h, L)) return let_others_run(h, L, s, IO_READ);
    if (s->length > 0 || w->enough == 0) {
        struct received r = buffered(s);
        int results = satisfy(L, s, &r, w);
        if (results > 0) return results;
        s->searched = s->length;
    }
    if (is_drained(h, s, again)) return wait_for(h, L, s, IO_READ, why);
    for (;;) {
        struct received r = {0};
        size_t missing = w->pattern == BY_COUNT ? w->count - s->length : 1;
        ssize_t n = read_once(h, s, missing, &r);
        if (n < 0 && would_block(errno)) {
            s->drained = true;
            if (s->length == 0) free_buffer(s);
            return wait_for(h, L, s, IO_READ, why);
        }
        if (n <= 0) return receive_end(L, s, w, n < 0 ? errno : 0);
        int results = satisfy(L, s, &r, w);
        if (results > 0) return results;
        keep(s, &r);
        s->searched = s->length;
        if (s->drained && patience(h, s, IO_READ) != 0)
            return wait_for(h, L, s, IO_READ, why);
        if (has_had_its_share(h, L)) return let_others_run(h, L, s, IO_READ);
    }
}

/* receive(socket, pattern|nil, prefix|nil, again): extra is the partial data */
static int l_socket_receive(lua_State *L) {
    struct socket *s = check_socket(L);
    bool again = lua_toboolean(L, 4);
    lua_settop(L, 3);
    struct wanted w = check_wanted(L);
    return receive(L, s, &w, again, "receive");
}

/* partial(socket, pattern|nil, prefix|nil) -> all that is buffered: for a receive whose time
 * is over */
static int l_socket_partial(lua_State *L) {
    struct socket *s = check_socket(L);
    lua_settop(L, 3);
    struct wanted w = check_wanted(L);
    struct received r = buffered(s);
    push_received(L, s, &r, r.length, r.length, &w);
    return 1;
}

/* read_until(socket, separator, max, again) -> data without the separator */
static int l_socket_read_until(lua_State *L) {
    struct socket *s = check_socket(L);
    struct wanted w = {.pattern = BY_SEPARATOR, .prefix = 4};
    double max = luaL_checknumber(L, 3);
    bool again = lua_toboolean(L, 4);
    w.separator = luaL_checklstring(L, 2, &w.size);
    w.count = max < 9e15 ? (size_t)max : SIZE_MAX;
    lua_settop(L, 3);
    lua_pushnil(L);
    return receive(L, s, &w, again, "read_until");
}

/* ---- send ---- */

static ptrdiff_t check_index(lua_State *L, int index, ptrdiff_t otherwise) {
    if (lua_isnoneornil(L, index)) return otherwise;
    if (!lua_isnumber(L, index))
        report_bad_argument(L, index - 1, "send",
                            lua_pushfstring(L, "number expected, got %s",
                                            luaL_typename(L, index)));
    return lua_tointeger(L, index);
}

static int send_failed(lua_State *L, const struct socket *s, int err) {
    lua_pushinteger(L, (lua_Integer)s->written);
    return failed(L, err, true);
}

/* send(socket, data, i|nil, j|nil, again) -> index of the last byte sent; extra is it too */
static int l_socket_send(lua_State *L) {
    struct hub *h = hub_self;
    struct socket *s = check_socket(L);
    size_t size;
    if (!lua_isstring(L, 2))
        report_bad_argument(
            L, 1, "send", lua_pushfstring(L, "string expected, got %s", luaL_typename(L, 2)));
    const char *data = lua_tolstring(L, 2, &size);
    ptrdiff_t i = check_index(L, 3, 1), j = check_index(L, 4, -1);
    bool again = lua_toboolean(L, 5);
    if (i < 0) i += (ptrdiff_t)size + 1;
    if (j < 0) j += (ptrdiff_t)size + 1;
    if (i < 1) i = 1;
    if (j > (ptrdiff_t)size) j = (ptrdiff_t)size;
    if (s->fd >= 0) enter(h, L, s, IO_WRITE, again);
    if (!again) s->written = (size_t)i - 1;
    if (s->fd < 0) return send_failed(L, s, s->closed ? EBADF : ENOTCONN);
    if (!again && has_had_its_share(h, L)) return let_others_run(h, L, s, IO_WRITE);
    while ((ptrdiff_t)s->written < j) {
        ssize_t n = send(s->fd, data + s->written, (size_t)j - s->written, MSG_NOSIGNAL);
        if (n < 0 && would_block(errno)) return wait_for(h, L, s, IO_WRITE, "send");
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return send_failed(L, s, errno);
        s->written += (size_t)n;
        s->sent += (double)n;
        if ((ptrdiff_t)s->written < j && has_had_its_share(h, L))
            return let_others_run(h, L, s, IO_WRITE);
    }
    lua_pushinteger(L, (lua_Integer)s->written);
    return 1;
}

/* sent(socket) -> how far the last send came: for one whose time is over */
static int l_socket_sent(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)check_socket(L)->written);
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
    struct socket *s = check_socket(L);
    struct net_address a = check_address(L, 2);
    bool again = lua_toboolean(L, 3);
    if (need_fd(h, s, a.storage.ss_family) < 0) return fail_errno(L);
    enter(h, L, s, IO_WRITE, again);
    if (!again) s->connecting = false;
    if (!again && has_had_its_share(h, L)) return let_others_run(h, L, s, IO_WRITE);
    if (s->connecting) {
        s->connecting = false;
        return net_take_error(s->fd) < 0 ? fail_errno(L) : connected(L, s);
    }
    int n;
    do
        n = connect(s->fd, (struct sockaddr *)&a.storage, a.size);
    while (n < 0 && errno == EINTR);
    if (n == 0) return connected(L, s);
    if (errno != EINPROGRESS) return fail_errno(L);
    s->connecting = true;
    return wait_for(h, L, s, IO_WRITE, "connect");
}

/* reset(socket): lets go of a descriptor that failed to connect or to bind, so that the next
 * address gets a fresh one */
static int l_socket_reset(lua_State *L) {
    struct socket *s = check_socket(L);
    if (s->fd >= 0) drop_fd(hub_self, s);
    return 0;
}

/* bind(socket, packed address) -> 1 */
static int l_socket_bind(lua_State *L) {
    struct socket *s = check_socket(L);
    struct net_address a = check_address(L, 2);
    if (need_fd(hub_self, s, a.storage.ss_family) < 0) return fail_errno(L);
    if (bind(s->fd, (struct sockaddr *)&a.storage, a.size) < 0) return fail_errno(L);
    lua_pushinteger(L, 1);
    return 1;
}

/* open(socket, "inet"|"inet6"|"unix") -> 1: makes the descriptor before it is needed */
static int l_socket_open(lua_State *L) {
    static const char *const names[] = {"inet", "inet6", "unix", NULL};
    static const int families[] = {AF_INET, AF_INET6, AF_UNIX};
    struct socket *s = check_socket(L);
    int which = luaL_checkoption(L, 2, NULL, names);
    if (need_fd(hub_self, s, families[which]) < 0) return fail_errno(L);
    lua_pushinteger(L, 1);
    return 1;
}

/* open_for_option(socket) -> 1: an option is set before connect or bind has decided on the
 * family: it is IPv4 then */
static int l_socket_open_for_option(lua_State *L) {
    struct socket *s = check_socket(L);
    int family = s->family == AF_UNSPEC ? AF_INET : s->family;
    if (need_fd(hub_self, s, family) < 0) return fail_errno(L);
    lua_pushinteger(L, 1);
    return 1;
}

/* As failed(), with the system's own words: of what does not send or receive. */
static int fail_plainly(lua_State *L, int err) {
    return fail_with(L, strerror(err), error_name(err), false);
}

/* listen(socket, backlog) -> 1 */
static int l_socket_listen(lua_State *L) {
    struct socket *s = check_socket(L);
    if (listen(s->fd, luaL_checkint(L, 2)) < 0)
        return errno == EBADF ? fail_plainly(L, errno) : fail_errno(L);
    s->role = SOCKET_SERVER;
    lua_pushinteger(L, 1);
    return 1;
}

/* accept(socket, again) -> socket */
static int l_socket_accept(lua_State *L) {
    struct hub *h = hub_self;
    struct socket *s = check_socket(L);
    bool again = lua_toboolean(L, 2);
    if (s->fd < 0) return failed(L, s->closed ? EBADF : EINVAL, false);
    enter(h, L, s, IO_READ, again);
    if (!again && has_had_its_share(h, L)) return let_others_run(h, L, s, IO_READ);
    struct socket *client = new_socket(L, -1, s->family, SOCKET_CLIENT);
    int fd = net_accept(s->fd);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE) && hub_flush_closing(h))
        fd = net_accept(s->fd);
    if (fd < 0) {
        if (would_block(errno)) return wait_for(h, L, s, IO_READ, "accept");
        return fail_errno(L);
    }
    client->fd = fd;
    io_init(&client->io, fd);
    return 1;
}

/* shutdown(socket, "receive"|"send"|"both") -> 1, whatever comes of it, as in LuaSocket */
static int l_socket_shutdown(lua_State *L) {
    static const char *const names[] = {"receive", "send", "both", NULL};
    struct socket *s = check_socket(L);
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
    if (net_format(a, host, sizeof(host), &port) < 0) return fail_errno(L);
    lua_pushstring(L, host);
    if (a->storage.ss_family == AF_UNIX) return 1;
    lua_pushinteger(L, port);
    lua_pushstring(L, net_family_name(a->storage.ss_family));
    return 3;
}

static int push_name(lua_State *L, int (*name)(int, struct sockaddr *, socklen_t *)) {
    struct socket *s = check_socket(L);
    struct net_address a = {.size = sizeof(a.storage)};
    if (name(s->fd, (struct sockaddr *)&a.storage, &a.size) < 0) return fail_plainly(L, errno);
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
    struct socket *s = check_socket(L);
    lua_pushinteger(L, s->fd);
    lua_pushstring(L, roles[s->role]);
    lua_pushstring(L, s->family == AF_UNSPEC ? "unspec" : net_family_name(s->family));
    lua_pushboolean(L, s->closed);
    lua_pushnumber(L, (double)s->length);
    return 5;
}

/* settimeout(socket, "b"|"t", seconds): < 0 or nil is no limit */
static int l_socket_settimeout(lua_State *L) {
    struct socket *s = check_socket(L);
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
    struct socket *s = check_socket(L);
    lua_pushnumber(L, s->block);
    lua_pushnumber(L, s->total);
    return 2;
}

/* stats(socket [, received, sent, age]) -> received, sent, age in seconds */
static int l_socket_stats(lua_State *L) {
    struct socket *s = check_socket(L);
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
    struct socket *s = check_socket(L);
    int fd = luaL_checkint(L, 2);
    struct net_address a = {.size = sizeof(a.storage)};
    if (s->fd >= 0) io_stop(hub_self, &s->io);
    free_buffer(s);
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

/* ---- options ---- */

struct option {
    const char *name;
    int level, number;
    enum { OPTION_BOOLEAN, OPTION_NUMBER, OPTION_LINGER, OPTION_ERROR } type;
};

static const struct option options[] = {
    {"keepalive", SOL_SOCKET, SO_KEEPALIVE, OPTION_BOOLEAN},
    {"reuseaddr", SOL_SOCKET, SO_REUSEADDR, OPTION_BOOLEAN},
    {"reuseport", SOL_SOCKET, SO_REUSEPORT, OPTION_BOOLEAN},
    {"broadcast", SOL_SOCKET, SO_BROADCAST, OPTION_BOOLEAN},
    {"dontroute", SOL_SOCKET, SO_DONTROUTE, OPTION_BOOLEAN},
    {"linger", SOL_SOCKET, SO_LINGER, OPTION_LINGER},
    {"error", SOL_SOCKET, SO_ERROR, OPTION_ERROR},
    {"recv-buffer-size", SOL_SOCKET, SO_RCVBUF, OPTION_NUMBER},
    {"send-buffer-size", SOL_SOCKET, SO_SNDBUF, OPTION_NUMBER},
    {"tcp-nodelay", IPPROTO_TCP, TCP_NODELAY, OPTION_BOOLEAN},
    {"tcp-keepidle", IPPROTO_TCP, TCP_KEEPIDLE, OPTION_NUMBER},
    {"tcp-keepintvl", IPPROTO_TCP, TCP_KEEPINTVL, OPTION_NUMBER},
    {"tcp-keepcnt", IPPROTO_TCP, TCP_KEEPCNT, OPTION_NUMBER},
    {"tcp-defer-accept", IPPROTO_TCP, TCP_DEFER_ACCEPT, OPTION_NUMBER},
    {"tcp-fastopen", IPPROTO_TCP, TCP_FASTOPEN, OPTION_NUMBER},
    {"ipv6-v6only", IPPROTO_IPV6, IPV6_V6ONLY, OPTION_BOOLEAN},
};

static const struct option *check_option(lua_State *L, int index, const char *function) {
    const char *name = lua_isstring(L, index) ? lua_tostring(L, index) : "?";
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        if (strcmp(options[i].name, name) == 0) return &options[i];
    report_bad_argument(L, index - 1, function,
                        lua_pushfstring(L, "unsupported option '%s'", name));
    return NULL;
}

static void check_option_type(lua_State *L, int index, int type, const char *what) {
    if (lua_type(L, index) == type) return;
    const char *expected = lua_typename(L, type), *got = luaL_typename(L, index);
    report_bad_argument(L, 2, "setoption",
                        lua_pushfstring(L, "%s%s expected, got %s", what, expected, got));
}

static struct linger check_linger(lua_State *L, int index) {
    check_option_type(L, index, LUA_TTABLE, "");
    lua_getfield(L, index, "on");
    lua_getfield(L, index, "timeout");
    check_option_type(L, -2, LUA_TBOOLEAN, "field 'on': ");
    check_option_type(L, -1, LUA_TNUMBER, "field 'timeout': ");
    return (struct linger){.l_onoff = lua_toboolean(L, -2),
                           .l_linger = (int)lua_tointeger(L, -1)};
}

/* setoption(socket, name, value) -> 1 */
static int l_socket_setoption(lua_State *L) {
    struct socket *s = check_socket(L);
    const struct option *o = check_option(L, 2, "setoption");
    struct linger linger;
    int number, err;
    if (o->type == OPTION_ERROR) report_bad_argument(L, 1, "setoption", "'error' is read only");
    if (o->type == OPTION_LINGER) {
        linger = check_linger(L, 3);
        err = setsockopt(s->fd, o->level, o->number, &linger, sizeof(linger));
    } else {
        int type = o->type == OPTION_NUMBER ? LUA_TNUMBER : LUA_TBOOLEAN;
        check_option_type(L, 3, type, "");
        number = type == LUA_TNUMBER ? (int)lua_tointeger(L, 3) : lua_toboolean(L, 3);
        err = setsockopt(s->fd, o->level, o->number, &number, sizeof(number));
    }
    if (err < 0) return fail_with(L, "setsockopt failed", error_name(errno), false);
    lua_pushinteger(L, 1);
    return 1;
}

/* getoption(socket, name) -> value; of "error" the text, nil if there is none */
static int l_socket_getoption(lua_State *L) {
    struct socket *s = check_socket(L);
    const struct option *o = check_option(L, 2, "getoption");
    struct linger linger = {0};
    int number = 0;
    void *value = o->type == OPTION_LINGER ? (void *)&linger : (void *)&number;
    socklen_t size = o->type == OPTION_LINGER ? sizeof(linger) : sizeof(number);
    if (getsockopt(s->fd, o->level, o->number, value, &size) < 0)
        return fail_with(L, "getsockopt failed", error_name(errno), false);
    switch (o->type) {
    case OPTION_BOOLEAN: lua_pushboolean(L, number); break;
    case OPTION_NUMBER: lua_pushinteger(L, number); break;
    case OPTION_ERROR: lua_pushstring(L, number ? error_text(number) : NULL); break;
    case OPTION_LINGER:
        lua_newtable(L);
        lua_pushboolean(L, linger.l_onoff);
        lua_setfield(L, -2, "on");
        lua_pushinteger(L, linger.l_linger);
        lua_setfield(L, -2, "timeout");
        break;
    }
    return 1;
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
    if (net_socketpair(fds) < 0 && !(hub_flush_closing(hub_self) && net_socketpair(fds) == 0))
        return fail_errno(L);
    a->fd = fds[0];
    b->fd = fds[1];
    io_init(&a->io, fds[0]);
    io_init(&b->io, fds[1]);
    return 2;
}

static int fail_resolve(lua_State *L, int err) {
    switch (err) {
    case EAI_NONAME:
        return fail_with(L, "host or service not provided, or not known", "ENOTFOUND", false);
    case EAI_SERVICE:
        return fail_with(L, "service not supported for socket type", "ENOTFOUND", false);
    case EAI_AGAIN:
        return fail_with(L, "temporary failure in name resolution", "EAGAIN", false);
    case EAI_FAIL:
        return fail_with(L, "non-recoverable failure in name resolution", "ENOTFOUND", false);
    case EAI_SYSTEM: return fail_errno(L);
    default: return fail_with(L, gai_strerror(err), "ENOTFOUND", false);
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
    if (net_unix_address(&a, path, length) < 0) return fail_errno(L);
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
    struct socket *s = check_socket(L);
    if (s->fd < 0) return fail_closed(L, s, false);
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
