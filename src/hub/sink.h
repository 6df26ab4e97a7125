/* SPDX-License-Identifier: Apache-2.0 */
/* Where bytes go that came: a thread of its own writes them in large pieces and hashes them while
 * they are in the caches of its core, so that the thread which talks to the net does nothing else. Of
 * fetch.c alone.
 * What comes out of order is read back when its turn is there. An item's part belongs to this thread
 * while it is open; who opens, restarts, finishes or closes an item locks it out. */
#ifndef TWINAX_HUB_SINK_H
#define TWINAX_HUB_SINK_H

#include <pthread.h>
#include <stdatomic.h>

#include "hub/fetch_item.h"

enum { TW_HUB_CHUNK_BYTES = 256 << 10, TW_HUB_CHUNK_OLD_MS = 20, TW_HUB_SINK_SPARE = 8 };

/* Bytes of one range that follow on each other. */
typedef struct tw_hub_chunk {
    tw_hub_item *it;
    size_t i_range, n;
    uint8_t *bytes; /* [TW_HUB_CHUNK_BYTES]; NULL: none */
    uint64_t begun_ns;
} tw_hub_chunk;

typedef struct tw_hub_sink {
    pthread_t thread;
    pthread_mutex_t lock;       /* of the items */
    _Atomic unsigned n_wanting; /* others who want it: they go first */
    pthread_mutex_t queue_lock; /* of what follows */
    pthread_cond_t more, less;  /* to the thread; from it */
    tw_hub_chunk *queue;        /* [n_chunks], a ring */
    size_t first, n_queued, n_chunks, n_free;
    uint8_t **free, *memory; /* [n_chunks] */
    bool runs, ends, is_nudged;
    tw_hub_item *items;
    size_t n;
    tw_err why;     /* of rc */
    _Atomic int rc; /* writing or reading back failed: nothing more is done */
} tw_hub_sink;

/* n_fillers: chunks that are being filled at a time. */
TW_MUST_CHECK int tw_hub_sink_start(tw_hub_sink *s, tw_hub_item *items, size_t n,
                                    unsigned n_fillers, tw_err *err);
/* After all that was given is written. */
void tw_hub_sink_stop(tw_hub_sink *s);

/* A copy of n bytes for range i of it, into c, and on to the thread as c fills. Waits while all chunks
 * are full: the disk, or the hash, is slower than the net. */
void tw_hub_sink_put(tw_hub_sink *s, tw_hub_chunk *c, tw_hub_item *it, size_t i_range,
                     const char *bytes, size_t n);
/* What c holds goes now; c is empty then. */
void tw_hub_sink_flush(tw_hub_sink *s, tw_hub_chunk *c);
/* Until nothing of it is under way. */
void tw_hub_sink_drain(tw_hub_sink *s, const tw_hub_item *it);

/* To open, restart, finish or close an item. */
void tw_hub_sink_lock(tw_hub_sink *s);
void tw_hub_sink_unlock(tw_hub_sink *s);

#endif
