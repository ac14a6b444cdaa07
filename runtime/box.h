/* box.h: the Greenlet object: what Lua holds of a greenlet, alive or ended.
 *
 * It has the results, the links and the name, which a greenlet of spawn_raw does without
 * until somebody asks for its object. While the greenlet lives, the hub anchors the
 * object; afterwards it lives as long as a script holds it.
 *
 * What few greenlets need is in the object's environment table, made when first needed:
 *
 *     [1..n], n            results of the function
 *     error, traceback     of a failed one
 *     name, locals, tree   see docs/reference.md
 *     fn, args             of one that is not started
 *     kill, thrown ...     what is to be raised in it: lua/glua/interrupt.lua
 *     links                functions to call at its end: lua/glua/links.lua */
#ifndef GLUA_BOX_H
#define GLUA_BOX_H

#include <stdbool.h>
#include <stdint.h>

#include <lua.h>

#include "waitlist.h"

struct hub;
struct greenlet;

enum box_end {
    BOX_ALIVE, /* new, scheduled or living */
    BOX_RETURNED,
    BOX_RAISED,
    BOX_KILLED, /* by GreenletExit, or before its first run */
};

struct box {
    struct greenlet *g;   /* while scheduled or living; else NULL */
    struct link joiners;  /* struct waiter: greenlets in join() */
    const char *source;   /* where it was spawned: a source that is kept, or NULL */
    uint64_t id;          /* its greenlet's, and still there afterwards; 0: not started */
    uint64_t order;       /* place in the order of completion; 0: not ended */
    uint64_t parent;      /* id of the greenlet that spawned it */
    uint64_t root;        /* id of its ancestor that main spawned: see tree_locals */
    double parent_handle; /* to find the parent while it lives */
    int line;             /* where it was spawned */
    unsigned awaited;     /* how many wait for its result: its failure is theirs */
    uint8_t end;          /* enum box_end */
    bool has_env;         /* it has an environment table of its own */
    bool has_tree;        /* tree_locals is in it */
    bool linked;          /* there are links in it */
};

/* Pushes a new object, not started, and the metatable at `meta_index` is its own. */
struct box *box_new(lua_State *L, int meta_index);

/* Makes g, which is NEW, the greenlet of the object at `index`; notes parent and place. */
void box_bind(struct hub *h, lua_State *L, int index, struct greenlet *g);

/* Pushes the Greenlet object of a living greenlet, making one for spawn_raw's. */
void box_push(struct hub *h, lua_State *L, struct greenlet *g);

/* The Greenlet at `index`, or an error that names the argument. */
struct box *box_check(lua_State *L, int index);

/* The Greenlet at `index`, or NULL if it is something else. */
struct box *box_test(struct hub *h, lua_State *L, int index);

/* Pushes the environment table of the object at `index`, making it if need be. */
void box_push_env(lua_State *L, int index, struct box *b);

/* Pushes `<Greenlet 7 "fetch" parked in sleep, script.lua:12>` for the object at `index`. */
void box_describe(lua_State *L, int index);

/* Notes the end of g with what is on its stack: results or an error. Wakes who joins it,
 * has its links called and, unless somebody awaits it, a failure reported. */
void box_end(struct hub *h, struct greenlet *g, enum box_end how);

/* Ends the object at `index`, which was not started, as killed. */
void box_discard(struct hub *h, lua_State *L, int index);

/* C function for ANCHOR_END. */
int box_settle(lua_State *L);

#endif
