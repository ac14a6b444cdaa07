/* report.c: who is where, in words. See report.h. */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "box.h"
#include "hub.h"
#include "report.h"
#include "util.h"

bool report_is_own(const lua_Debug *ar) {
    return strncmp(ar->source, OWN_CHUNK, sizeof(OWN_CHUNK) - 1) == 0;
}

bool report_user_frame(lua_State *L, lua_Debug *ar) {
    for (int level = 0; lua_getstack(L, level, ar); level++) {
        lua_getinfo(L, "Sl", ar);
        if (ar->currentline > 0 && !report_is_own(ar)) return true;
    }
    return false;
}

bool report_where(const struct greenlet *g, char *out, size_t size) {
    lua_Debug ar;
    if (!report_user_frame(g->at, &ar) && !report_user_frame(g->L, &ar)) return false;
    snprintf(out, size, "%s:%d", ar.short_src, ar.currentline);
    return true;
}

int report_error(lua_State *L, const char *format, ...) {
    lua_Debug ar;
    va_list args;
    if (report_user_frame(L, &ar))
        lua_pushfstring(L, "%s:%d: ", ar.short_src, ar.currentline);
    else
        lua_pushliteral(L, "");
    va_start(args, format);
    lua_pushvfstring(L, format, args);
    va_end(args);
    lua_concat(L, 2);
    return lua_error(L);
}

int report_bad_argument(lua_State *L, int n, const char *name, const char *message) {
    if (!name) return report_error(L, "%s; call it with ':'", message);
    return report_error(L, "bad argument #%d to '%s' (%s)", n, name, message);
}

/* Raises what __tostring raises. */
static int l_text(lua_State *L) {
    if (lua_isstring(L, 1)) {
        lua_tostring(L, 1);
        return 1;
    }
    if (luaL_callmeta(L, 1, "__tostring") && lua_isstring(L, -1)) return 1;
    lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, 1));
    return 1;
}

void report_push_text(lua_State *L, int index) {
    if (lua_type(L, index) == LUA_TSTRING) {
        lua_pushvalue(L, index);
        return;
    }
    const char *type = luaL_typename(L, index);
    lua_pushvalue(L, index);
    lua_pushcfunction(L, l_text);
    lua_insert(L, -2);
    if (lua_pcall(L, 1, 1, 0) == 0) return;
    lua_pop(L, 1);
    lua_pushfstring(L, "(error object is a %s value whose __tostring fails)", type);
}

/* Once an error is out of a coroutine, LuaJIT no longer knows the line of a Lua function that
 * raised it without calling error(): nil.field, 1 + {}. The error's own position has it. */
void report_push_traceback(lua_State *L, lua_State *co, const char *text) {
    lua_Debug ar;
    luaL_traceback(L, co, text, 0);
    if (!text || !lua_getstack(co, 0, &ar) || !lua_getinfo(co, "Sl", &ar)) return;
    size_t length = strlen(ar.short_src);
    if (ar.currentline > 0 || strncmp(text, ar.short_src, length) != 0) return;
    int line = text[length] == ':' ? atoi(text + length + 1) : 0;
    if (line <= 0) return;
    lua_pushfstring(L, "\n\t%s: in ", ar.short_src);
    lua_pushfstring(L, "\n\t%s:%d: in ", ar.short_src, line);
    luaL_gsub(L, lua_tostring(L, -3), lua_tostring(L, -2), lua_tostring(L, -1));
    lua_replace(L, -4);
    lua_pop(L, 2);
}

/* Finds the innermost C function that a yield cannot cross. The library's functions that it
 * can cross (pcall and the like) are no ordinary C functions in LuaJIT. error does not call
 * anything, but stands below an error handler. */
static bool find_obstacle(lua_State *L, lua_Debug *ar) {
    for (int level = 1; lua_getstack(L, level, ar); level++) {
        lua_getinfo(L, "Snf", ar);
        bool is_c = lua_tocfunction(L, -1) != NULL;
        lua_pop(L, 1);
        if (is_c && !(ar->name && strcmp(ar->name, "error") == 0)) return true;
    }
    return false;
}

void report_push_obstacle(lua_State *L, const char *why) {
    lua_Debug ar, at;
    lua_pushfstring(L, "cannot wait in %s: ", why);
    if (!hub_self->current)
        lua_pushliteral(L, "no greenlet is running");
    else if (hub_self->unyieldable > 0)
        lua_pushliteral(L, "a hook or finalizer is running");
    else if (!find_obstacle(L, &ar))
        lua_pushliteral(L, "an error handler is running");
    else
        lua_pushfstring(
            L, ar.name ? "the C function '%s' is in the way" : "a C function is in the way",
            ar.name);
    lua_concat(L, 2);
    if (report_user_frame(L, &at)) {
        lua_pushfstring(L, " (%s:%d)", at.short_src, at.currentline);
        lua_concat(L, 2);
    }
}

void report_warn_blocking(struct hub *h, lua_State *L, const char *why) {
    if (h->warned_blocking) return;
    h->warned_blocking = true;
    report_push_obstacle(L, why);
    lua_pushfstring(L, "gluarun: warning: %s: it blocks the whole program",
                    lua_tostring(L, -1));
    luaL_traceback(L, L, lua_tostring(L, -1), 1);
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
    lua_pop(L, 3);
}

/* Pushes the text of the object that a parked greenlet waits for, found as the `self` of
 * the runtime's method that parked; nothing and false where there is none. */
static bool push_object(lua_State *L, const struct greenlet *g) {
    lua_Debug ar;
    for (int level = 0; lua_getstack(g->at, level, &ar); level++) {
        lua_getinfo(g->at, "S", &ar);
        if (*ar.what == 'C') continue;
        if (!report_is_own(&ar)) return false;
        const char *name = lua_getlocal(g->at, &ar, 1);
        if (!name) continue;
        lua_xmove(g->at, L, 1);
        if (strcmp(name, "self") == 0) {
            report_push_text(L, -1);
            lua_remove(L, -2);
            return true;
        }
        lua_pop(L, 1);
    }
    return false;
}

static void push_line(struct hub *h, lua_State *L, struct greenlet *g) {
    if (g->box) {
        uint8_t state = g->state; /* main runs while it makes its LoopExit */
        g->state = GREENLET_PARKED;
        box_push(h, L, g);
        box_describe(L, -1);
        lua_remove(L, -2);
        g->state = state;
    } else {
        char where[LUA_IDSIZE + 16];
        bool known = report_where(g, where, sizeof(where));
        lua_pushfstring(L, "<greenlet %d of spawn_raw parked in %s%s%s>", (int)g->id,
                        g->why, known ? ", " : "", known ? where : "");
    }
    if (!push_object(L, g)) return;
    lua_pushfstring(L, "%s, waiting for %s", lua_tostring(L, -2), lua_tostring(L, -1));
    lua_replace(L, -3);
    lua_pop(L, 1);
}

void report_push_parked(struct hub *h, lua_State *L, int max) {
    int n = 0;
    lua_newtable(L);
    luaL_checkstack(L, 8, "report");
    for (unsigned i = 0; i < h->slot_count; i++) {
        struct greenlet *g = h->slots[i];
        bool waits =
            g->state == GREENLET_PARKED || (g == h->main && g->state == GREENLET_RUNNING);
        if (!waits || ++n > max) continue;
        push_line(h, L, g);
        lua_rawseti(L, -2, n);
    }
    lua_pushinteger(L, n);
}
