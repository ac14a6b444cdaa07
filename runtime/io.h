/* io.h: greenlets that wait until a descriptor can be read or written.
 *
 * One waiter for each descriptor and direction. The watcher of a direction is started by
 * the first wait and stays so: a greenlet that is back before the next poll costs libev
 * nothing. It stops itself when it finds the descriptor ready and nobody waiting.
 *
 * A direction belongs to one call at a time. A greenlet that was woken, or that lets others
 * run in the middle of its call, holds it until it runs again: nobody can take the bytes
 * for which it waited. */
#ifndef GLUA_IO_H
#define GLUA_IO_H

#include <ev.h>
#include <lua.h>

struct hub;
struct greenlet;

enum io_way { IO_READ, IO_WRITE };

struct io {
    struct ev_io watcher[2];    /* by enum io_way */
    struct greenlet *waiter[2]; /* PARKED greenlets, or NULL */
    struct greenlet *holder[2]; /* READY ones whose call goes on when they run, or NULL */
};

void io_init(struct io *io, int fd);

static inline int io_fd(const struct io *io) { return io->watcher[0].fd; }

/* Parks the running greenlet until the descriptor is ready `way`, at most `seconds`
 * (< 0: no limit). The caller has asked greenlet_is_interrupted and io_check. */
int io_park(struct hub *h, lua_State *L, struct io *io, enum io_way way, double seconds,
            const char *why);

/* Lets other greenlets run in the middle of a call that did not have to wait. */
int io_yield(struct hub *h, lua_State *L, struct io *io, enum io_way way);

/* The holder runs again: what it does with the direction is its business now. */
static inline void io_release(struct io *io, enum io_way way) { io->holder[way] = NULL; }

/* Raises an error that names both greenlets if the direction is another one's. */
void io_check(struct hub *h, lua_State *L, struct io *io, enum io_way way);

/* Takes a greenlet away from the descriptor on which it is parked. */
void io_forget(struct hub *h, struct greenlet *g);

/* Stops both watchers and wakes who waits; they find the descriptor closed. */
void io_stop(struct hub *h, struct io *io);

#endif
