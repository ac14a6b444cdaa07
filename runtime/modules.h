/* modules.h: the runtime's Lua modules, linked in as bytecode.
 *
 * build/modules.c is written by embed.lua from lua/glua; it defines module_table. */
#ifndef GLUA_MODULES_H
#define GLUA_MODULES_H

#include <stddef.h>

#include <lua.h>

struct module {
    const char *name; /* "glua.event"; NULL ends the table */
    const char *code;
    size_t size;
};

extern const struct module module_table[];

/* Adds a searcher to package.loaders that finds the modules, and hands each of them the
 * core table, which is on top of the stack and is popped. With GLUARUN_LUA=dir in the
 * environment they are read from dir/glua. */
void modules_open(lua_State *L);

/* Pushes what require(name) returns for one of them. */
void modules_require(lua_State *L, const char *name);

#endif
