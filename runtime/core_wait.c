/* core_wait.c: what parks, for Lua: sleep, wait lists, join, alarms. See core.h.
 *
 * A function that parks returns, once the greenlet runs again (or at once, where it must
 * not park):
 *
 *     nothing, or nil and values   what it waited for is there
 *     false                        the time was over first
 *     true [, message]             the caller has to raise: interrupt.lua knows what
 *
 * Whatever it registered is taken back by the wake, before the greenlet runs again. */

#include <string.h>

#include <lauxlib.h>

#include "box.h"
#include "core.h"
#include "hub.h"
#include "util.h"

/* A park outside of every greenlet, in a finalizer that the hub's own work set off. */
static int no_greenlet(lua_State *L) {
    lua_pushboolean(L, 1);
    lua_pushliteral(L, "cannot wait: no greenlet is running");
    return 2;
}

/* The start of everything that parks. */
#define RETURN_IF_NOT_TO_PARK(h, L)                                                        \
    do {                                                                                   \
        if (!(h)->current) return no_greenlet(L);                                          \
        if (greenlet_is_interrupted(h)) return greenlet_raise(L);                          \
    } while (0)

/* ---- time ---- */

/* sleep(seconds): <= 0 lets the others run */
static int l_core_sleep(lua_State *L) {
    struct hub *h = hub_self;
    double seconds = lua_tonumber(L, 1);
    RETURN_IF_NOT_TO_PARK(h, L);
    return seconds > 0 ? greenlet_park(h, L, seconds, "sleep") : greenlet_yield(h, L);
}

/* Parks on a list, with the embedded waiter. */
static int park_on(struct hub *h, lua_State *L, struct link *list, double seconds,
                   const char *why) {
    RETURN_IF_NOT_TO_PARK(h, L);
    list_append(list, &h->current->waiter.link);
    return greenlet_park(h, L, seconds, why);
}

/* idle(): until the hub has nothing ready and polled in vain */
static int l_core_idle(lua_State *L) {
    struct hub *h = hub_self;
    return park_on(h, L, &h->idle.head, -1, h->idle.why);
}

/* wait_drained(seconds|nil): until nothing is left that could wake anybody */
static int l_core_wait_drained(lua_State *L) {
    struct hub *h = hub_self;
    return park_on(h, L, &h->drained.head, core_seconds(L, 1), h->drained.why);
}

/* hang(): until an interrupt */
static int l_core_hang(lua_State *L) {
    struct hub *h = hub_self;
    RETURN_IF_NOT_TO_PARK(h, L);
    return greenlet_park(h, L, -1, "hang");
}

/* ---- wait lists ---- */

/* waitlist(why) -> userdata */
static int l_core_waitlist(lua_State *L) {
    struct waitlist *list = lua_newuserdata(L, sizeof(*list));
    list_init(&list->head);
    list->why = luaL_checkstring(L, 1);
    hub_push_anchor(hub_self, L, ANCHOR_TEXTS); /* the string stays */
    lua_pushvalue(L, 1);
    lua_pushboolean(L, 1);
    lua_rawset(L, -3);
    lua_pop(L, 1);
    return 1;
}

/* park(list, seconds|nil [, tag]) */
static int l_core_park(lua_State *L) {
    struct hub *h = hub_self;
    struct waitlist *list = lua_touserdata(L, 1);
    double seconds = core_seconds(L, 2);
    RETURN_IF_NOT_TO_PARK(h, L);
    h->current->waiter.tag = lua_tonumber(L, 3);
    list_append(&list->head, &h->current->waiter.link);
    return greenlet_park(h, L, seconds, list->why);
}

/* places(n) -> userdata: places in n lists, for park_many */
static int l_core_places(lua_State *L) {
    size_t size = (size_t)luaL_checkint(L, 1) * sizeof(struct waiter);
    memset(lua_newuserdata(L, size), 0, size);
    return 1;
}

/* place(places, i, list, tag): takes the i-th place, at the end of the list. Nothing may
 * park between this and park_many. */
static int l_core_place(lua_State *L) {
    struct waiter *w = (struct waiter *)lua_touserdata(L, 1) + lua_tointeger(L, 2) - 1;
    struct waitlist *list = lua_touserdata(L, 3);
    w->g = hub_self->current;
    w->tag = lua_tonumber(L, 4);
    list_append(&list->head, &w->link);
    return 0;
}

/* park_many(places, seconds|nil, why): a wake returns nil, number of the place [, value] */
static int l_core_park_many(lua_State *L) {
    struct hub *h = hub_self;
    struct waiter *many = lua_touserdata(L, 1);
    size_t n = lua_objlen(L, 1) / sizeof(*many);
    if (!h->current || greenlet_is_interrupted(h)) {
        for (size_t i = 0; i < n; i++)
            list_remove(&many[i].link);
        return h->current ? greenlet_raise(L) : no_greenlet(L);
    }
    h->current->many = many;
    h->current->many_count = (unsigned)n;
    return greenlet_park(h, L, core_seconds(L, 2), lua_tostring(L, 3));
}

/* Wakes the first of a list; the value at `index` of L, unless 0, is what its park returns.
 * Pushes its tag, or nil if the list is empty. */
