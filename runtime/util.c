/* util.c: memory that is always there, and the names of errors. See util.h. */

#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

static void *checked(void *p, size_t size) {
    if (!p) {
        fprintf(stderr, "gluarun: out of memory (wanted %zu bytes)\n", size);
        abort();
    }
    return p;
}

void *xmalloc(size_t size) { return checked(malloc(size), size); }

void *xmalloc_aligned(size_t alignment, size_t size) {
    void *p = NULL;
    return checked(posix_memalign(&p, alignment, size) == 0 ? p : NULL, size);
}

void *xrealloc(void *old, size_t size) { return checked(realloc(old, size), size); }

const char *error_name(int err) {
    const char *name = strerrorname_np(err);
    return name ? name : "EUNKNOWN";
}

const char *error_text(int err) {
    switch (err) {
    case EISCONN: return "already connected";
    case EACCES: return "permission denied";
    case ECONNREFUSED: return "connection refused";
    case EADDRINUSE: return "address already in use";
    case ETIMEDOUT: return "timeout";
    case EPIPE:
    case ECONNABORTED:
    case ECONNRESET:
    case ENOTCONN:
    case EBADF: return "closed";
    default: return strerror(err);
    }
}
