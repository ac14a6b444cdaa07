/* core.c: greenlets for Lua: spawn, start, end, state. See core.h.
 *
 * What parks is in core_wait.c, the coroutine functions are in core_coroutine.c. To add a
 * function: write l_core_NAME below, register it in `functions`, and wrap it in lua/glua. */

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <lauxlib.h>

#include "box.h"
#include "core.h"
#include "hub.h"
#include "report.h"
#include "util.h"
#include "version.h" /* made by the Makefile */

double core_seconds(lua_State *L, int index) {
    return lua_isnoneornil(L, index) ? -1 : lua_tonumber(L, index);
}

/* ---- spawn ---- */

static void check_callable(lua_State *L, int index, const char *name) {
    if (lua_isfunction(L, index)) return;
    if (luaL_getmetafield(L, index, "__call")) {
        lua_pop(L, 1);
        return;
    }
    const char *got = luaL_typename(L, index);
    report_bad_argument(L, index, name,
                        lua_pushfstring(L, "function expected, got %s", got));
}

/* Keeps the name of a source, and returns it. Chunks that were loaded from strings share
 * one name, for there may be any number of them. */
static const char *keep_source(struct hub *h, lua_State *L, const lua_Debug *ar) {
    hub_push_anchor(h, L, ANCHOR_TEXTS);
    lua_pushstring(L,
                   *ar->source == '@' || *ar->source == '=' ? ar->short_src : "[string]");
    const char *kept = lua_tostring(L, -1);
    lua_pushboolean(L, 1);
    lua_rawset(L, -3);
    lua_pop(L, 1);
    return kept;
}

/* Notes the script's line that spawns. The function that did it last is anchored, so its
 * address tells it from all others, and its source need not be asked for again. */
static void note_place(struct hub *h, lua_State *L, struct box *b) {
    static __thread const void *last;
    static __thread const char *source;
    lua_Debug ar;
    if (!lua_getstack(L, 1, &ar)) return;
    lua_getinfo(L, "lf", &ar);
    if (lua_topointer(L, -1) == last) {
        lua_pop(L, 1);
    } else {
        lua_getinfo(L, "S", &ar);
        if (ar.currentline < 0 || report_is_own(&ar)) {
            lua_pop(L, 1);
            if (!report_user_frame(L, &ar)) return;
            b->source = keep_source(h, L, &ar);
            b->line = ar.currentline;
            return;
        }
        const char *kept = keep_source(h, L, &ar); /* may run a finalizer, that spawns */
        last = lua_topointer(L, -1);
        source = kept;
        lua_xmove(L, h->anchors, 1);
        lua_replace(h->anchors, ANCHOR_CALLER);
    }
    b->source = source;
    b->line = ar.currentline;
}

