/* core.h: the runtime's own functions for the runtime's own Lua.
 *
 * The table `core` is handed to each module of lua/glua as a second argument (`local _,
 * core = ...`) and to nobody else, so its functions trust what they are called with as far
 * as Lua's own types go. Public functions check their arguments before they call here. */
#ifndef GLUA_CORE_H
#define GLUA_CORE_H

#include <lua.h>

struct hub;

/* Pushes the core table, and puts the remaining anchors in place. */
void core_open(struct hub *h, lua_State *L);

/* Seconds of an optional argument: nil is -1, no limit. */
double core_seconds(lua_State *L, int index);

/* Adds the functions of one part to the core table on top of the stack. */
void core_add_coroutine(lua_State *L);
void core_add_hook(lua_State *L);
void core_add_signal(lua_State *L);
void core_add_socket(lua_State *L);
void core_add_wait(lua_State *L);

#endif
