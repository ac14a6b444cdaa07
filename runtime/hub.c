/* hub.c: the loop. See hub.h for the model.
 *
 * hub_run is the subject of this file: each line of it is a phase, and the policy (is
 * anything left? how long may the poll wait?) stands in the functions above it. */

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <lauxlib.h>

#include "hub.h"
#include "util.h"

__thread struct hub *hub_self;

/* For the signal handler, which has no other way to the hub. */
static struct hub *sigint_hub;
static volatile sig_atomic_t sigint_count;

double hub_clock(struct hub *h) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return h->now = (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- ready queue ---- */

static void ready_grow(struct hub *h) {
    unsigned size = h->ready_size ? h->ready_size * 2 : 256;
    struct greenlet **ring = xmalloc(size * sizeof(*ring));
    for (unsigned i = 0; i < h->ready_count; i++)
        ring[i] = h->ready[(h->ready_head + i) & (h->ready_size - 1)];
    free(h->ready);
    h->ready = ring;
    h->ready_head = 0;
    h->ready_size = size;
}

void hub_make_ready(struct hub *h, struct greenlet *g) {
    if (h->ready_count == h->ready_size) ready_grow(h);
    h->ready[(h->ready_head + h->ready_count++) & (h->ready_size - 1)] = g;
    g->state = GREENLET_READY;
}

void hub_take_back_ready(struct hub *h, struct greenlet *g) {
    h->ready_count--;
    assert(h->ready[(h->ready_head + h->ready_count) & (h->ready_size - 1)] == g);
    g->state = GREENLET_RUNNING;
}

struct greenlet *hub_next_ready(struct hub *h) {
    if (h->ready_count == 0) return NULL;
    struct greenlet *g = h->ready[h->ready_head];
    h->ready_head = (h->ready_head + 1) & (h->ready_size - 1);
    h->ready_count--;
    if (h->ready_count > 1) { /* hide the cache misses of the ones after */
        unsigned mask = h->ready_size - 1;
        struct greenlet *next = h->ready[h->ready_head];
        __builtin_prefetch(h->ready[(h->ready_head + 1) & mask]);
        __builtin_prefetch((char *)next->L + 32);
    }
    return g;
}

/* Runs ready greenlets until there are none or a poll is due. All that were ready after the
 * last poll come first: what it found for them would be found again, as long as they have
 * not read it, and nobody whom the next poll wakes would run before them anyway. Then the
 * clock is read after `burst` of them, and burst follows what they cost: many short ones
 * share a reading, a few long ones have one each. */
static void run_ready(struct hub *h) {
    const unsigned burst_max = 64;
    unsigned burst = h->ready_count, n = 0;
    double since = h->polled;
    struct greenlet *g;
    while ((g = hub_next_ready(h)) != NULL) {
        greenlet_resume(h, g);
        if (h->stopped) return;
        if (++n < burst) continue;
        double now = hub_clock(h), each = (now - since) / n;
        if (now - h->polled >= POLL_INTERVAL) return;
        burst = each * burst_max < POLL_INTERVAL / 4 ? burst_max
                                                     : (unsigned)(POLL_INTERVAL / 4 / each);
        if (burst == 0) burst = 1;
        since = now;
        n = 0;
    }
}

/* ---- descriptors to close ---- */

void hub_close_fd(struct hub *h, int fd) {
    if (h->closing_count == h->closing_size) {
        h->closing_size = h->closing_size ? h->closing_size * 2 : 64;
        h->closing = xrealloc(h->closing, h->closing_size * sizeof(*h->closing));
    }
    h->closing[h->closing_count++] = fd;
}

bool hub_flush_closing(struct hub *h) {
    if (h->closing_count == 0) return false;
    while (h->closing_count > 0)
        close(h->closing[--h->closing_count]);
    return true;
}

/* ---- poll ---- */

static void alarm_cb(struct ev_loop *loop, struct ev_timer *w, int revents) {
    UNUSED(loop), UNUSED(w), UNUSED(revents); /* that the poll returned is enough */
}

/* Has libev wake up at `at` on the hub's clock; < 0: never. */
static void set_alarm(struct hub *h, double at) {
    if (at == h->alarm_at && ev_is_active(&h->alarm)) return;
    ev_timer_stop(h->loop, &h->alarm);
    h->alarm_at = at;
    if (at < 0) return;
    double after = at - hub_clock(h);
    ev_now_update(h->loop);
    ev_timer_set(&h->alarm, after > 0 ? after : 0, 0);
    ev_timer_start(h->loop, &h->alarm);
}

/* Whether something will still make a greenlet ready: a descriptor, or a timer that is not
 * just the limit of a glua.wait(), its own or a Timeout's. */
static bool is_alive(struct hub *h) {
    unsigned limits = 0;
    for (struct link *l = h->drained.head.next; l != &h->drained.head; l = l->next) {
        struct greenlet *g = ((struct waiter *)l)->g;
        limits += timer_is_started(&g->timer);
        for (struct alarm *a = g->alarms; a; a = a->next)
            limits += timer_is_started(&a->timer);
    }
    return h->io_waits > 0 || h->timers.count > limits;
}

static void wake_list(struct hub *h, struct waitlist *list) {
    while (!list_is_empty(&list->head))
        greenlet_wake(h, ((struct waiter *)list->head.next)->g, WAKE_DONE);
}

/* Nothing happens any more by itself. Those who waited for that go on. Else main, if
 * not even a signal can wake it, is told. Returns whether somebody is ready now. */
static bool nothing_left(struct hub *h) {
    if (!list_is_empty(&h->idle.head)) {
        wake_list(h, &h->idle);
        return true;
    }
    if (!list_is_empty(&h->drained.head)) {
        wake_list(h, &h->drained);
        return true;
    }
    if (h->main->state == GREENLET_DEAD) return h->stopped = true;
    if (h->refs > 0 || h->main->state != GREENLET_PARKED) return false;
    h->loop_exit = true;
    return greenlet_wake(h, h->main, WAKE_INTERRUPT);
}

/* Polls libev; `wait`: it may wait until `until` (< 0: for ever). */
static void poll_loop(struct hub *h, bool wait, double until) {
    if (wait) set_alarm(h, until);
    ev_run(h->loop, wait ? EVRUN_ONCE : EVRUN_NOWAIT);
    h->polled = hub_clock(h);
    h->polls++;
}

void hub_run(struct hub *h, double seconds) {
    double limit = seconds < 0 ? -1 : hub_clock(h) + seconds;
    while (!h->stopped && (limit < 0 || h->now < limit)) {
        run_ready(h);
        hub_flush_closing(h);
        if (h->stopped) return;
        bool idle = h->ready_count == 0;
        if (idle && !is_alive(h)) {
            poll_loop(h, false, -1); /* a signal may be there already */
            if (h->ready_count > 0 || nothing_left(h)) continue;
        }
        double until = h->timers.count > 0 ? timers_next(&h->timers) : -1;
        if (limit >= 0 && (until < 0 || limit < until)) until = limit;
        poll_loop(h, idle && list_is_empty(&h->idle.head), until);
        timers_run(h, &h->timers, h->now);
        if (idle && h->ready_count == 0) wake_list(h, &h->idle);
    }
}

/* ---- SIGINT ---- */

/* The first one asks main to raise; a second one, which finds a program that could or
 * would not end, has the signal's ordinary effect. */
static void on_sigint(int sig) {
    if (++sigint_count > 1) {
        signal(sig, SIG_DFL);
        raise(sig);
        return;
    }
    int saved = errno;
    ev_async_send(sigint_hub->loop, &sigint_hub->sigint);
    errno = saved;
}

static void sigint_cb(struct ev_loop *loop, struct ev_async *w, int revents) {
    UNUSED(loop), UNUSED(revents);
    struct hub *h = w->data;
    if (h->main->state == GREENLET_DEAD) return;
    h->was_interrupted = true;
    greenlet_interrupt(h, h->main, 0);
}

void hub_watch_sigint(struct hub *h) {
    struct sigaction act = {.sa_handler = on_sigint, .sa_flags = SA_NODEFER};
    sigint_hub = h;
    sigint_count = 0;
    sigaction(SIGINT, &act, NULL);
}

/* SIGPIPE is caught and not ignored: what the script executes has its ordinary effect then. */
static void on_sigpipe(int sig) { UNUSED(sig); }

/* SIGINT stays ignored where the parent had it ignored (nohup, a shell's background). */
static void init_signals(struct hub *h) {
    ev_async_init(&h->sigint, sigint_cb);
    h->sigint.data = h;
    ev_async_start(h->loop, &h->sigint);
    ev_unref(h->loop);
    struct sigaction old;
    sigaction(SIGINT, NULL, &old);
    if (old.sa_handler != SIG_IGN) hub_watch_sigint(h);
    struct sigaction nothing = {.sa_handler = on_sigpipe, .sa_flags = SA_RESTART};
    sigaction(SIGPIPE, &nothing, NULL);
}

/* ---- life ---- */

void hub_push_anchor(struct hub *h, lua_State *L, int index) {
    lua_pushvalue(h->anchors, index);
    lua_xmove(h->anchors, L, 1);
}

bool hub_call(struct hub *h, int index, struct greenlet *g) {
    int status, tries = 100;
    do {
        hub_push_anchor(h, h->L, index);
        lua_pushlightuserdata(h->L, g);
        status = lua_pcall(h->L, 1, 0, 0);
        if (status == 0) return true;
        const char *message = lua_tostring(h->L, -1);
        fprintf(stderr, "gluarun: in the hub: %s\n", message ? message : "error");
        lua_pop(h->L, 1);
    } while (status == LUA_ERRRUN && --tries > 0);
    return false;
}

void hub_anchor(struct hub *h, lua_State *L, const struct greenlet *g, int which) {
    if (L != h->anchors) lua_xmove(L, h->anchors, 1);
    lua_rawseti(h->anchors, ANCHOR_LIVE, (int)(2 * g->slot) + which);
}

void hub_push_anchored(struct hub *h, lua_State *L, const struct greenlet *g, int which) {
    lua_rawgeti(h->anchors, ANCHOR_LIVE, (int)(2 * g->slot) + which);
    lua_xmove(h->anchors, L, 1);
}

static void waitlist_init(struct waitlist *list, const char *why) {
    list_init(&list->head);
    list->why = why;
}

struct hub *hub_new(lua_State *L) {
    struct ev_loop *loop = ev_default_loop(EVFLAG_AUTO);
    if (!loop) return NULL;
    struct hub *h = xmalloc(sizeof(*h));
    *h = (struct hub){.loop = loop, .L = L, .alarm_at = -1};
    waitlist_init(&h->idle, "idle");
    waitlist_init(&h->drained, "wait");
    h->io_buffer = xmalloc(IO_BUFFER);
    ev_timer_init(&h->alarm, alarm_cb, 0, 0);
    h->polled = hub_clock(h);
    init_signals(h);
    hub_self = h;
    h->anchors = lua_newthread(L);
    lua_setfield(L, LUA_REGISTRYINDEX, "glua.anchors");
    lua_newtable(h->anchors); /* ANCHOR_LIVE */
    lua_newtable(h->anchors); /* ANCHOR_ARGUMENTS */
    lua_newtable(h->anchors); /* ANCHOR_COROUTINES */
    lua_pushcfunction(h->anchors, greenlet_make_coroutine);
    lua_pushnil(h->anchors); /* ANCHOR_CALLER; core_open pushes the others */
    h->globals = lua_topointer(h->anchors, LUA_GLOBALSINDEX);
    h->spare = xmalloc(SPARE_COROUTINES * sizeof(*h->spare));
    return h;
}

void hub_free(struct hub *h) {
    signal(SIGINT, SIG_DFL);
    hub_flush_closing(h);
    ev_timer_stop(h->loop, &h->alarm);
    ev_ref(h->loop);
    ev_async_stop(h->loop, &h->sigint);
    ev_loop_destroy(h->loop);
    timers_free(&h->timers);
    free(h->ready);
    for (unsigned i = 0; i < h->slot_count; i += SLAB)
        free(h->slots[i]);
    free(h->slots);
    free(h->free);
    free(h->spare);
    free(h->holes);
    free(h->closing);
    free(h->io_buffer);
    free(h);
    hub_self = NULL;
}
