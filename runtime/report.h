/* report.h: who is where, in words: for tracebacks, LoopExit, and tostring. */
#ifndef GLUA_REPORT_H
#define GLUA_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#include <lua.h>

struct hub;
struct greenlet;

/* Chunk names of the runtime's own Lua start so; users' frames are the others. */
#define OWN_CHUNK "=[glua"

bool report_is_own(const lua_Debug *ar);

/* Fills ar ("Sl") with the innermost frame of L that is the script's; false if none. */
bool report_user_frame(lua_State *L, lua_Debug *ar);

/* Writes "script.lua:12", where a parked greenlet was called from; false if unknown. */
bool report_where(const struct greenlet *g, char *out, size_t size);

/* Raises an error at the script's line, wherever in the runtime it was found. */
int report_error(lua_State *L, const char *format, ...);

/* The same, as "bad argument #n to 'name' (message)". */
int report_bad_argument(lua_State *L, int n, const char *name, const char *message);

/* Pushes the text of the error at `index`: also of one whose __tostring raises. */
void report_push_text(lua_State *L, int index);

/* Pushes the text of the error that ended a coroutine, with the coroutine's traceback. */
void report_push_traceback(lua_State *L, lua_State *co, const char *text);

/* Pushes the message for a wait (`why`) that a C function in L's stack makes impossible. */
void report_push_obstacle(lua_State *L, const char *why);

/* Warns on stderr, once in the program's life, that such a wait blocks everything. */
void report_warn_blocking(struct hub *h, lua_State *L, const char *why);

/* Pushes an array with a text for each of the first `max` parked greenlets, and the number
 * of all that are parked. Two values. */
void report_push_parked(struct hub *h, lua_State *L, int max);

#endif