static int wake_first(struct hub *h, lua_State *L, struct waitlist *list, int index) {
    if (list_is_empty(&list->head)) return 0;
    struct waiter *w = (struct waiter *)list->head.next;
    struct greenlet *g = w->g;
    double tag = w->tag;
    uint8_t values = 0;
    if (g->many || index) {
        lua_pushnil(g->L);
        values = 1;
    }
    if (g->many) {
        lua_pushinteger(g->L, w - g->many + 1);
        values = 2;
    }
    if (index) {
        lua_pushvalue(L, index);
        lua_xmove(L, g->L, 1);
        values++;
    }
    greenlet_wake(h, g, WAKE_DONE);
    g->nvalues = values;
    lua_pushnumber(L, tag);
    return 1;
}

/* wake(list [, value]) -> tag of the one that was woken, or nil: wakes the first */
static int l_core_wake(lua_State *L) {
    return wake_first(hub_self, L, lua_touserdata(L, 1), lua_gettop(L) > 1 ? 2 : 0);
}

/* wake_all(list) -> how many were woken */
static int l_core_wake_all(lua_State *L) {
    struct hub *h = hub_self;
    struct waitlist *list = lua_touserdata(L, 1);
    int n = 0;
    for (; !list_is_empty(&list->head); n++) {
        wake_first(h, L, list, 0);
        lua_pop(L, 1);
    }
    lua_pushinteger(L, n);
    return 1;
}

/* waiters(list) -> how many wait */
static int l_core_waiters(lua_State *L) {
    struct waitlist *list = lua_touserdata(L, 1);
    int n = 0;
    for (struct link *l = list->head.next; l != &list->head; l = l->next)
        n++;
    lua_pushinteger(L, n);
    return 1;
}

/* ---- join ---- */

/* join(greenlet, seconds|nil): nothing to wait for if it is ended; new ones never end */
static int l_core_join(lua_State *L) {
    struct hub *h = hub_self;
    struct box *b = box_check(L, 1);
    if (b->end != BOX_ALIVE) return 0;
    return park_on(h, L, &b->joiners, core_seconds(L, 2), "join");
}

/* join_scan(list, from, order): passes over what has ended, from index `from` on.
 * -> index of the first that has not, or the negative index of what is no Greenlet, or nil
 * when there is neither; and `order`, the completion order of the last one that was passed,
 * or -1 once they did not end in the order of the list. */
static int l_core_join_scan(lua_State *L) {
    struct hub *h = hub_self;
    int i = (int)lua_tointeger(L, 2);
    double order = lua_tonumber(L, 3);
    lua_settop(L, 1);
    hub_push_anchor(h, L, ANCHOR_META);
    for (;; i++) {
        lua_rawgeti(L, 1, i);
        struct box *b = lua_touserdata(L, 3);
        if (!b || !lua_getmetatable(L, 3) || !lua_rawequal(L, 4, 2)) {
            if (lua_isnil(L, 3))
                lua_pushnil(L);
            else
                lua_pushinteger(L, -i);
            break;
        }
        if (b->end == BOX_ALIVE) {
            lua_pushinteger(L, i);
            break;
        }
        order = order >= 0 && (double)b->order > order ? (double)b->order : -1;
        lua_settop(L, 2);
    }
    lua_pushnumber(L, order);
    return 2;
}

/* ---- alarms ---- */

static int l_alarm_gc(lua_State *L) {
    alarm_disarm(hub_self, lua_touserdata(L, 1));
    return 0;
}

/* alarm() -> userdata. Upvalue 1: its metatable. */
static int l_core_alarm(lua_State *L) {
    struct alarm *a = lua_newuserdata(L, sizeof(*a));
    *a = (struct alarm){0};
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_setmetatable(L, -2);
    return 1;
}

/* arm(alarm, seconds): interrupts the running greenlet then */
static int l_core_arm(lua_State *L) {
    struct hub *h = hub_self;
    alarm_arm(h, lua_touserdata(L, 1), h->current, lua_tonumber(L, 2));
    return 0;
}

/* disarm(alarm) */
static int l_core_disarm(lua_State *L) {
    alarm_disarm(hub_self, lua_touserdata(L, 1));
    return 0;
}

/* expired(alarm) -> whether it fired in this greenlet and was not disarmed since, and
 * whether the shield of now lets it through */
static int l_core_expired(lua_State *L) {
    struct alarm *a = lua_touserdata(L, 1);
    lua_pushboolean(L, a->expired && a->g);
    lua_pushboolean(L, a->g && a->shield >= a->g->shield);
    return 2;
}

/* armed(alarm) -> whether it will fire */
static int l_core_armed(lua_State *L) {
    struct alarm *a = lua_touserdata(L, 1);
    lua_pushboolean(L, timer_is_started(&a->timer));
    return 1;
}

static const luaL_Reg functions[] = {
    {"arm", l_core_arm},
    {"armed", l_core_armed},
    {"disarm", l_core_disarm},
    {"expired", l_core_expired},
    {"hang", l_core_hang},
    {"idle", l_core_idle},
    {"join", l_core_join},
    {"join_scan", l_core_join_scan},
    {"park", l_core_park},
    {"park_many", l_core_park_many},
    {"place", l_core_place},
    {"places", l_core_places},
    {"sleep", l_core_sleep},
    {"wait_drained", l_core_wait_drained},
    {"waiters", l_core_waiters},
    {"waitlist", l_core_waitlist},
    {"wake", l_core_wake},
    {"wake_all", l_core_wake_all},
    {NULL, NULL},
};

void core_add_wait(lua_State *L) {
    luaL_register(L, NULL, functions);
    lua_newtable(L); /* core, metatable of alarms */
    lua_pushcfunction(L, l_alarm_gc);
    lua_setfield(L, -2, "__gc");
    lua_pushcclosure(L, l_core_alarm, 1);
    lua_setfield(L, -2, "alarm");
}
