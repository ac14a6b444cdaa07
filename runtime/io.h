/* io.h: greenlets that wait until a descriptor can be read or written.
 *
 * One waiter for each descriptor and direction. The watcher of a direction is started by
 * the first wait and stays so: a greenlet that is back before the next poll costs libev
 * nothing. It stops itself when it finds the descriptor ready and nobody waiting. */
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
};

void io_init(struct io *io, int fd);

static inline int io_fd(const struct io *io) { return io->watcher[0].fd; }

/* Parks the running greenlet until the descriptor is ready `way`, at most `seconds`
 * (< 0: no limit). The caller has asked greenlet_is_interrupted and io_check. */
int io_park(struct hub *h, lua_State *L, struct io *io, enum io_way way, double seconds,
            const char *why);

/* Raises an error that names both greenlets if somebody waits there already. */
void io_check(struct hub *h, lua_State *L, struct io *io, enum io_way way);

/* Takes a greenlet away from the descriptor on which it is parked. */
void io_forget(struct hub *h, struct greenlet *g);

/* Stops both watchers and wakes who waits; they find the descriptor closed. */
void io_stop(struct hub *h, struct io *io);

#endif
