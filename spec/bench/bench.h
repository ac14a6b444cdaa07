/* bench.h: what the benchmark programs share.
 *
 * Arguments, memory and the limit on descriptors; each function ends the program with a
 * message when it cannot do its work, since a benchmark that goes on regardless measures
 * something else. All is inline, so every program is one file and one gcc command. */

#ifndef BENCH_H
#define BENCH_H

#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>

/* The size of one send or recv of bulk data. */
#define BENCH_CHUNK (64 * 1024)

/* How often a callback sends or receives before it goes back to the loop: enough to hide
 * the price of a turn, few enough that other connections and timers get theirs. The
 * watchers are level-triggered, so what was left over comes again in the next turn. */
#define BENCH_BATCH 16

/* Zeroed memory for count members of size bytes. */
static inline void *bench_alloc(size_t count, size_t size) {
    void *p = calloc(count, size);
    if (!p) err(1, "calloc");
    return p;
}

/* The decimal number in text, from min to max; what names it in the message. */
static inline uint64_t bench_number(const char *what, const char *text, uint64_t min,
                                    uint64_t max) {
    char *end;
    errno = 0;
    uint64_t n = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || n < min || n > max)
        errx(2, "%s: a number from %" PRIu64 " to %" PRIu64 " expected, got '%s'", what,
             min, max, text);
    return n;
}

/* Allows as many descriptors as the hard limit does. */
static inline void bench_raise_nofile(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) err(1, "getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) err(1, "setrlimit");
}

/* True when errno says that nothing is wrong and the loop will tell when to try again. */
static inline int bench_again(void) {
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

#endif
