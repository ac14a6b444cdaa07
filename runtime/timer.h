/* timer.h: deadlines in a 4-ary heap.
 *
 * A timer is embedded in what waits (a greenlet, an alarm), 24 bytes, and calls `fire`
 * once when the clock has passed `at`. Greenlets' timers are here and not each an
 * ev_timer for three reasons: half the memory in each greenlet, equal deadlines fire in
 * the order in which they were set, and the hub's clock is the only clock there is, so
 * that it can be a virtual one. libev is told of the earliest deadline alone. */
#ifndef GLUA_TIMER_H
#define GLUA_TIMER_H

#include <stdbool.h>

struct hub;
struct timer;

typedef void timer_fn(struct hub *h, struct timer *t);

struct timer {
    double at;      /* when it fires, on the hub's clock, seconds */
    timer_fn *fire; /* called by timers_run, with the timer already stopped */
    unsigned index; /* its place in the heap; 0: not started */
    unsigned order; /* number of the start, to break ties of `at` */
};

struct timers {
    struct timer_slot *heap; /* heap[1..count]; a slot repeats `at`, so that sifting
                                touches no timer but those that it moves */
    unsigned count, size;
    unsigned next_order;
};

static inline bool timer_is_started(const struct timer *t) { return t->index != 0; }

void timer_start(struct timers *ts, struct timer *t, double at, timer_fn *fire);

/* Does nothing for a timer that is not started. */
void timer_stop(struct timers *ts, struct timer *t);

/* The earliest deadline; only with count > 0. */
double timers_next(const struct timers *ts);

/* Fires what is due at `now`, in order of deadline, at most as many as were there on
 * entry: a timer that starts another one at once cannot hold the hub. */
void timers_run(struct hub *h, struct timers *ts, double now);

void timers_free(struct timers *ts);

#endif
