/* greenlet.c: spawn, park, wake, end. See greenlet.h for the model.
 *
 * Structs are taken from slabs and never given back, so a pointer to one stays valid and
 * only its id tells which greenlet it is. A struct keeps its coroutine when its greenlet
 * has returned cleanly: the next one starts on it with lua_resume, as if it were new. */

#include <assert.h>
#include <math.h>
#include <poll.h>
#include <time.h>

#include <lauxlib.h>

#include "box.h"
#include "hub.h"
#include "io.h"
#include "report.h"
#include "util.h"

/* Its address is the value that an inner coroutine yields when it parks. */
static char sentinel;

void greenlet_push_sentinel(lua_State *L) { lua_pushlightuserdata(L, &sentinel); }

/* ---- structs ---- */

static void add_slab(struct hub *h) {
    if (h->slot_count + SLAB > h->slot_size) {
        h->slot_size = h->slot_size ? h->slot_size * 2 : 4 * SLAB;
        size_t bytes = h->slot_size * sizeof(struct greenlet *);
        h->slots = xrealloc(h->slots, bytes);
        h->free = xrealloc(h->free, bytes);
    }
    struct greenlet *slab = xmalloc_aligned(64, SLAB * sizeof(*slab));
    for (int i = SLAB - 1; i >= 0; i--) {
        struct greenlet *g = &slab[i];
        *g = (struct greenlet){.slot = h->slot_count + (unsigned)i};
        g->waiter.g = g;
        h->slots[g->slot] = g;
        h->free[h->free_count++] = g;
    }
    h->slot_count += SLAB;
}

static void forget(struct hub *h, struct greenlet *g, int which) {
    lua_pushnil(h->anchors);
    hub_anchor(h, h->anchors, g, which);
}

/* ---- coroutines ---- */

/* make(greenlet): gives it a coroutine with the ordinary globals. Runs protected on the
 * hub's state: it allocates, and a step of the collector may run a script's finalizer. */
int greenlet_make_coroutine(lua_State *L) {
    struct hub *h = hub_self;
    struct greenlet *g = lua_touserdata(L, 1);
    lua_State *co = lua_newthread(L);
    lua_pushvalue(h->anchors, LUA_GLOBALSINDEX);
    lua_xmove(h->anchors, co, 1);
    lua_replace(co, LUA_GLOBALSINDEX);
    unsigned index =
        h->hole_count > 0 ? h->holes[h->hole_count - 1] : h->coroutine_count + 1;
    lua_xmove(L, h->anchors, 1);
    lua_rawseti(h->anchors, ANCHOR_COROUTINES, (int)index);
    if (h->hole_count > 0)
        h->hole_count--;
    else
        h->coroutine_count++;
    g->L = co;
    g->coroutine = index;
    return 0;
}

/* Gives g a coroutine, a spare one if there is any; false when there is no memory. */
static bool take_coroutine(struct hub *h, struct greenlet *g) {
    if (h->spare_count == 0) return hub_call(h, ANCHOR_MAKE, g);
    struct spare *s = &h->spare[--h->spare_count];
    g->L = s->L;
    g->coroutine = s->index;
    return true;
}

/* Whether the coroutine is as a new one: nobody else holds it and it has the ordinary
 * globals. */
static bool is_reusable(struct hub *h, struct greenlet *g) {
    return !g->exposed && h->spare_count < SPARE_COROUTINES &&
           lua_topointer(g->L, LUA_GLOBALSINDEX) == h->globals;
}

/* Takes the coroutine from g, for the next greenlet if it may be used again. */
static void drop_coroutine(struct hub *h, struct greenlet *g, bool clean) {
    if (clean && is_reusable(h, g)) {
        lua_settop(g->L, 0);
        h->spare[h->spare_count++] = (struct spare){g->L, g->coroutine};
    } else {
        if (h->hole_count == h->hole_size) {
            h->hole_size = h->hole_size ? h->hole_size * 2 : 64;
            h->holes = xrealloc(h->holes, h->hole_size * sizeof(*h->holes));
        }
        h->holes[h->hole_count++] = g->coroutine;
        lua_pushnil(h->anchors);
        lua_rawseti(h->anchors, ANCHOR_COROUTINES, (int)g->coroutine);
    }
    g->L = NULL;
}

