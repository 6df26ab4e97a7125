/* SPDX-License-Identifier: Apache-2.0 */
/* One file on its way: its lock, its part, and how far it is hashed. Of fetch.c alone. */
#ifndef TWINAX_HUB_FETCH_ITEM_H
#define TWINAX_HUB_FETCH_ITEM_H

#include <pthread.h>
#include <stdatomic.h>

#include "hub/fetch.h"
#include "hub/hash.h"
#include "hub/part.h"

enum tw_hub_item_state {
    TW_HUB_ITEM_WAITS, /* not begun, or another program has its lock */
    TW_HUB_ITEM_OPEN,
    TW_HUB_ITEM_DONE,
};

enum { TW_HUB_URL_BYTES = 8192 };

typedef struct tw_hub_item {
    const tw_hub_file *file;
    enum tw_hub_item_state state;
    int lock_fd;
    tw_hub_part part;
    bool *busy;             /* [part.n_ranges]: a transfer has it */
    size_t i_first;         /* ranges before it are done */
    char *store_url;        /* where the hub sent us; NULL: not known */
    bool no_ranges;         /* the server gives whole files alone */
    unsigned n_bad;         /* times that its hash was wrong */
    uint64_t look_again_ns; /* for a lock */
    uint64_t wait_since_ns;
    _Atomic uint64_t front;  /* bytes without a hole, all counted */
    _Atomic uint64_t hashed; /* of them */
    tw_hub_hash hash;        /* under the hasher's lock */
} tw_hub_item;

/* -EAGAIN: another program is at it. -EEXIST: it is there, whole: nothing to do. */
TW_MUST_CHECK int tw_hub_item_open(tw_hub_item *it, const tw_hub_fetch_opts *o, tw_err *err);
/* Anew from its first byte. The hasher must be locked out, no transfer under way. */
TW_MUST_CHECK int tw_hub_item_restart(tw_hub_item *it, uint64_t range_bytes, tw_err *err);
/* The lowest range that is neither done nor busy; false: none. */
bool tw_hub_item_next(tw_hub_item *it, size_t *ret_range);
bool tw_hub_item_is_busy(const tw_hub_item *it);
/* After bytes were put: front follows. */
void tw_hub_item_advance(tw_hub_item *it);
/* All is hashed: names it and links it. -EBADMSG: not what was wanted. */
TW_MUST_CHECK int tw_hub_item_finish(tw_hub_item *it, const tw_hub_fetch_opts *o, tw_err *err);
void tw_hub_item_close(tw_hub_item *it);

/* ---- the hasher ---- */

typedef struct tw_hub_hasher {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t more;
    tw_hub_item *items;
    size_t n;
    bool runs, ends;
    _Atomic unsigned n_wanting; /* others who want the lock: they go first */
    _Atomic int rc;             /* reading failed */
} tw_hub_hasher;

TW_MUST_CHECK int tw_hub_hasher_start(tw_hub_hasher *h, tw_hub_item *items, size_t n, tw_err *err);
/* To open, restart, finish or close an item. */
void tw_hub_hasher_lock(tw_hub_hasher *h);
void tw_hub_hasher_unlock(tw_hub_hasher *h);
/* There is more of it; when that is enough, it is hashed now. Needs no lock. */
void tw_hub_hasher_wake(tw_hub_hasher *h, const tw_hub_item *it);
void tw_hub_hasher_stop(tw_hub_hasher *h);

#endif
