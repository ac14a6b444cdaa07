/* core_signal.c: signals for Lua: glua.signal. See core.h.
 *
 * The function of a handler runs in a fresh greenlet for each signal, with the
 * signal's name and the arguments that came with it. */

#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "core.h"
#include "hub.h"
#include "util.h"

struct signal_watch {
    struct ev_signal watcher;
    int ref; /* of this userdata in the registry while it is started */
};

/* The signals that a script may name; the kernel's own list. */
static int signal_number(const char *name) {
    if (strncmp(name, "SIG", 3) == 0) name += 3;
    for (int n = 1; n < NSIG; n++) {
        const char *abbrev = sigabbrev_np(n);
        if (abbrev && strcmp(abbrev, name) == 0) return n;
    }
    return -1;
}

/* fire(watch): spawns its function. Protected, on the hub's state. */
static int l_fire(lua_State *L) {
    struct signal_watch *w = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, w->ref);
    lua_getfenv(L, -1);
    int call = lua_gettop(L);
    lua_getfield(L, call, "n");
    int n = (int)lua_tointeger(L, -1);
    luaL_checkstack(L, n + 2, "too many arguments");
    lua_rawgeti(L, call, 1);
    lua_pushfstring(L, "SIG%s", sigabbrev_np(w->watcher.signum));
    for (int i = 2; i <= n; i++)
        lua_rawgeti(L, call, i);
    greenlet_start(hub_self, greenlet_new(hub_self, L, n));
    return 0;
}

static void signal_cb(struct ev_loop *loop, struct ev_signal *watcher, int revents) {
    lua_State *L = hub_self->L;
    UNUSED(loop), UNUSED(revents);
    if (lua_cpcall(L, l_fire, watcher) == 0) return;
    const char *message = lua_tostring(L, -1);
    fprintf(stderr, "gluarun: signal %s: %s\n", sigabbrev_np(watcher->signum),
            message ? message : "error");
    lua_pop(L, 1);
}

/* signal(name|number, {fn, args ..., n=}) -> watch; nil for what is no signal */
static int l_core_signal(lua_State *L) {
    struct hub *h = hub_self;
    int signum = lua_type(L, 1) == LUA_TNUMBER ? (int)lua_tointeger(L, 1)
                                               : signal_number(lua_tostring(L, 1));
    if (signum < 1 || signum >= NSIG || !sigabbrev_np(signum) || signum == SIGKILL ||
        signum == SIGSTOP)
        return 0;
    struct signal_watch *w = lua_newuserdata(L, sizeof(*w));
    lua_pushvalue(L, 2);
    lua_setfenv(L, -2);
    lua_pushvalue(L, -1);
    w->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    ev_signal_init(&w->watcher, signal_cb, signum);
    ev_signal_start(h->loop, &w->watcher);
    h->refs++;
    return 1;
}

/* unsignal(watch): stops it; harmless a second time */
static int l_core_unsignal(lua_State *L) {
    struct signal_watch *w = lua_touserdata(L, 1);
    if (w->ref == LUA_NOREF) return 0;
    ev_signal_stop(hub_self->loop, &w->watcher);
    luaL_unref(L, LUA_REGISTRYINDEX, w->ref);
    w->ref = LUA_NOREF;
    hub_self->refs--;
    struct sigaction now;
    sigaction(SIGINT, NULL, &now);
    bool was_last = w->watcher.signum == SIGINT && now.sa_handler == SIG_DFL;
    if (was_last) hub_watch_sigint(hub_self);
    return 0;
}

static const luaL_Reg functions[] = {
    {"signal", l_core_signal},
    {"unsignal", l_core_unsignal},
    {NULL, NULL},
};

void core_add_signal(lua_State *L) { luaL_register(L, NULL, functions); }
