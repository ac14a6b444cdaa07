/* socket.h: the stream socket of Lua: a descriptor, its waits, and its read buffer. */
#ifndef GLUA_SOCKET_H
#define GLUA_SOCKET_H

#include <stdbool.h>
#include <stddef.h>

#include "io.h"

/* What a socket is just now; LuaSocket has a class for each. */
enum socket_role { SOCKET_MASTER, SOCKET_CLIENT, SOCKET_SERVER };

struct socket {
    struct io io;   /* its descriptor and who waits for it */
    int fd;         /* -1: not made yet, or closed */
    int family;     /* AF_INET, AF_INET6, AF_UNIX; AF_UNSPEC until connect or bind */
    uint8_t role;   /* enum socket_role */
    bool closed;    /* by close(): no operation makes a descriptor any more */
    bool drained;   /* the last read got less than it could: the next one waits at once */
    bool connecting; /* connect() goes on in the background */
    bool pinned;    /* its buffer is being made a string: see push_bytes */
    double block;   /* limit of each wait, seconds; < 0: none */
    double total;   /* limit of each call, seconds; < 0: none */
    double began[2];     /* when the running call began, by enum io_way; with `total` only */
    char *buffer;        /* what was received and not yet asked for, NULL when empty */
    size_t start, length, size; /* its valid part, and its capacity */
    size_t searched;     /* bytes of it known to have no end of what is being received */
    size_t written;      /* how far the running send is */
    double received, sent, born; /* for getstats */
};

#endif
