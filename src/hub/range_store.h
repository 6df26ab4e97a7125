/* SPDX-License-Identifier: Apache-2.0 */
/* Files of one commit as units (hub/range_map.h) that several givers bring and several takers want:
 * yields bytes of what is there, accepts bytes of what is not. A thread beside hashes each file as
 * far as it has no hole; a file gets its name in the cache when its hash is right, and begins anew
 * when it is not. Breaking off costs nothing that was counted: hub/part.h.
 * Must not know: who gives and who takes. */
#ifndef TWINAX_HUB_RANGE_STORE_H
#define TWINAX_HUB_RANGE_STORE_H

#include "hub/name.h"
#include "hub/place.h"
#include "hub/range_map.h"

typedef struct tw_hub_store tw_hub_store;

typedef struct tw_hub_store_opts {
    const tw_hub_place *place;
    const tw_hub_name *name;
    const tw_hub_list *list; /* borrowed until close */
    uint64_t range_bytes;
    /* NULL: the cache. A folder that has these files: all is there, nothing is written. */
    const char *source;
    bool verify; /* hash what is there first; what is wrong is taken away */
    /* While what is there is hashed; false ends it. May be NULL. */
    bool (*on_bytes)(void *arg, uint64_t n);
    void *arg;
} tw_hub_store_opts;

enum tw_hub_store_state {
    TW_HUB_STORE_BUSY,  /* another program fetches it: its lock is held */
    TW_HUB_STORE_OPEN,  /* some of it may be there */
    TW_HUB_STORE_WHOLE, /* it is in the cache, and has its hash */
    TW_HUB_STORE_STUCK, /* could not be opened, written, read or named: see failure */
};

TW_MUST_CHECK int tw_hub_store_open(const tw_hub_store_opts *o, tw_hub_store **ret, tw_err *err);
void tw_hub_store_close(tw_hub_store *s);
void tw_hub_store_closep(tw_hub_store **s);

const tw_hub_map *tw_hub_store_map(const tw_hub_store *s);
/* Bytes that are still to come, less what is reserved for them already, and those that are free. */
void tw_hub_store_room(tw_hub_store *s, uint64_t *ret_need, uint64_t *ret_free);
/* ".../snapshots/COMMIT", or the source. */
const char *tw_hub_store_path(const tw_hub_store *s);

enum tw_hub_store_state tw_hub_store_state(tw_hub_store *s, size_t file);
/* How often its hash was wrong. */
unsigned tw_hub_store_n_bad(tw_hub_store *s, size_t file);
/* Looks whether another program has brought, or left, what it was at. Some times a second. */
void tw_hub_store_look(tw_hub_store *s);
/* The first error of writing, reading or naming; 0: none. */
int tw_hub_store_failure(tw_hub_store *s, tw_err *ret);

/* Bytes of a unit that are there, from its front. */
uint64_t tw_hub_store_done(tw_hub_store *s, size_t unit);
uint64_t tw_hub_store_done_bytes(tw_hub_store *s); /* of all units */
/* One giver at a time. False: another has it, or it is there, or its file is not open. */
bool tw_hub_store_claim(tw_hub_store *s, size_t unit, uint64_t *ret_done);
void tw_hub_store_release(tw_hub_store *s, size_t unit);
/* n bytes behind those that are there; the unit is claimed. -E2BIG: more than it has. */
TW_MUST_CHECK int tw_hub_store_put(tw_hub_store *s, size_t unit, const void *p, size_t n,
                                   tw_err *err);

/* A file to read from, whole or not; the caller closes it. */
TW_MUST_CHECK int tw_hub_store_reader(tw_hub_store *s, size_t file, int *ret_fd, tw_err *err);

/* All are whole: links what has the same bytes, moves the revision's name. -EAGAIN: not all are. */
TW_MUST_CHECK int tw_hub_store_finish(tw_hub_store *s, tw_err *err);

#endif