/* ---- birth and death ---- */

/* Anchors the argument of g's call, which is on top of L, popped. */
static void set_argument(struct hub *h, lua_State *L, struct greenlet *g) {
    if (L != h->anchors) lua_xmove(L, h->anchors, 1);
    lua_rawseti(h->anchors, ANCHOR_ARGUMENTS, (int)g->slot + 1);
}

/* Up to one argument waits for the first run in the anchors, and the greenlet takes its
 * coroutine only then: so a thousand short ones that were spawned together run on one
 * coroutine. With more arguments it takes it now. False: there are too many. */
static bool set_call(struct hub *h, lua_State *L, struct greenlet *g, int nargs) {
    if (nargs > 1) {
        if (!g->L && !take_coroutine(h, g)) return false;
        if (nargs > LUA_MINSTACK / 2 && !lua_checkstack(g->L, nargs + 1)) return false;
        lua_xmove(L, g->L, nargs + 1);
    } else {
        if (nargs == 1) set_argument(h, L, g);
        hub_anchor(h, L, g, ANCHORED_FUNCTION);
    }
    g->nvalues = (uint8_t)nargs;
    return true;
}

/* Takes back what set_call did, except for the coroutine. */
static void forget_call(struct hub *h, struct greenlet *g) {
    if (g->L) {
        lua_settop(g->L, 0);
        return;
    }
    forget(h, g, ANCHORED_FUNCTION);
    lua_pushnil(h->anchors);
    set_argument(h, h->anchors, g);
}

static void release(struct hub *h, struct greenlet *g, bool clean) {
    g->state = GREENLET_DEAD;
    h->live--;
    if (g == h->main) return; /* the hub goes on asking for its state */
    if (g->L) drop_coroutine(h, g, clean);
    h->free[h->free_count++] = g;
}

/* The struct leaves the free list first of all: set_call may allocate, and a finalizer that
 * the collector runs then may spawn too. */
struct greenlet *greenlet_new(struct hub *h, lua_State *L, int nargs) {
    if (h->free_count == 0) add_slab(h);
    struct greenlet *g = h->free[--h->free_count];
    g->id = ++h->last_id;
    g->state = GREENLET_NEW;
    g->interrupted = g->exposed = g->has_run = g->abandoned = false;
    g->shield = 0;
    g->box = NULL;
    h->live++;
    if (!set_call(h, L, g, nargs)) {
        release(h, g, true);
        luaL_error(L, "too many arguments for a greenlet: %d", nargs);
    }
    return g;
}

void greenlet_call_instead(struct hub *h, lua_State *L, struct greenlet *g, int nargs) {
    forget_call(h, g);
    assert(nargs > 1); /* fewer would not go to the coroutine that it may have */
    set_call(h, L, g, nargs);
    timer_stop(&h->timers, &g->timer);
    if (g->state == GREENLET_NEW) hub_make_ready(h, g);
}

/* Hands over what is told of the end, and lets go of the Greenlet object. */
static void end(struct hub *h, struct greenlet *g, enum box_end how) {
    while (g->alarms)
        alarm_disarm(h, g->alarms);
    if (g->box || how == BOX_RAISED) box_end(h, g, how);
    if (g->box) {
        forget(h, g, ANCHORED_OBJECT);
        g->box = NULL;
    }
    if (g == h->main) h->stopped = true;
}

/* ---- handles ---- */

/* A handle is a double: 24 bits of slot, 29 of id. */
#define HANDLE_SLOTS (1u << 24)
#define HANDLE_IDS (1u << 29)

double greenlet_handle(const struct greenlet *g) {
    return (double)(g->id % HANDLE_IDS) * HANDLE_SLOTS + g->slot;
}

struct greenlet *greenlet_find(struct hub *h, double handle) {
    double slot = fmod(handle, HANDLE_SLOTS);
    if (!(slot >= 0 && slot < h->slot_count)) return NULL;
    struct greenlet *g = h->slots[(unsigned)slot];
    bool alive = g->state != GREENLET_DEAD && g->state != GREENLET_ENDED;
    return alive && greenlet_handle(g) == handle ? g : NULL;
}

