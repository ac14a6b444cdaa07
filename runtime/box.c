/* box.c: the Greenlet object. See box.h for the model. */

#include <stdio.h>
#include <string.h>

#include <lauxlib.h>

#include "box.h"
#include "hub.h"
#include "report.h"
#include "util.h"

struct box *box_new(lua_State *L, int meta_index) {
    struct box *b = lua_newuserdata(L, sizeof(*b));
    *b = (struct box){0};
    list_init(&b->joiners);
    lua_pushvalue(L, meta_index);
    lua_setmetatable(L, -2);
    return b;
}

struct box *box_test(struct hub *h, lua_State *L, int index) {
    struct box *b = lua_touserdata(L, index);
    if (!b || !lua_getmetatable(L, index)) return NULL;
    hub_push_anchor(h, L, ANCHOR_META);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same ? b : NULL;
}

struct box *box_check(lua_State *L, int index) {
    struct box *b = box_test(hub_self, L, index);
    if (!b) {
        const char *got = luaL_typename(L, index);
        luaL_argerror(L, index, lua_pushfstring(L, "Greenlet expected, got %s", got));
    }
    return b;
}

void box_push_env(lua_State *L, int index, struct box *b) {
    if (b->has_env) {
        lua_getfenv(L, index);
        return;
    }
    if (index < 0) index += lua_gettop(L) + 1;
    lua_createtable(L, 1, 1);
    lua_pushvalue(L, -1);
    lua_setfenv(L, index);
    b->has_env = true;
}

/* The child has the tree_locals of its parent, where the tree has some. */
static void share_tree(struct hub *h, lua_State *L, int index, struct box *b) {
    struct box *from = h->current->box;
    box_push(h, L, h->current);
    box_push_env(L, -1, from);
    lua_getfield(L, -1, "tree");
    box_push_env(L, index, b);
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, "tree");
    b->has_tree = true;
    lua_pop(L, 4);
}

void box_bind(struct hub *h, lua_State *L, int index, struct greenlet *g) {
    struct box *b = lua_touserdata(L, index);
    struct greenlet *parent = h->current;
    b->g = g;
    b->id = b->root = g->id;
    g->box = b;
    lua_pushvalue(L, index);
    hub_anchor(h, L, g, ANCHORED_OBJECT);
    if (!parent || parent == g) return;
    b->parent = parent->id;
    b->parent_handle = greenlet_handle(parent);
    if (parent == h->main) return;
    b->root = parent->box ? parent->box->root : parent->id;
    if (parent->box && parent->box->has_tree) share_tree(h, L, index, b);
}

void box_push(struct hub *h, lua_State *L, struct greenlet *g) {
    if (g->box) {
        hub_push_anchored(h, L, g, ANCHORED_OBJECT);
        return;
    }
    hub_push_anchor(h, L, ANCHOR_META);
    struct box *b = box_new(L, lua_gettop(L));
    lua_remove(L, -2);
    struct greenlet *current = h->current;
    h->current = NULL; /* who asks is not its parent */
    box_bind(h, L, lua_gettop(L), g);
    h->current = current;
    UNUSED(b);
}

/* ---- the end ---- */

/* Moves everything on the ended coroutine's stack into the environment table on top of L. */
static void keep_results(lua_State *L, lua_State *co) {
    int n = lua_gettop(co);
    lua_pushinteger(L, n);
    lua_setfield(L, -2, "n");
    for (int i = n; i > 0; i--) {
        lua_xmove(co, L, 1);
        lua_rawseti(L, -2, i);
    }
}

/* Replaces the error on top of L by GreenletExit? Returns whether it is that. */
static bool is_exit(struct hub *h, lua_State *L) {
    hub_push_anchor(h, L, ANCHOR_HOOKS);
    lua_getfield(L, -1, "GreenletExit");
    bool same = lua_rawequal(L, -1, -3);
    lua_pop(L, 2);
    return same;
}

/* Spawns hooks[name](arguments), the nargs values on top of L, which are popped; where
 * there is no such hook, returns false and leaves them. */
static bool spawn_hook(struct hub *h, lua_State *L, const char *name, int nargs) {
    hub_push_anchor(h, L, ANCHOR_HOOKS);
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return false;
    }
    lua_insert(L, -nargs - 1);
    greenlet_start(h, greenlet_new(h, L, nargs));
    return true;
}

/* Stack: object or nil, error, text. Pushes the text with a traceback: that of the place
 * where the error was raised first, if it was passed on since (interrupt.protect). */
static void push_traceback(lua_State *L, struct greenlet *g, struct box *b) {
    if (b && b->has_env) {
        box_push_env(L, 1, b);
        lua_getfield(L, -1, "passing");
        lua_remove(L, -2);
        if (lua_istable(L, -1)) {
            lua_getfield(L, -1, "error");
            if (lua_rawequal(L, -1, 2)) {
                lua_pushvalue(L, 3);
                lua_getfield(L, -3, "traceback");
                lua_concat(L, 2);
                lua_replace(L, 4);
                lua_settop(L, 4);
                return;
            }
        }
        lua_settop(L, 3);
    }
    report_push_traceback(L, g->L, lua_tostring(L, 3));
}

