/* main.c: the program: makes the state and the hub, runs the command as the main greenlet.
 *
 * What the command line means is lua/glua/command.lua's; here is only what has to happen
 * before Lua runs and after it has ended. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <lauxlib.h>
#include <lualib.h>

#include "box.h"
#include "core.h"
#include "hub.h"
#include "modules.h"
#include "util.h"

/* How long the greenlets that main leaves behind may clean up, in seconds. */
#define GRACE 1.0

struct command {
    int argc;
    char **argv;
    int status;
};

static void push_arguments(lua_State *L, const struct command *c) {
    lua_createtable(L, c->argc, 1);
    for (int i = 0; i < c->argc; i++) {
        lua_pushstring(L, c->argv[i]);
        lua_rawseti(L, -2, i);
    }
}

/* Where the parent has closed standard input, output or error, a socket would get that number,
 * and a print go to the peer: the null device takes the place. */
static void fill_standard_descriptors(void) {
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0) open("/dev/null", O_RDWR); /* the lowest free number */
}

/* Descriptors are what a network program needs: the soft limit goes up to the hard one. */
static void raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* Makes the main greenlet of the function and argument on top of L's stack; leaves its
 * object there. */
static void spawn_main(struct hub *h, lua_State *L) {
    hub_push_anchor(h, L, ANCHOR_META);
    box_new(L, lua_gettop(L));
    lua_remove(L, -2);
    lua_insert(L, -3); /* object, function, argument */
    struct greenlet *g = h->main = greenlet_new(h, L, 1);
    box_bind(h, L, lua_gettop(L), g);
    greenlet_start(h, g);
}

/* Kills what main left, and lets it clean up. The kill comes before what is ready runs, so
 * that what was spawned last never starts. */
static void shut_down(struct hub *h, lua_State *L) {
    hub_push_anchor(h, L, ANCHOR_HOOKS);
    lua_getfield(L, -1, "shutdown");
    greenlet_resume(h, greenlet_new(h, L, 0));
    lua_pop(L, 1);
    h->stopped = false;
    hub_run(h, GRACE);
}

/* pmain(command): everything that may raise */
static int pmain(lua_State *L) {
    struct command *c = lua_touserdata(L, 1);
    lua_gc(L, LUA_GCSTOP, 0);
    luaL_openlibs(L);
    struct hub *h = hub_new(L);
    if (!h) return luaL_error(L, "libev has no event loop here: %s", strerror(errno));
    core_open(h, L);
    modules_open(L);
    lua_gc(L, LUA_GCRESTART, 0);
    modules_require(L, "glua.boot");
    lua_pop(L, 1);
    modules_require(L, "glua.command"); /* function(argv) -> status */
    push_arguments(L, c);
    spawn_main(h, L);
    int object = lua_gettop(L);
    hub_run(h, -1);
    if (h->live > 0) shut_down(h, L);
    hub_push_anchor(h, L, ANCHOR_HOOKS);
    lua_getfield(L, -1, "exit_status"); /* of the main greenlet; reports its failure */
    lua_pushvalue(L, object);
    lua_call(L, 1, 1);
    c->status = (int)lua_tointeger(L, -1);
    return 0;
}

int main(int argc, char **argv) {
    struct command c = {argc, argv, EXIT_FAILURE};
    fill_standard_descriptors();
    raise_descriptor_limit();
    lua_State *L = luaL_newstate();
    if (!L) {
        fprintf(stderr, "gluarun: cannot make a Lua state: out of memory\n");
        return EXIT_FAILURE;
    }
    if (lua_cpcall(L, pmain, &c) != 0) {
        const char *msg = lua_tostring(L, -1);
        fprintf(stderr, "gluarun: %s\n", msg ? msg : "error object is not a string");
        c.status = EXIT_FAILURE;
    }
    lua_close(L);
    if (hub_self) hub_free(hub_self);
    return c.status;
}