/* spawn(fn, ...) -> Greenlet. Upvalue 1: the metatable. */
static int l_core_spawn(lua_State *L) {
    struct hub *h = hub_self;
    check_callable(L, 1, "spawn");
    struct box *b = box_new(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    struct greenlet *g = greenlet_new(h, L, lua_gettop(L) - 2);
    box_bind(h, L, 1, g);
    note_place(h, L, b);
    greenlet_start(h, g);
    return 1;
}

/* spawn_raw(fn, ...) -> handle, a number */
static int l_core_spawn_raw(lua_State *L) {
    struct hub *h = hub_self;
    check_callable(L, 1, "spawn_raw");
    struct greenlet *g = greenlet_new(h, L, lua_gettop(L) - 1);
    greenlet_start(h, g);
    lua_pushnumber(L, greenlet_handle(g));
    return 1;
}

/* new() -> Greenlet, not started. Upvalue 1: the metatable. */
static int l_core_new(lua_State *L) {
    struct box *b = box_new(L, lua_upvalueindex(1));
    note_place(hub_self, L, b);
    return 1;
}

/* start(greenlet, seconds|nil, fn, ...): of one that is new */
static int l_core_start(lua_State *L) {
    struct hub *h = hub_self;
    double seconds = core_seconds(L, 2);
    check_callable(L, 3, "start");
    struct greenlet *g = greenlet_new(h, L, lua_gettop(L) - 3);
    box_bind(h, L, 1, g);
    if (seconds < 0)
        greenlet_start(h, g);
    else
        greenlet_start_later(h, g, seconds);
    return 0;
}

/* ---- the object ---- */

/* current() -> Greenlet or nil (in a finalizer between two greenlets) */
static int l_core_current(lua_State *L) {
    struct hub *h = hub_self;
    if (!h->current) return 0;
    box_push(h, L, h->current);
    return 1;
}

/* is_greenlet(value) -> boolean */
static int l_core_is_greenlet(lua_State *L) {
    lua_pushboolean(L, box_test(hub_self, L, 1) != NULL);
    return 1;
}

/* is_main(greenlet) -> boolean */
static int l_core_is_main(lua_State *L) {
    struct box *b = box_check(L, 1);
    lua_pushboolean(L, b->g && b->g == hub_self->main);
    return 1;
}

/* env(greenlet) -> its environment table */
static int l_core_env(lua_State *L) {
    box_push_env(L, 1, box_check(L, 1));
    return 1;
}

/* peek_env(greenlet) -> its environment table, or nil if it has none */
static int l_core_peek_env(lua_State *L) {
    struct box *b = box_check(L, 1);
    if (!b->has_env) return 0;
    lua_getfenv(L, 1);
    return 1;
}

/* state(greenlet) -> "new", "alive", "finished", "failed", "killed" */
static int l_core_state(lua_State *L) {
    static const char *const names[] = {"alive", "finished", "failed", "killed"};
    struct box *b = box_check(L, 1);
    bool is_new = b->end == BOX_ALIVE && !b->g;
    lua_pushstring(L, is_new ? "new" : names[b->end]);
    return 1;
}

/* order(greenlet) -> its place in the order of completion, 0 while it is alive */
static int l_core_order(lua_State *L) {
    lua_pushnumber(L, (double)box_check(L, 1)->order);
    return 1;
}

/* facts(greenlet) -> id, "script.lua:12" or nil */
static int l_core_facts(lua_State *L) {
    struct box *b = box_check(L, 1);
    lua_pushnumber(L, (double)b->id);
    if (!b->source) return 1;
    lua_pushfstring(L, "%s:%d", b->source, b->line);
    return 2;
}

/* parent(greenlet) -> Greenlet or nil, if it has ended */
static int l_core_parent(lua_State *L) {
    struct hub *h = hub_self;
    struct box *b = box_check(L, 1);
    struct greenlet *g = b->parent ? greenlet_find(h, b->parent_handle) : NULL;
    if (!g || g->id != b->parent) return 0;
    box_push(h, L, g);
    return 1;
}

/* describe(greenlet) -> string */
static int l_core_describe(lua_State *L) {
    box_check(L, 1);
    box_describe(L, 1);
    return 1;
}

/* find(handle) -> Greenlet or nil: of spawn_raw, if it lives */
static int l_core_find(lua_State *L) {
    struct greenlet *g = greenlet_find(hub_self, luaL_checknumber(L, 1));
    if (!g) return 0;
    box_push(hub_self, L, g);
    return 1;
}

/* set_linked(greenlet): it has links to be called at its end */
static int l_core_set_linked(lua_State *L) {
    box_check(L, 1)->linked = true;
    return 0;
}

/* await(greenlet, delta): so many more wait for its result */
static int l_core_await(lua_State *L) {
    struct box *b = box_check(L, 1);
    b->awaited += (unsigned)lua_tointeger(L, 2);
    return 0;
}

/* plant_tree(greenlet, table): the table is tree_locals of it and all its living kin */
static int l_core_plant_tree(lua_State *L) {
    struct hub *h = hub_self;
    struct box *b = box_check(L, 1);
    lua_settop(L, 2);
    b->has_tree = true;
    for (unsigned i = 0; i < h->slot_count; i++) {
        struct box *kin = h->slots[i]->box;
        if (!kin || kin->root != b->root) continue;
        box_push(h, L, h->slots[i]);
        box_push_env(L, -1, kin);
        lua_pushvalue(L, 2);
        lua_setfield(L, -2, "tree");
        lua_pop(L, 2);
        kin->has_tree = true;
    }
    return 0;
}

/* ---- interrupts ---- */

/* interrupt(greenlet [, shield]): it raises at its next park, or now if it is parked; does
 * nothing while it is shielded deeper */
static int l_core_interrupt(lua_State *L) {
    struct box *b = box_check(L, 1);
    if (b->g) greenlet_interrupt(hub_self, b->g, (unsigned)lua_tointeger(L, 2));
    return 0;
}

/* set_interrupted(boolean): whether the next park of the running greenlet raises */
static int l_core_set_interrupted(lua_State *L) {
    if (hub_self->current) hub_self->current->interrupted = lua_toboolean(L, 1);
    return 0;
}

/* shield() -> the depth of the running greenlet */
static int l_core_shield(lua_State *L) {
    struct greenlet *g = hub_self->current;
    if (!g) return report_error(L, "no greenlet is running");
    lua_pushinteger(L, g->shield);
    return 1;
}

/* add_shield(greenlet, delta): of one that lives; a coroutine that was begun in one greenlet
 * may end in another */
static int l_core_add_shield(lua_State *L) {
    struct greenlet *g = box_check(L, 1)->g;
    int delta = (int)lua_tointeger(L, 2);
    if (!g || g->shield + delta < 0) return 0;
    g->shield = (unsigned short)(g->shield + delta);
    if (g->shield > 0) g->interrupted = false;
    return 0;
}

/* discard(greenlet) -> whether it was alive, had never run, and is now ended */
static int l_core_discard(lua_State *L) {
    struct box *b = box_check(L, 1);
    if (b->end != BOX_ALIVE || (b->g && b->g->has_run)) return 0;
    if (b->g)
        greenlet_discard(hub_self, b->g);
    else
        box_discard(hub_self, L, 1);
    lua_pushboolean(L, 1);
    return 1;
}

/* call_instead(greenlet, fn, ...) -> whether it has never run: then it will soon call that in
 * place of its own function */
static int l_core_call_instead(lua_State *L) {
    struct box *b = box_check(L, 1);
    if (!b->g || b->g->has_run) return 0;
    greenlet_call_instead(hub_self, L, b->g, lua_gettop(L) - 2);
    lua_pushboolean(L, 1);
    return 1;
}

/* abandon(): ends the running greenlet here, without unwinding it */
static int l_core_abandon(lua_State *L) {
    struct greenlet *g = hub_self->current;
    if (!greenlet_can_yield(hub_self, L)) return 0;
    g->abandoned = true;
    if (L == g->L) return lua_yield(L, 0);
    greenlet_push_sentinel(L);
    return lua_yield(L, 1);
}

/* Whether main is to raise "interrupted" now. A shield holds it back, but not LoopExit:
 * what would wait for ever under a shield never comes out of it. */
static bool has_interruption(const struct hub *h) {
    return h->was_interrupted && h->main->shield == 0;
}

/* take_event() -> "LoopExit", "interrupted" or nil: what the hub wants to raise in main */
static int l_core_take_event(lua_State *L) {
    struct hub *h = hub_self;
    if (h->current != h->main) return 0;
    if (has_interruption(h)) {
        h->was_interrupted = false;
        lua_pushliteral(L, "interrupted");
        return 1;
    }
    if (!h->loop_exit) return 0;
    h->loop_exit = false;
    lua_pushliteral(L, "LoopExit");
    return 1;
}

/* has_event() -> whether take_event will have one for the running greenlet */
static int l_core_has_event(lua_State *L) {
    struct hub *h = hub_self;
    lua_pushboolean(L, h->current == h->main && (has_interruption(h) || h->loop_exit));
    return 1;
}

/* ---- the hub ---- */

/* parked(max) -> array of texts, number of all parked greenlets */
static int l_core_parked(lua_State *L) {
    report_push_parked(hub_self, L, luaL_checkint(L, 1));
    return 2;
}

/* stats() -> table */
static int l_core_stats(lua_State *L) {
    struct hub *h = hub_self;
    const struct {
        const char *name;
        double value;
    } stats[] = {
        {"greenlets", h->live},
        {"ready", h->ready_count},
        {"timers", h->timers.count},
        {"io_waits", h->io_waits},
        {"refs", h->refs},
        {"switches", (double)h->switches},
        {"polls", (double)h->polls},
        {"spawned", (double)h->last_id},
        {"spare_coroutines", h->spare_count},
    };
    lua_newtable(L);
    for (size_t i = 0; i < ARRAY_LEN(stats); i++) {
        lua_pushnumber(L, stats[i].value);
        lua_setfield(L, -2, stats[i].name);
    }
    return 1;
}

/* living() -> array of the Greenlets that are alive, without main */
static int l_core_living(lua_State *L) {
    struct hub *h = hub_self;
    int n = 0;
    lua_newtable(L);
    for (unsigned i = 0; i < h->slot_count; i++) {
        struct greenlet *g = h->slots[i];
        if (g->state == GREENLET_DEAD || g->state == GREENLET_ENDED || g == h->main)
            continue;
        box_push(h, L, g);
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

/* is_terminal(fd) -> boolean */
static int l_core_is_terminal(lua_State *L) {
    lua_pushboolean(L, isatty(luaL_checkint(L, 1)));
    return 1;
}

/* now() -> seconds on the hub's clock, which is read anew */
static int l_core_now(lua_State *L) {
    lua_pushnumber(L, hub_clock(hub_self));
    return 1;
}

static const luaL_Reg functions[] = {
    {"abandon", l_core_abandon},
    {"add_shield", l_core_add_shield},
    {"await", l_core_await},
    {"call_instead", l_core_call_instead},
    {"current", l_core_current},
    {"describe", l_core_describe},
    {"discard", l_core_discard},
    {"env", l_core_env},
    {"facts", l_core_facts},
    {"find", l_core_find},
    {"has_event", l_core_has_event},
    {"interrupt", l_core_interrupt},
    {"is_greenlet", l_core_is_greenlet},
    {"is_main", l_core_is_main},
    {"is_terminal", l_core_is_terminal},
    {"living", l_core_living},
    {"now", l_core_now},
    {"order", l_core_order},
    {"parent", l_core_parent},
    {"parked", l_core_parked},
    {"peek_env", l_core_peek_env},
    {"plant_tree", l_core_plant_tree},
    {"set_interrupted", l_core_set_interrupted},
    {"set_linked", l_core_set_linked},
    {"shield", l_core_shield},
    {"spawn_raw", l_core_spawn_raw},
    {"start", l_core_start},
    {"state", l_core_state},
    {"stats", l_core_stats},
    {"take_event", l_core_take_event},
    {NULL, NULL},
};

/* Pushes a value for the anchors; the indices must come out as the ANCHOR_* say. */
static void add_anchor(struct hub *h, lua_State *L, int index) {
    lua_xmove(L, h->anchors, 1);
    if (lua_gettop(h->anchors) != index) luaL_error(L, "anchor %d is out of order", index);
}

void core_open(struct hub *h, lua_State *L) {
    lua_newtable(L); /* core */
    luaL_register(L, NULL, functions);
    lua_newtable(L); /* core, metatable */
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "greenlet_meta");
    lua_pushvalue(L, -1);
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, l_core_spawn, 1);
    lua_setfield(L, -4, "spawn");
    lua_pushcclosure(L, l_core_new, 1);
    lua_setfield(L, -3, "new");
    add_anchor(h, L, ANCHOR_META);
    lua_pushcfunction(L, box_settle);
    add_anchor(h, L, ANCHOR_END);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "hooks");
    add_anchor(h, L, ANCHOR_HOOKS);
    lua_newtable(L);
    add_anchor(h, L, ANCHOR_TEXTS);
    lua_pushliteral(L, GLUARUN_VERSION);
    lua_setfield(L, -2, "version");
    core_add_wait(L);
    core_add_coroutine(L);
    core_add_hook(L);
    core_add_signal(L);
    core_add_socket(L);
}
