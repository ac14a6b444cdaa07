/* socket_receive.c: what a socket receives: its buffer, and the patterns. See socket.h.
 *
 * The kernel is read into the hub's one buffer, and what was asked for becomes a string from
 * there; only what is left over goes into a buffer of the socket's own, so that ten thousand
 * idle connections need none. What came before a timeout or a kill stays there, too. */

#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <lauxlib.h>

#include "hub.h"
#include "report.h"
#include "socket.h"
#include "util.h"

/* The peer's orderly end. */
static int fail_eof(lua_State *L) { return socket_fail_with(L, "closed", "EOF", true); }

enum pattern { BY_COUNT, BY_LINE, TO_END, ANY, BY_SEPARATOR };

/* What a receive is for. */
struct wanted {
    enum pattern pattern;
    size_t count; /* bytes: BY_COUNT so many, ANY at most, BY_SEPARATOR at most before it */
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
    if (!(n >= 1))
        report_bad_argument(L, index - 1, "receive", "positive maximum expected");
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
        if (missing > room)
            room = missing < 16 * (size_t)IO_BUFFER ? missing : 16 * IO_BUFFER;
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
    if (s->closed) socket_free_buffer(s);
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
        socket_free_buffer(s);
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
            return socket_fail_with(L, "message too long", "EMSGSIZE", true);
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
    return err == 0 ? fail_eof(L) : socket_failed(L, err, true);
}

/* Whether there is nothing to read, as far as one can know without asking the kernel. */
static bool is_drained(struct hub *h, const struct socket *s, bool again) {
    return s->drained && !again && socket_patience(h, s, IO_READ) != 0;
}

static int receive(lua_State *L, struct socket *s, const struct wanted *w, bool again,
                   const char *why) {
    struct hub *h = hub_self;
    if (s->pinned)
        return report_error(L, "%s: a finalizer cannot read what is being read", why);
    if (s->fd < 0) {
        lua_pushvalue(L, w->prefix);
        if (lua_isnil(L, -1)) lua_pop(L, 1), lua_pushliteral(L, "");
        return socket_fail_closed(L, s, true);
    }
    socket_enter(h, L, s, IO_READ, again);
    if (!again) s->searched = 0;
    if (!again && socket_had_its_share(h, L))
        return socket_let_others_run(h, L, s, IO_READ);
    if (s->length > 0 || w->enough == 0) {
        struct received r = buffered(s);
        int results = satisfy(L, s, &r, w);
        if (results > 0) return results;
        s->searched = s->length;
    }
    if (is_drained(h, s, again)) return socket_wait(h, L, s, IO_READ, why);
    for (;;) {
        struct received r = {0};
        size_t missing = w->pattern == BY_COUNT ? w->count - s->length : 1;
        ssize_t n = read_once(h, s, missing, &r);
        if (n < 0 && would_block(errno)) {
            s->drained = true;
            if (s->length == 0) socket_free_buffer(s);
            return socket_wait(h, L, s, IO_READ, why);
        }
        if (n <= 0) return receive_end(L, s, w, n < 0 ? errno : 0);
        int results = satisfy(L, s, &r, w);
        if (results > 0) return results;
        keep(s, &r);
        s->searched = s->length;
        if (s->drained && socket_patience(h, s, IO_READ) != 0)
            return socket_wait(h, L, s, IO_READ, why);
        if (socket_had_its_share(h, L)) return socket_let_others_run(h, L, s, IO_READ);
    }
}

/* receive(socket, pattern|nil, prefix|nil, again): extra is the partial data */
int l_socket_receive(lua_State *L) {
    struct socket *s = socket_check(L);
    bool again = lua_toboolean(L, 4);
    lua_settop(L, 3);
    struct wanted w = check_wanted(L);
    return receive(L, s, &w, again, "receive");
}

/* partial(socket, pattern|nil, prefix|nil) -> all that is buffered: for a receive whose time
 * is over */
int l_socket_partial(lua_State *L) {
    struct socket *s = socket_check(L);
    lua_settop(L, 3);
    struct wanted w = check_wanted(L);
    struct received r = buffered(s);
    push_received(L, s, &r, r.length, r.length, &w);
    return 1;
}

/* read_until(socket, separator, max, again) -> data without the separator */
int l_socket_read_until(lua_State *L) {
    struct socket *s = socket_check(L);
    struct wanted w = {.pattern = BY_SEPARATOR, .prefix = 4};
    double max = luaL_checknumber(L, 3);
    bool again = lua_toboolean(L, 4);
    w.separator = luaL_checklstring(L, 2, &w.size);
    w.count = max < 9e15 ? (size_t)max : SIZE_MAX;
    lua_settop(L, 3);
    lua_pushnil(L);
    return receive(L, s, &w, again, "read_until");
}