/* ---- start, run, end ---- */

void greenlet_start(struct hub *h, struct greenlet *g) { hub_make_ready(h, g); }

static void delay_over(struct hub *h, struct timer *t) {
    struct greenlet *g = (struct greenlet *)((char *)t - offsetof(struct greenlet, timer));
    hub_make_ready(h, g);
}

void greenlet_start_later(struct hub *h, struct greenlet *g, double seconds) {
    timer_start(&h->timers, &g->timer, hub_clock(h) + seconds, delay_over);
}

/* The first run: puts function and arguments on the coroutine; returns their number. */
static int push_call(struct hub *h, struct greenlet *g) {
    if (g->L) return lua_gettop(g->L) - 1;
    if (!take_coroutine(h, g)) luaL_error(h->L, "not enough memory for a greenlet");
    hub_push_anchored(h, g->L, g, ANCHORED_FUNCTION);
    forget(h, g, ANCHORED_FUNCTION);
    if (g->nvalues == 0) return 0;
    lua_rawgeti(h->anchors, ANCHOR_ARGUMENTS, (int)g->slot + 1);
    lua_xmove(h->anchors, g->L, 1);
    lua_pushnil(h->anchors);
    set_argument(h, h->anchors, g);
    return 1;
}

/* Pushes what the park returns, where that is not on the stack already; returns the number
 * of values. */
static int push_outcome(struct greenlet *g) {
    switch ((enum wake_cause)g->cause) {
    case WAKE_DONE: return g->nvalues;
    case WAKE_YIELDED:
        if (!g->interrupted) return 0;
        lua_pushboolean(g->L, 1);
        return 1;
    case WAKE_TIMEOUT: lua_pushboolean(g->L, 0); return 1;
    case WAKE_INTERRUPT: lua_pushboolean(g->L, 1); return 1;
    }
    return 0;
}

void greenlet_resume(struct hub *h, struct greenlet *g) {
    if (g->state == GREENLET_ENDED) { /* discarded while it stood in the queue */
        release(h, g, true);
        return;
    }
    int n = g->has_run ? push_outcome(g) : push_call(h, g);
    g->has_run = true;
    g->state = GREENLET_RUNNING;
    h->current = g;
    h->io_budget = IO_BUDGET;
    h->switches++;
    int status = lua_resume(g->L, n);
    h->current = NULL;
    if (status == LUA_YIELD) {
        if (g->state != GREENLET_RUNNING && !g->abandoned) return;
        lua_pushstring(g->L, g->abandoned ? "it was killed, and went on a hundred times"
                                          : "it yielded to nobody");
        status = LUA_ERRRUN;
    }
    end(h, g, status == 0 ? BOX_RETURNED : BOX_RAISED);
    release(h, g, status == 0);
}

void greenlet_discard(struct hub *h, struct greenlet *g) {
    bool queued = g->state == GREENLET_READY;
    timer_stop(&h->timers, &g->timer);
    forget_call(h, g);
    end(h, g, BOX_KILLED);
    if (queued)
        g->state = GREENLET_ENDED;
    else
        release(h, g, true);
}

/* ---- park and wake ---- */

bool greenlet_is_interrupted(const struct hub *h) { return h->current->interrupted; }

int greenlet_raise(lua_State *L) {
    lua_pushboolean(L, 1);
    return 1;
}

static void time_over(struct hub *h, struct timer *t) {
    struct greenlet *g = (struct greenlet *)((char *)t - offsetof(struct greenlet, timer));
    greenlet_wake(h, g, WAKE_TIMEOUT);
}

bool greenlet_can_yield(const struct hub *h, lua_State *L) {
    return h->unyieldable == 0 && lua_isyieldable(L);
}

/* Yields to the hub: at once, or from an inner coroutine through those around it. */
static int yield(lua_State *L, struct greenlet *g) {
    if (L == g->L) return lua_yield(L, 0);
    greenlet_push_sentinel(L);
    return lua_yield(L, 1);
}

