/* greenlet.h: the machine's half of a greenlet: one coroutine that the hub runs.
 *
 * Here is what stops and goes on: spawn, park, wake, interrupt. It knows a coroutine and
 * where that waits, and nothing of results, links or names: those belong to the Greenlet
 * object of Lua (box.h), which a greenlet of spawn_raw does without.
 *
 * States and who changes them:
 *
 *            greenlet_start            greenlet_resume
 *     NEW ---------------------> READY ---------------> RUNNING --- returns ---> DEAD
 *                                  ^                       |
 *                                  +------- PARKED <-------+
 *                              greenlet_wake       greenlet_park
 *
 * A greenlet is in one state at a time, and only PARKED can be woken, so a wake counts
 * once: a timeout, a kill and readiness may all come in the same turn, the first wins. */
#ifndef GLUA_GREENLET_H
#define GLUA_GREENLET_H

#include <stdbool.h>
#include <stdint.h>

#include <lua.h>

#include "timer.h"
#include "waitlist.h"

struct hub;
struct box;
struct io;

enum greenlet_state {
    GREENLET_DEAD,    /* over; its struct is on the hub's free list */
    GREENLET_NEW,     /* has its function, waits for its start or for its delay */
    GREENLET_READY,   /* in the ready queue */
    GREENLET_RUNNING, /* the hub's `current` */
    GREENLET_PARKED,  /* has yielded to the hub and stands where greenlet_wake finds it */
    GREENLET_ENDED,   /* ended while in the ready queue; dead when it comes out of it */
};

/* Why a parked greenlet goes on. It decides what its park returns to Lua:
 * nothing or (nil, values), false, or true; see lua/glua/park.lua. */
enum wake_cause {
    WAKE_DONE,      /* what it waited for is there; values may come with it */
    WAKE_YIELDED,   /* it only let others run: an interrupt may still overtake */
    WAKE_TIMEOUT,   /* the time is over */
    WAKE_INTERRUPT, /* somebody wants it to raise: kill, Timeout, LoopExit ... */
};

/* A switch touches the first cache line only. */
struct greenlet {
    lua_State *L;       /* its coroutine, from its first run on; NULL before */
    uint8_t state;      /* enum greenlet_state */
    uint8_t cause;      /* READY: enum wake_cause */
    uint8_t nvalues;    /* READY: values on L's stack which park shall return */
    uint8_t io_way;     /* PARKED on a descriptor: IO_READ or IO_WRITE */
    bool has_run;       /* it was resumed at least once */
    bool interrupted;   /* the next park shall not wait but raise */
    bool exposed;       /* a script has seen the coroutine: it is not used again */
    bool abandoned;     /* it goes on ignoring kills: the hub lets it drop */
    unsigned slot;      /* its index in hub->slots and in ANCHOR_LIVE */
    unsigned coroutine; /* index of L in ANCHOR_COROUTINES */
    lua_State *at;      /* PARKED: the coroutine that parked, L or one of the script's */
    const char *why;    /* PARKED: what it does, a string that stays */
    struct box *box;    /* its Greenlet object, or NULL; anchored while it lives */
    struct io *io;      /* PARKED on a descriptor: where its name stands */
    uint64_t id;        /* number of the spawn, never used twice */

    struct timer timer;   /* PARKED: end of the wait; NEW: end of the delay */
    struct waiter waiter; /* PARKED: its place in the wait list */
    struct alarm *alarms; /* of the Timeouts that it started */
    struct waiter *many;  /* PARKED on several lists: its places there */
    unsigned many_count;
    unsigned short shield; /* depth of shield(): alarms of lower levels wait */
};

/* A time after which a greenlet is interrupted: the C half of a Timeout. */
struct alarm {
    struct timer timer;
    struct alarm *next, **link; /* in greenlet->alarms while armed or expired */
    struct greenlet *g;         /* NULL: not armed */
    unsigned short shield;      /* the greenlet's shield depth when it was armed */
    bool expired;
};

/* A NEW greenlet that will run the function, with its arguments, which are on top of L:
 * nargs + 1 values, popped. Raises in L when there is no memory. */
struct greenlet *greenlet_new(struct hub *h, lua_State *L, int nargs);

/* Puts a NEW greenlet into the ready queue. */
void greenlet_start(struct hub *h, struct greenlet *g);

/* As greenlet_start, `seconds` from now. */
void greenlet_start_later(struct hub *h, struct greenlet *g, double seconds);

/* Runs a READY greenlet until it parks or ends. For the hub. */
void greenlet_resume(struct hub *h, struct greenlet *g);

/* Parks the running greenlet, which the caller has registered where it will be woken; a
 * binding returns the result of this call: `return greenlet_park(...)`. `seconds` < 0:
 * without a limit. Where the coroutine cannot yield, does what can be done without: see
 * greenlet_park_blocking. */
int greenlet_park(struct hub *h, lua_State *L, double seconds, const char *why);

/* Whether a park of the running greenlet in L can yield: no C function is in between, and no
 * hook or finalizer runs. */
bool greenlet_can_yield(const struct hub *h, lua_State *L);

/* What a park does where L cannot yield (a C function is in between): takes the
 * registration back; then a wait for time or for a descriptor blocks the program for this
 * one thing, with a warning once; any other returns (true, message). */
int greenlet_park_blocking(struct hub *h, lua_State *L);

/* Lets every other ready greenlet run once before the calling one goes on. */
int greenlet_yield(struct hub *h, lua_State *L);

/* Whether the running greenlet has to raise and not to park; asked before anything is
 * registered. A binding then returns greenlet_raise(). */
bool greenlet_is_interrupted(const struct hub *h);
int greenlet_raise(lua_State *L);

/* Takes a PARKED greenlet from where it waits and makes it READY. Returns false, and does
 * nothing, for one that is not PARKED. */
bool greenlet_wake(struct hub *h, struct greenlet *g, enum wake_cause cause);

/* The next park of g raises; one that is PARKED is woken for it. Does nothing while g is
 * shielded deeper than `shield`, where what it shall raise comes from. */
void greenlet_interrupt(struct hub *h, struct greenlet *g, unsigned shield);

/* Has a greenlet that has never run call, soon, the function and arguments on top of L in
 * place of its own: nargs + 1 values, popped. */
void greenlet_call_instead(struct hub *h, lua_State *L, struct greenlet *g, int nargs);

/* Ends a greenlet that has never run, NEW or READY, as killed. */
void greenlet_discard(struct hub *h, struct greenlet *g);

/* The greenlet that a handle of spawn_raw stands for, or NULL when it has ended. */
struct greenlet *greenlet_find(struct hub *h, double handle);
double greenlet_handle(const struct greenlet *g);

/* Arms an alarm of the greenlet g, `seconds` from now; disarming twice is harmless. */
void alarm_arm(struct hub *h, struct alarm *a, struct greenlet *g, double seconds);
void alarm_disarm(struct hub *h, struct alarm *a);

/* C function for ANCHOR_MAKE. */
int greenlet_make_coroutine(lua_State *L);

/* What an inner coroutine yields when it parks; lua/glua/coroutine.lua passes it on. */
void greenlet_push_sentinel(lua_State *L);

#endif
