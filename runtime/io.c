/* io.c: greenlets that wait until a descriptor can be read or written. See io.h. */

#include <lauxlib.h>

#include "box.h"
#include "hub.h"
#include "io.h"
#include "report.h"
#include "util.h"

static void ready_cb(struct ev_loop *loop, struct ev_io *w, int revents) {
    struct io *io = w->data;
    enum io_way way = w == &io->watcher[IO_WRITE] ? IO_WRITE : IO_READ;
    struct greenlet *g = io->waiter[way];
    UNUSED(revents); /* an error shows itself when the system call is tried again */
    if (g && greenlet_wake(hub_self, g, WAKE_DONE))
        io->holder[way] = g;
    else
        ev_io_stop(loop, w);
}

void io_init(struct io *io, int fd) {
    ev_io_init(&io->watcher[IO_READ], ready_cb, fd, EV_READ);
    ev_io_init(&io->watcher[IO_WRITE], ready_cb, fd, EV_WRITE);
    io->watcher[IO_READ].data = io->watcher[IO_WRITE].data = io;
    io->waiter[IO_READ] = io->waiter[IO_WRITE] = NULL;
    io->holder[IO_READ] = io->holder[IO_WRITE] = NULL;
}

void io_check(struct hub *h, lua_State *L, struct io *io, enum io_way way) {
    struct greenlet *owner = io->waiter[way];
    if (!owner && io->holder[way] && io->holder[way]->state == GREENLET_READY)
        owner = io->holder[way];
    if (!owner) return;
    if (!h->current) report_error(L, "descriptor %d is in use", io_fd(io));
    box_push(h, L, owner);
    box_push(h, L, h->current);
    box_describe(L, -2);
    box_describe(L, -2);
    report_error(L, "descriptor %d is already being %s by %s; %s cannot too", io_fd(io),
                 way == IO_READ ? "read" : "written", lua_tostring(L, -2),
                 lua_tostring(L, -1));
}

int io_park(struct hub *h, lua_State *L, struct io *io, enum io_way way, double seconds,
            const char *why) {
    struct greenlet *g = h->current;
    ev_io_start(h->loop, &io->watcher[way]);
    io->waiter[way] = g;
    g->io = io;
    g->io_way = (uint8_t)way;
    h->io_waits++;
    return greenlet_park(h, L, seconds, why);
}

int io_yield(struct hub *h, lua_State *L, struct io *io, enum io_way way) {
    io->holder[way] = h->current;
    return greenlet_yield(h, L);
}

void io_forget(struct hub *h, struct greenlet *g) {
    if (!g->io) return;
    g->io->waiter[g->io_way] = NULL;
    g->io = NULL;
    h->io_waits--;
}

void io_stop(struct hub *h, struct io *io) {
    for (int way = IO_READ; way <= IO_WRITE; way++) {
        ev_io_stop(h->loop, &io->watcher[way]);
        if (io->waiter[way]) greenlet_wake(h, io->waiter[way], WAKE_DONE);
    }
}