int greenlet_park(struct hub *h, lua_State *L, double seconds, const char *why) {
    struct greenlet *g = h->current;
    g->state = GREENLET_PARKED;
    g->at = L;
    g->why = why;
    if (seconds >= 0) timer_start(&h->timers, &g->timer, hub_clock(h) + seconds, time_over);
    if (!greenlet_can_yield(h, L)) return greenlet_park_blocking(h, L);
    return yield(L, g);
}

int greenlet_yield(struct hub *h, lua_State *L) {
    struct greenlet *g = h->current;
    if (!greenlet_can_yield(h, L)) return 0;
    g->cause = WAKE_YIELDED;
    hub_make_ready(h, g);
    return yield(L, g);
}

/* Takes g from everywhere where a wake could find it. */
static void detach(struct hub *h, struct greenlet *g) {
    list_remove(&g->waiter.link);
    for (unsigned i = 0; i < g->many_count; i++)
        list_remove(&g->many[i].link);
    g->many = NULL;
    g->many_count = 0;
    timer_stop(&h->timers, &g->timer);
    io_forget(h, g);
}

bool greenlet_wake(struct hub *h, struct greenlet *g, enum wake_cause cause) {
    if (g->state != GREENLET_PARKED) return false;
    detach(h, g);
    g->nvalues = 0;
    g->cause = (uint8_t)cause;
    hub_make_ready(h, g);
    return true;
}

void greenlet_interrupt(struct hub *h, struct greenlet *g, unsigned shield) {
    if (g->shield > shield) return;
    g->interrupted = true;
    greenlet_wake(h, g, WAKE_INTERRUPT);
}

/* Sleeps until the deadline (< 0: none), or polls fd when it is >= 0. Returns whether what
 * was waited for is there. Signals in between do not shorten it. */
static bool block(struct hub *h, int fd, short events, double deadline) {
    for (;;) {
        double left = deadline < 0 ? -1 : deadline - hub_clock(h);
        if (deadline >= 0 && left <= 0) return fd < 0;
        struct pollfd p = {.fd = fd, .events = events};
        int ms = left < 0 ? -1 : left > 1e6 ? 1000000000 : (int)ceil(left * 1e3);
        if (poll(&p, fd >= 0, ms) > 0) return true;
    }
}

int greenlet_park_blocking(struct hub *h, lua_State *L) {
    struct greenlet *g = h->current;
    bool timed = timer_is_started(&g->timer);
    double deadline = timed ? g->timer.at : -1;
    int fd = g->io ? io_fd(g->io) : -1;
    short events = g->io_way == IO_READ ? POLLIN : POLLOUT;
    bool listed = link_is_in(&g->waiter.link) || g->many_count > 0;
    detach(h, g);
    g->state = GREENLET_RUNNING;
    if (listed || (fd < 0 && !timed)) {
        lua_pushboolean(L, 1);
        report_push_obstacle(L, g->why);
        return 2;
    }
    report_warn_blocking(h, L, g->why);
    if (block(h, fd, events, deadline)) return 0;
    lua_pushboolean(L, 0);
    return 1;
}

/* ---- alarms ---- */

static void alarm_fire(struct hub *h, struct timer *t) {
    struct alarm *a = (struct alarm *)t;
    a->expired = true;
    if (a->shield >= a->g->shield) {
        a->g->interrupted = true;
        greenlet_wake(h, a->g, WAKE_INTERRUPT);
    }
}

void alarm_arm(struct hub *h, struct alarm *a, struct greenlet *g, double seconds) {
    alarm_disarm(h, a);
    a->g = g;
    a->expired = false;
    a->shield = g->shield;
    a->next = g->alarms;
    a->link = &g->alarms;
    if (a->next) a->next->link = &a->next;
    g->alarms = a;
    timer_start(&h->timers, &a->timer, hub_clock(h) + seconds, alarm_fire);
}

void alarm_disarm(struct hub *h, struct alarm *a) {
    timer_stop(&h->timers, &a->timer);
    if (!a->g) return;
    *a->link = a->next;
    if (a->next) a->next->link = a->link;
    a->g = NULL;
}
