/* waitlist.h: who waits for one thing, in order of arrival.
 *
 * The lists are intrusive and circular, so that a waiter leaves from the middle at once
 * and without knowing its list: a greenlet that timed out or was killed stands nowhere
 * when it runs again. A greenlet has one waiter inside itself, for the common wait; a
 * wait on several lists at a time (queue.select) brings an array of them. */
#ifndef GLUA_WAITLIST_H
#define GLUA_WAITLIST_H

#include <stdbool.h>
#include <stddef.h>

struct greenlet;

struct link {
    struct link *next, *prev; /* NULL in both: in no list */
};

struct waiter {
    struct link link;   /* first member: a link of a wait list is a waiter */
    struct greenlet *g; /* who waits */
    double tag;         /* a number of the one who waits, told to the one who wakes */
};

struct waitlist {
    struct link head;
    const char *why; /* what its waiters do, for reports: "Event.wait" */
};

static inline void list_init(struct link *head) { head->next = head->prev = head; }

static inline bool list_is_empty(const struct link *head) { return head->next == head; }

static inline bool link_is_in(const struct link *l) { return l->next != NULL; }

static inline void list_append(struct link *head, struct link *l) {
    l->next = head;
    l->prev = head->prev;
    head->prev->next = l;
    head->prev = l;
}

/* Does nothing for a link that is in no list. */
static inline void list_remove(struct link *l) {
    if (!link_is_in(l)) return;
    l->prev->next = l->next;
    l->next->prev = l->prev;
    l->next = l->prev = NULL;
}

#endif
