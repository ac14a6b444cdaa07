/* timer.c: deadlines in a 4-ary heap. See timer.h.
 *
 * Four children a node make the heap half as deep as a binary one, and the four lie in
 * one cache line: the layout that libev uses for its own. */

#include <stdlib.h>

#include "timer.h"
#include "util.h"

struct timer_slot {
    double at;
    struct timer *timer;
};

/* The root is heap[1]; the children of i are 4i-2 .. 4i+1. */
static unsigned parent_of(unsigned i) { return (i + 2) / 4; }
static unsigned first_child(unsigned i) { return 4 * i - 2; }

/* Orders by deadline, then by start. The difference of the start numbers is taken as
 * signed, so that it survives their overflow. */
static bool before(const struct timer_slot *a, const struct timer_slot *b) {
    if (a->at != b->at) return a->at < b->at;
    return (int)(a->timer->order - b->timer->order) < 0;
}

static void put(struct timers *ts, unsigned i, struct timer_slot s) {
    ts->heap[i] = s;
    s.timer->index = i;
}

static void sift_up(struct timers *ts, unsigned i, struct timer_slot s) {
    while (i > 1 && before(&s, &ts->heap[parent_of(i)])) {
        put(ts, i, ts->heap[parent_of(i)]);
        i = parent_of(i);
    }
    put(ts, i, s);
}

static void sift_down(struct timers *ts, unsigned i, struct timer_slot s) {
    for (;;) {
        unsigned child = first_child(i), least = child;
        if (child > ts->count) break;
        for (unsigned c = child + 1; c < child + 4 && c <= ts->count; c++)
            if (before(&ts->heap[c], &ts->heap[least])) least = c;
        if (!before(&ts->heap[least], &s)) break;
        put(ts, i, ts->heap[least]);
        i = least;
    }
    put(ts, i, s);
}

void timer_start(struct timers *ts, struct timer *t, double at, timer_fn *fire) {
    timer_stop(ts, t);
    t->at = at;
    t->fire = fire;
    t->order = ts->next_order++;
    if (ts->count + 2 > ts->size) {
        ts->size = ts->size ? ts->size * 2 : 64;
        ts->heap = xrealloc(ts->heap, ts->size * sizeof(*ts->heap));
    }
    sift_up(ts, ++ts->count, (struct timer_slot){at, t});
}

void timer_stop(struct timers *ts, struct timer *t) {
    unsigned i = t->index;
    if (i == 0) return;
    t->index = 0;
    struct timer_slot last = ts->heap[ts->count--];
    if (last.timer == t) return;
    if (i > 1 && before(&last, &ts->heap[parent_of(i)]))
        sift_up(ts, i, last);
    else
        sift_down(ts, i, last);
}

double timers_next(const struct timers *ts) { return ts->heap[1].at; }

void timers_run(struct hub *h, struct timers *ts, double now) {
    for (unsigned n = ts->count; n > 0 && ts->count > 0 && timers_next(ts) <= now; n--) {
        struct timer *t = ts->heap[1].timer;
        timer_stop(ts, t);
        t->fire(h, t);
    }
}

void timers_free(struct timers *ts) { free(ts->heap); }
