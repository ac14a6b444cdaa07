/* util.h: memory that is always there, and the names of errors.
 *
 * Memory for the runtime's own structs comes from xmalloc, which stops the program
 * when there is none left, so that callers have no branch for it. */
#ifndef GLUA_UTIL_H
#define GLUA_UTIL_H

#include <stddef.h>

#define UNUSED(x) ((void)(x))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

void *xmalloc(size_t size);
void *xmalloc_aligned(size_t alignment, size_t size);
void *xrealloc(void *old, size_t size);

/* The symbolic name of an errno value ("ECONNREFUSED"); "EUNKNOWN" for one without. */
const char *error_name(int err);

/* What LuaSocket says for an errno value ("connection refused", "closed"), or strerror's text. */
const char *error_text(int err);

#endif
