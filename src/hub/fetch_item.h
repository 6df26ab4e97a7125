/* SPDX-License-Identifier: Apache-2.0 */
/* One file on its way: its lock, its part, and how far it is hashed. Of fetch.c and
 * sink.c alone. */
#ifndef TWINAX_HUB_FETCH_ITEM_H
#define TWINAX_HUB_FETCH_ITEM_H

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
    uint64_t *got;          /* [part.n_ranges]: bytes that came; part.done is what is written */
    size_t i_first;         /* ranges before it have come */
    size_t i_written;       /* ranges before it are written */
    char *store_url;        /* where the hub sent us; NULL: not known */
    bool no_ranges;         /* the server gives whole files alone */
    unsigned n_bad;         /* times that its hash was wrong */
    uint64_t look_again_ns; /* for a lock */
    uint64_t wait_since_ns;
    uint64_t front;          /* bytes without a hole, all written */
    _Atomic uint64_t hashed; /* of them */
    tw_hub_hash hash;        /* it, part, i_written and front are of hub/sink.h's thread */
} tw_hub_item;

/* -EAGAIN: another program is at it. -EEXIST: it is there, whole: nothing to do. */
TW_MUST_CHECK int tw_hub_item_open(tw_hub_item *it, const tw_hub_fetch_opts *o, tw_err *err);
/* Anew from its first byte. The sink must be drained and locked out, no transfer under way. */
TW_MUST_CHECK int tw_hub_item_restart(tw_hub_item *it, uint64_t range_bytes, tw_err *err);
/* All bytes that came. */
uint64_t tw_hub_item_got_bytes(const tw_hub_item *it);
/* The lowest range that has neither come nor is busy; false: none. */
bool tw_hub_item_next(tw_hub_item *it, size_t *ret_range);
bool tw_hub_item_is_busy(const tw_hub_item *it);
/* After bytes were written: front follows. */
void tw_hub_item_advance(tw_hub_item *it);
/* All is hashed: names it and links it. -EBADMSG: not what was wanted. */
TW_MUST_CHECK int tw_hub_item_finish(tw_hub_item *it, const tw_hub_fetch_opts *o, tw_err *err);
void tw_hub_item_close(tw_hub_item *it);

#endif
