/* core_coroutine.c: the C half of lua/glua/coroutine.lua. See core.h.
 *
 * A script's own coroutine that parks yields the sentinel to whoever resumed it, which is
 * the runtime's coroutine.resume or wrap; that passes it on outwards, down to the hub. */

#include <lauxlib.h>

#include "core.h"
#include "hub.h"
#include "util.h"

/* pass_on(): the coroutine that this one resumed is parked, so this one yields too; returns
 * what the wake has for the inner one. Where it cannot yield, as greenlet_park_blocking. */
static int l_core_pass_on(lua_State *L) {
    struct hub *h = hub_self;
    struct greenlet *g = h->current;
    if (!greenlet_can_yield(h, L)) {
        if (g->state == GREENLET_PARKED) return greenlet_park_blocking(h, L);
        if (g->state == GREENLET_READY) hub_take_back_ready(h, g);
        g->abandoned = false;
        return 0;
    }
    if (L == g->L) return lua_yield(L, 0);
    greenlet_push_sentinel(L);
    return lua_yield(L, 1);
}

/* is_greenlet_itself() -> whether this is no coroutine of the script's own */
static int l_core_is_greenlet_itself(lua_State *L) {
    struct greenlet *g = hub_self->current;
    lua_pushboolean(L, g && L == g->L);
    return 1;
}

/* running() -> coroutine.running: nil in the main greenlet, as in a main chunk; and whether
 * it is the greenlet itself */
static int l_core_running(lua_State *L) {
    struct hub *h = hub_self;
    struct greenlet *g = h->current;
    if (!g || L == h->main->L) return 0;
    if (L == g->L) g->exposed = true;
    lua_pushthread(L);
    lua_pushboolean(L, L == g->L);
    return 2;
}

/* isyieldable() -> whether coroutine.yield would work */
static int l_core_isyieldable(lua_State *L) {
    struct greenlet *g = hub_self->current;
    lua_pushboolean(L, lua_isyieldable(L) && !(g && L == g->L));
    return 1;
}

static const luaL_Reg functions[] = {
    {"is_greenlet_itself", l_core_is_greenlet_itself},
    {"isyieldable", l_core_isyieldable},
    {"pass_on", l_core_pass_on},
    {"running", l_core_running},
    {NULL, NULL},
};

void core_add_coroutine(lua_State *L) {
    luaL_register(L, NULL, functions);
    greenlet_push_sentinel(L);
    lua_setfield(L, -2, "PARKED");
}
