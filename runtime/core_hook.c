/* core_hook.c: debug.sethook and gethook, and finalizers: what runs in the midst of other
 * code. See core.h.
 *
 * While a hook or a finalizer runs, LuaJIT takes each lua_yield for one of the hook itself,
 * also in a coroutine that the hook has resumed, and crashes. So the runtime counts them,
 * and lets nothing park until they are over: see greenlet_can_yield. coroutine.yield is not
 * concerned, for it is no C function.
 *
 * debug.sethook is written anew for that, since the count must come down when the hook
 * raises an error. All else is as in the original, except that the traceback of such an
 * error begins below the hook. */

#include <string.h>

#include <lauxlib.h>

#include "core.h"
#include "hub.h"
#include "util.h"

/* Its address is the key of the script's hook in the registry. */
static char hook_key;

static void push_hook(lua_State *L) {
    lua_pushlightuserdata(L, &hook_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
}

static void call_hook(lua_State *L, lua_Debug *ar) {
    static const char *const names[] = {"call", "return", "line", "count", "tail return"};
    struct hub *h = hub_self;
    push_hook(L);
    if (!lua_isfunction(L, -1)) {
        lua_pop(L, 1);
        return;
    }
    lua_pushstring(L, names[ar->event]);
    if (ar->currentline >= 0)
        lua_pushinteger(L, ar->currentline);
    else
        lua_pushnil(L);
    h->unyieldable++;
    int status = lua_pcall(L, 2, 0, 0);
    h->unyieldable--;
    if (status != 0) lua_error(L);
}

/* sethook([thread,] [fn, mask [, count]]): the thread does not matter in LuaJIT */
static int l_core_sethook(lua_State *L) {
    int arg = lua_isthread(L, 1) ? 1 : 0;
    int mask = 0, count = 0;
    if (lua_isnoneornil(L, arg + 1)) {
        lua_settop(L, arg + 1);
    } else {
        const char *letters = luaL_checkstring(L, arg + 2);
        luaL_checktype(L, arg + 1, LUA_TFUNCTION);
        count = luaL_optint(L, arg + 3, 0);
        if (strchr(letters, 'c')) mask |= LUA_MASKCALL;
        if (strchr(letters, 'r')) mask |= LUA_MASKRET;
        if (strchr(letters, 'l')) mask |= LUA_MASKLINE;
        if (count > 0) mask |= LUA_MASKCOUNT;
    }
    lua_pushlightuserdata(L, &hook_key);
    lua_pushvalue(L, arg + 1);
    lua_rawset(L, LUA_REGISTRYINDEX);
    lua_sethook(L, mask ? call_hook : NULL, mask, count);
    return 0;
}

/* gethook([thread]) -> fn, mask, count */
static int l_core_gethook(lua_State *L) {
    lua_Hook hook = lua_gethook(L);
    int mask = lua_gethookmask(L), n = 0;
    char letters[4];
    if (hook && hook != call_hook)
        lua_pushliteral(L, "external hook");
    else
        push_hook(L);
    if (mask & LUA_MASKCALL) letters[n++] = 'c';
    if (mask & LUA_MASKRET) letters[n++] = 'r';
    if (mask & LUA_MASKLINE) letters[n++] = 'l';
    lua_pushlstring(L, letters, (size_t)n);
    lua_pushinteger(L, lua_gethookcount(L));
    return 3;
}

/* finalizing(boolean): a finalizer begins or ends */
static int l_core_finalizing(lua_State *L) {
    struct hub *h = hub_self;
    if (lua_toboolean(L, 1))
        h->unyieldable++;
    else
        h->unyieldable--;
    return 0;
}

static const luaL_Reg functions[] = {
    {"finalizing", l_core_finalizing},
    {"gethook", l_core_gethook},
    {"sethook", l_core_sethook},
    {NULL, NULL},
};

void core_add_hook(lua_State *L) { luaL_register(L, NULL, functions); }
