/* socket.h: the stream socket of Lua: a descriptor, its waits, and its read buffer.
 *
 * socket.c has its life and its calls, socket_receive.c what it receives, socket_options.c
 * its options. */
#ifndef GLUA_SOCKET_H
#define GLUA_SOCKET_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lua.h>

#include "io.h"

/* What a socket is just now; LuaSocket has a class for each. */
enum socket_role { SOCKET_MASTER, SOCKET_CLIENT, SOCKET_SERVER };

struct socket {
    struct io io;    /* its descriptor and who waits for it */
    int fd;          /* -1: not made yet, or closed */
    int family;      /* AF_INET, AF_INET6, AF_UNIX; AF_UNSPEC until connect or bind */
    uint8_t role;    /* enum socket_role */
    bool closed;     /* by close(): no operation makes a descriptor any more */
    bool drained;    /* the last read got less than it could: the next one waits at once */
    bool connecting; /* connect() goes on in the background */
    bool pinned;     /* its buffer is being made a string: see push_bytes */
    double block;    /* limit of each wait, seconds; < 0: none */
    double total;    /* limit of each call, seconds; < 0: none */
    double began[2]; /* when the running call began, by enum io_way; with `total` only */
    char *buffer;    /* what was received and not yet asked for, NULL when empty */
    size_t start, length, size; /* its valid part, and its capacity */
    size_t searched; /* bytes of it known to have no end of what is being received */
    size_t written;  /* how far the running send is */
    double received, sent, born; /* for getstats */
};

/* The socket at index 1, or an error. */
struct socket *socket_check(lua_State *L);

/* nil, message, extra, code: the results of a failed call, 4 of them. The extra value is on
 * top of the stack with has_extra, else nil. */
int socket_fail_with(lua_State *L, const char *text, const char *code, bool has_extra);
int socket_failed(lua_State *L, int err, bool has_extra);
int socket_fail_errno(lua_State *L);

/* The same for an operation on a socket without a descriptor. */
int socket_fail_closed(lua_State *L, const struct socket *s, bool has_extra);

/* The start of every attempt: the direction is this greenlet's, or an error says whose. */
void socket_enter(struct hub *h, lua_State *L, struct socket *s, enum io_way way,
                  bool again);

/* Counts a step that succeeded, or will, at once. True when the greenlet has had its share
 * of those: the caller then returns socket_let_others_run(), after which the call goes on,
 * with `again`, behind the other ready greenlets. */
bool socket_had_its_share(struct hub *h, lua_State *L);
int socket_let_others_run(struct hub *h, lua_State *L, struct socket *s, enum io_way way);

/* Seconds that the call may still wait; < 0: no limit. */
double socket_patience(struct hub *h, const struct socket *s, enum io_way way);

/* Parks until the socket is ready; returns false at once when no time is left for that. */
int socket_wait(struct hub *h, lua_State *L, struct socket *s, enum io_way way,
                const char *why);

/* Drops what was received and not asked for. */
void socket_free_buffer(struct socket *s);

static inline bool would_block(int err) { return err == EAGAIN || err == EWOULDBLOCK; }

/* Functions of core.socket that are in files of their own. */
int l_socket_getoption(lua_State *L);
int l_socket_partial(lua_State *L);
int l_socket_read_until(lua_State *L);
int l_socket_receive(lua_State *L);
int l_socket_setoption(lua_State *L);

#endif
