/* socket_options.c: setoption and getoption of sockets. See socket.h.
 *
 * To add an option: a line in `options`. */

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include <lauxlib.h>

#include "hub.h"
#include "report.h"
#include "socket.h"
#include "util.h"

struct option {
    const char *name;
    int level, number;
    enum { OPTION_BOOLEAN, OPTION_NUMBER, OPTION_LINGER, OPTION_ERROR } type;
};

static const struct option options[] = {
    {"keepalive", SOL_SOCKET, SO_KEEPALIVE, OPTION_BOOLEAN},
    {"reuseaddr", SOL_SOCKET, SO_REUSEADDR, OPTION_BOOLEAN},
    {"reuseport", SOL_SOCKET, SO_REUSEPORT, OPTION_BOOLEAN},
    {"broadcast", SOL_SOCKET, SO_BROADCAST, OPTION_BOOLEAN},
    {"dontroute", SOL_SOCKET, SO_DONTROUTE, OPTION_BOOLEAN},
    {"linger", SOL_SOCKET, SO_LINGER, OPTION_LINGER},
    {"error", SOL_SOCKET, SO_ERROR, OPTION_ERROR},
    {"recv-buffer-size", SOL_SOCKET, SO_RCVBUF, OPTION_NUMBER},
    {"send-buffer-size", SOL_SOCKET, SO_SNDBUF, OPTION_NUMBER},
    {"tcp-nodelay", IPPROTO_TCP, TCP_NODELAY, OPTION_BOOLEAN},
    {"tcp-keepidle", IPPROTO_TCP, TCP_KEEPIDLE, OPTION_NUMBER},
    {"tcp-keepintvl", IPPROTO_TCP, TCP_KEEPINTVL, OPTION_NUMBER},
    {"tcp-keepcnt", IPPROTO_TCP, TCP_KEEPCNT, OPTION_NUMBER},
    {"tcp-defer-accept", IPPROTO_TCP, TCP_DEFER_ACCEPT, OPTION_NUMBER},
    {"tcp-fastopen", IPPROTO_TCP, TCP_FASTOPEN, OPTION_NUMBER},
    {"ipv6-v6only", IPPROTO_IPV6, IPV6_V6ONLY, OPTION_BOOLEAN},
};

static const struct option *check_option(lua_State *L, int index, const char *function) {
    const char *name = lua_isstring(L, index) ? lua_tostring(L, index) : "?";
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        if (strcmp(options[i].name, name) == 0) return &options[i];
    report_bad_argument(L, index - 1, function,
                        lua_pushfstring(L, "unsupported option '%s'", name));
    return NULL;
}

static void check_option_type(lua_State *L, int index, int type, const char *what) {
    if (lua_type(L, index) == type) return;
    const char *expected = lua_typename(L, type), *got = luaL_typename(L, index);
    report_bad_argument(L, 2, "setoption",
                        lua_pushfstring(L, "%s%s expected, got %s", what, expected, got));
}

static struct linger check_linger(lua_State *L, int index) {
    check_option_type(L, index, LUA_TTABLE, "");
    lua_getfield(L, index, "on");
    lua_getfield(L, index, "timeout");
    check_option_type(L, -2, LUA_TBOOLEAN, "field 'on': ");
    check_option_type(L, -1, LUA_TNUMBER, "field 'timeout': ");
    return (struct linger){.l_onoff = lua_toboolean(L, -2),
                           .l_linger = (int)lua_tointeger(L, -1)};
}

/* setoption(socket, name, value) -> 1 */
int l_socket_setoption(lua_State *L) {
    struct socket *s = socket_check(L);
    const struct option *o = check_option(L, 2, "setoption");
    struct linger linger;
    int number, err;
    if (o->type == OPTION_ERROR)
        report_bad_argument(L, 1, "setoption", "'error' is read only");
    if (o->type == OPTION_LINGER) {
        linger = check_linger(L, 3);
        err = setsockopt(s->fd, o->level, o->number, &linger, sizeof(linger));
    } else {
        int type = o->type == OPTION_NUMBER ? LUA_TNUMBER : LUA_TBOOLEAN;
        check_option_type(L, 3, type, "");
        number = type == LUA_TNUMBER ? (int)lua_tointeger(L, 3) : lua_toboolean(L, 3);
        err = setsockopt(s->fd, o->level, o->number, &number, sizeof(number));
    }
    if (err < 0) return socket_fail_with(L, "setsockopt failed", error_name(errno), false);
    lua_pushinteger(L, 1);
    return 1;
}

/* getoption(socket, name) -> value; of "error" the text, nil if there is none */
int l_socket_getoption(lua_State *L) {
    struct socket *s = socket_check(L);
    const struct option *o = check_option(L, 2, "getoption");
    struct linger linger = {0};
    int number = 0;
    void *value = o->type == OPTION_LINGER ? (void *)&linger : (void *)&number;
    socklen_t size = o->type == OPTION_LINGER ? sizeof(linger) : sizeof(number);
    if (getsockopt(s->fd, o->level, o->number, value, &size) < 0)
        return socket_fail_with(L, "getsockopt failed", error_name(errno), false);
    switch (o->type) {
    case OPTION_BOOLEAN: lua_pushboolean(L, number); break;
    case OPTION_NUMBER: lua_pushinteger(L, number); break;
    case OPTION_ERROR: lua_pushstring(L, number ? error_text(number) : NULL); break;
    case OPTION_LINGER:
        lua_newtable(L);
        lua_pushboolean(L, linger.l_onoff);
        lua_setfield(L, -2, "on");
        lua_pushinteger(L, linger.l_linger);
        lua_setfield(L, -2, "timeout");
        break;
    }
    return 1;
}
