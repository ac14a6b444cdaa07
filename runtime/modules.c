/* modules.c: finds and loads the runtime's Lua modules. See modules.h. */

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "modules.h"
#include "util.h"

static const struct module *find(const char *name) {
    for (const struct module *m = module_table; m->name; m++)
        if (strcmp(m->name, name) == 0) return m;
    return NULL;
}

/* Pushes the text of dir/glua/event.lua, or dir/glua/init.lua; false without such a file. */
static bool read_source(lua_State *L, const char *dir, const char *name) {
    const char *base = strcmp(name, "glua") == 0 ? "init" : name + strlen("glua.");
    luaL_Buffer text;
    lua_pushfstring(L, "%s/glua/%s.lua", dir, base);
    FILE *f = fopen(lua_tostring(L, -1), "r");
    lua_pop(L, 1);
    if (!f) return false;
    luaL_buffinit(L, &text);
    size_t n;
    do {
        n = fread(luaL_prepbuffer(&text), 1, LUAL_BUFFERSIZE, f);
        luaL_addsize(&text, n);
    } while (n > 0);
    fclose(f);
    luaL_pushresult(&text);
    return true;
}

/* Pushes the chunk of a module; false if there is no such module. */
static bool push_chunk(lua_State *L, const char *name) {
    const char *dir = getenv("GLUARUN_LUA");
    bool own = strcmp(name, "glua") == 0 || strncmp(name, "glua.", 5) == 0;
    int err;
    lua_pushfstring(L, "=[%s]", name);
    const char *chunk_name = lua_tostring(L, -1);
    if (dir && own && read_source(L, dir, name)) {
        err = luaL_loadbuffer(L, lua_tostring(L, -1), lua_objlen(L, -1), chunk_name);
        lua_remove(L, -2);
    } else {
        const struct module *m = find(name);
        if (!m) {
            lua_pop(L, 1);
            return false;
        }
        err = luaL_loadbuffer(L, m->code, m->size, chunk_name);
    }
    if (err) lua_error(L);
    lua_remove(L, -2);
    return true;
}

/* load(name): runs the chunk (upvalue 1) as chunk(name, core) */
static int l_module_load(lua_State *L) {
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 1);
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_call(L, 2, 1);
    return 1;
}

/* search(name) -> loader. Upvalue 1: core */
static int l_module_search(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);
    if (!push_chunk(L, name)) {
        lua_pushfstring(L, "\n\tno module '%s' in gluarun", name);
        return 1;
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushcclosure(L, l_module_load, 2);
    return 1;
}

void modules_open(lua_State *L) {
    lua_pushcclosure(L, l_module_search, 1);
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "loaders");
    for (int i = (int)lua_objlen(L, -1); i >= 2; i--) { /* second, after preload */
        lua_rawgeti(L, -1, i);
        lua_rawseti(L, -2, i + 1);
    }
    lua_pushvalue(L, -3);
    lua_rawseti(L, -2, 2);
    lua_pop(L, 3);
}

void modules_require(lua_State *L, const char *name) {
    lua_getglobal(L, "require");
    lua_pushstring(L, name);
    lua_call(L, 1, 1);
}
