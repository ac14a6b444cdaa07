/* hub.h: the hub: the libev loop, the ready queue, and the greenlets that it runs.
 *
 * One hub for each OS thread; hub_self is the calling thread's. A turn is:
 *
 *     run what is ready -> close what was closed -> poll libev -> fire what is due
 *
 * Greenlets are run in the order in which they became ready. A turn leaves the ready
 * queue for a poll when it is empty, or when the last poll is POLL_INTERVAL ago: so
 * descriptors and timers are served under any load, and a switch does not cost a system
 * call. When nothing is ready the poll waits in libev. */
#ifndef GLUA_HUB_H
#define GLUA_HUB_H

#include <ev.h>
#include <lua.h>

#include "greenlet.h"

/* A busy hub polls this often, in seconds. */
#define POLL_INTERVAL 200e-6

/* How many socket calls of one greenlet may succeed at once before it lets others run. */
#define IO_BUDGET 64

/* Size of the hub's shared read buffer: the most that one receive takes from the kernel. */
#define IO_BUFFER 65536

/* Greenlets' structs are allocated so many at a time. */
#define SLAB 64

/* How many coroutines of ended greenlets are kept for the next ones. */
#define SPARE_COROUTINES 16384

/* A coroutine that waits for its next greenlet. */
struct spare {
    lua_State *L;
    unsigned index; /* in ANCHOR_COROUTINES */
};

struct hub {
    struct ev_loop *loop;
    lua_State *L;             /* the main state: the hub's own few Lua calls run on it */
    lua_State *anchors;       /* never runs; its stack holds, at ANCHOR_*, what C needs */
    struct greenlet *current; /* the one that runs, NULL between two */
    struct greenlet *main;    /* the script; the hub stops when it ends */

    struct greenlet **ready; /* ring buffer; NULL entries were ended in the queue */
    unsigned ready_head, ready_count, ready_size;

    struct greenlet **slots; /* all structs, by greenlet->slot; pointers stay valid */
    unsigned slot_count, slot_size;
    struct greenlet **free; /* structs of ended greenlets, last used on top */
    unsigned free_count;
    struct spare *spare; /* coroutines of ended greenlets, last used on top */
    unsigned spare_count;
    unsigned *holes; /* unused indices of ANCHOR_COROUTINES up to coroutine_count */
    unsigned hole_count, hole_size;
    unsigned coroutine_count;
    unsigned live;     /* greenlets that are not DEAD */
    uint64_t last_id;  /* of the last spawn */
    uint64_t last_end; /* counts ended Greenlets: their order of completion */

    double now;    /* the clock as it was last read, seconds */
    double polled; /* `now` at the end of the last poll */
    struct timers timers;
    struct ev_timer alarm; /* wakes libev at the earliest of `timers` */
    double alarm_at;       /* what it is set to; < 0: stopped */

    struct waitlist idle;    /* greenlets in glua.idle() */
    struct waitlist drained; /* greenlets in glua.wait() without objects */
    unsigned io_waits;       /* greenlets parked on a descriptor */
    unsigned refs;           /* signal watchers: main may wait for them for ever */
    int io_budget;           /* what `current` has left of IO_BUDGET */
    char *io_buffer;
    int *closing; /* descriptors to be closed before the next poll */
    unsigned closing_count, closing_size;
    const void *globals;  /* of coroutines whose script did not change them */
    unsigned unyieldable; /* hooks and finalizers that run now: see core_hook.c */
    bool stopped;         /* hub_run returns */

    struct ev_async sigint; /* SIGINT came */
    bool loop_exit;         /* main is to raise LoopExit */
    bool was_interrupted;   /* main is to raise "interrupted" */
    bool warned_blocking;   /* the warning of greenlet_park_blocking was printed */

    unsigned long switches, polls; /* counted for glua.gethub() */
};

/* Stack indices of hub->anchors. */
enum {
    ANCHOR_LIVE = 1,   /* table: two values for each slot, see ANCHORED_* */
    ANCHOR_ARGUMENTS,  /* table: by slot, the argument of a greenlet that has yet to run */
    ANCHOR_COROUTINES, /* table: coroutines by index, in use and spare */
    ANCHOR_MAKE,       /* C function that makes a coroutine, see greenlet.c */
    ANCHOR_CALLER,     /* the script's function that spawned last, see core.c */
    ANCHOR_META,       /* metatable of Greenlet objects */
    ANCHOR_END,        /* C function that settles the end of a Greenlet, see box.c */
    ANCHOR_HOOKS,      /* table of Lua functions that C calls: see core.c */
    ANCHOR_TEXTS,      /* table with the strings that wait lists have as their `why` */
};

/* The values of a greenlet in ANCHOR_LIVE are at 2 * slot + these. */
enum {
    ANCHORED_FUNCTION = 1, /* before the first run: what it will call */
    ANCHORED_OBJECT,       /* its Greenlet object, if it has one */
};

extern __thread struct hub *hub_self;

/* Makes the calling thread's hub over a fresh state. NULL with errno when libev has no loop. */
struct hub *hub_new(lua_State *L);

/* Stops every watcher and frees the hub; lua_close comes before. */
void hub_free(struct hub *h);

/* Runs until hub->stopped, or until `seconds` are over, < 0: no limit. */
void hub_run(struct hub *h, double seconds);

/* Reads the clock and returns it. The one place where time comes from. */
double hub_clock(struct hub *h);

/* The next ready greenlet, taken from the queue, or NULL. The one place where the order
 * of running is decided. */
struct greenlet *hub_next_ready(struct hub *h);

void hub_make_ready(struct hub *h, struct greenlet *g);

/* Lets g, which has just made itself ready and then could not yield, run on. */
void hub_take_back_ready(struct hub *h, struct greenlet *g);

/* Closes fd before the next poll, so that its number is not used again within the turn
 * in which greenlets may still remember it. */
void hub_close_fd(struct hub *h, int fd);

/* Closes them now: for who got EMFILE. Returns whether there were any. */
bool hub_flush_closing(struct hub *h);

/* SIGINT raises "interrupted" in main; a second one ends the program. */
void hub_watch_sigint(struct hub *h);

/* Calls the C function at `index` (ANCHOR_*) of the anchors with g, protected. Whatever
 * allocates may run a script's finalizer, and LuaJIT has the finalizer's error come out
 * there: it is printed and the function is called again, so that has to bear being called
 * twice. Returns false when there is no memory. */
bool hub_call(struct hub *h, int index, struct greenlet *g);

/* Sets the value `which` (ANCHORED_*) of a greenlet to the one on top of L, popped. */
void hub_anchor(struct hub *h, lua_State *L, const struct greenlet *g, int which);

/* Pushes the value `which` (ANCHORED_*) of a greenlet on L. */
void hub_push_anchored(struct hub *h, lua_State *L, const struct greenlet *g, int which);

/* Pushes the value at `index` (ANCHOR_*) of the anchors on L. */
void hub_push_anchor(struct hub *h, lua_State *L, int index);

#endif
