/* times.c: how long a command takes, from its start to its end.
 *
 *     times RUNS COMMAND [ARGUMENT ...]
 *
 * Runs it RUNS times, one after the other, and prints wall time in milliseconds as
 * "median=1.234 least=1.100". Status 1, with a message, when a run fails. */

#define _GNU_SOURCE 1 /* environ */

#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static double run(char **command) {
    pid_t pid;
    int status;
    double start = now_ms();
    errno = posix_spawnp(&pid, command[0], NULL, NULL, command, environ);
    if (errno) err(1, "%s", command[0]);
    if (waitpid(pid, &status, 0) < 0) err(1, "waitpid");
    if (status != 0) errx(1, "%s failed, wait status %d", command[0], status);
    return now_ms() - start;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: times RUNS COMMAND [ARGUMENT ...]\n");
        return 2;
    }
    size_t runs = bench_number("RUNS", argv[1], 1, 1000000);
    double *ms = bench_alloc(runs, sizeof(*ms));
    run(argv + 2); /* brings the files into the page cache */
    for (size_t i = 0; i < runs; i++)
        ms[i] = run(argv + 2);
    qsort(ms, runs, sizeof(*ms), by_size);
    printf("median=%.3f least=%.3f\n", ms[runs / 2], ms[0]);
    free(ms);
    return 0;
}