/* Stack: object or nil, error. Notes the failure in the object and reports it. */
static void settle_failure(struct hub *h, lua_State *L, struct greenlet *g, struct box *b) {
    report_push_text(L, 2);
    push_traceback(L, g, b); /* object, error, text, traceback */
    if (b) {
        box_push_env(L, 1, b);
        lua_pushvalue(L, 2);
        lua_setfield(L, -2, "error");
        lua_pushvalue(L, 4);
        lua_setfield(L, -2, "traceback");
        lua_pop(L, 1);
        if (b->awaited > 0 || g == h->main) return;
    }
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 4);
    if (spawn_hook(h, L, "on_error", 3)) return;
    lua_settop(L, 4);
    if (b)
        box_describe(L, 1);
    else
        lua_pushfstring(L, "<greenlet %d of spawn_raw>", (int)g->id);
    fprintf(stderr, "%s\n%s failed with %s\n", lua_tostring(L, 4), lua_tostring(L, -1),
            lua_tostring(L, 3));
}

/* ANCHOR_END: settle(greenlet); runs protected on the hub's state. */
int box_settle(lua_State *L) {
    struct hub *h = hub_self;
    struct greenlet *g = lua_touserdata(L, 1);
    struct box *b = g->box;
    lua_settop(L, 0);
    if (b)
        box_push(h, L, g);
    else
        lua_pushnil(L);
    if (!b || b->end == BOX_RAISED) {
        lua_pushvalue(g->L, -1); /* the error stays there, in case of a second call */
        lua_xmove(g->L, L, 1);
        if (!is_exit(h, L))
            settle_failure(h, L, g, b);
        else if (b)
            b->end = BOX_KILLED;
    } else if (b->end == BOX_RETURNED && lua_gettop(g->L) > 0) {
        box_push_env(L, 1, b);
        keep_results(L, g->L);
    }
    lua_settop(L, 1);
    if (b && b->linked) spawn_hook(h, L, "notify", 1);
    return 0;
}

static void wake_joiners(struct hub *h, struct box *b) {
    while (!list_is_empty(&b->joiners))
        greenlet_wake(h, ((struct waiter *)b->joiners.next)->g, WAKE_DONE);
}

void box_end(struct hub *h, struct greenlet *g, enum box_end how) {
    struct box *b = g->box;
    bool plain = how != BOX_RAISED && (!g->L || lua_gettop(g->L) == 0) && !b->linked;
    if (b) {
        b->g = NULL;
        b->end = (uint8_t)how;
        b->order = ++h->last_end;
    }
    if (!plain) hub_call(h, ANCHOR_END, g);
    if (b) wake_joiners(h, b);
}

void box_discard(struct hub *h, lua_State *L, int index) {
    struct box *b = lua_touserdata(L, index);
    b->end = BOX_KILLED;
    b->order = ++h->last_end;
    lua_pushvalue(L, index);
    if (!b->linked || !spawn_hook(h, L, "notify", 1)) lua_pop(L, 1);
    wake_joiners(h, b);
}

/* ---- how it shows itself ---- */

static const char *state_name(const struct box *b) {
    switch ((enum box_end)b->end) {
    case BOX_RETURNED: return "finished";
    case BOX_RAISED: return "failed";
    case BOX_KILLED: return "killed";
    case BOX_ALIVE: break;
    }
    if (!b->g) return "new";
    if (b->g->state == GREENLET_RUNNING) return "running";
    if (b->g->state == GREENLET_PARKED) return "parked";
    return b->g->has_run ? "ready" : "scheduled";
}

void box_describe(lua_State *L, int index) {
    struct box *b = lua_touserdata(L, index);
    luaL_Buffer out;
    char where[LUA_IDSIZE + 16], text[64];
    if (index < 0) index += lua_gettop(L) + 1;
    luaL_buffinit(L, &out);
    snprintf(text, sizeof(text), b->id ? "<Greenlet %llu " : "<Greenlet ",
             (unsigned long long)b->id);
    luaL_addstring(&out, text);
    if (b->has_env) {
        lua_getfenv(L, index);
        lua_getfield(L, -1, "name");
        lua_remove(L, -2);
        if (lua_isstring(L, -1)) {
            lua_pushfstring(L, "\"%s\" ", lua_tostring(L, -1));
            lua_remove(L, -2);
            luaL_addvalue(&out);
        } else {
            lua_pop(L, 1);
        }
    }
    luaL_addstring(&out, state_name(b));
    if (b->g && b->g->state == GREENLET_PARKED) {
        luaL_addstring(&out, " in ");
        luaL_addstring(&out, b->g->why);
        if (report_where(b->g, where, sizeof(where))) {
            luaL_addstring(&out, ", ");
            luaL_addstring(&out, where);
        }
    } else if (b->source) {
        snprintf(where, sizeof(where), ", spawned at %s:%d", b->source, b->line);
        luaL_addstring(&out, where);
    }
    luaL_addchar(&out, '>');
    luaL_pushresult(&out);
}
