/* SPDX-License-Identifier: Apache-2.0 */
/* Files of one commit into the cache: ranges of files on parallel connections, hashed by a thread
 * beside them as far as they have no hole, and a file is given its name when its hash is right.
 * What is broken off goes on where it was: hub/part.h.
 * One thread drives curl; another one writes and hashes what came: hub/sink.h. */
#ifndef TWINAX_HUB_FETCH_H
#define TWINAX_HUB_FETCH_H

#include "hub/list.h"
#include "hub/name.h"
#include "hub/place.h"

enum { TW_HUB_CONNECTIONS = 8, TW_HUB_CONNECTIONS_MAX = 64 };
#define TW_HUB_RANGE_BYTES (UINT64_C(32) << 20)

typedef struct tw_hub_progress {
    uint64_t total_bytes, done_bytes; /* of all that is wanted; what was there counts as done */
    uint64_t fetched_bytes;           /* from the net, in this call */
    size_t n_files, n_done;
    const char *file;  /* the first one under way; NULL: none */
    const char *waits; /* why nothing comes just now; NULL: it does */
} tw_hub_progress;

typedef struct tw_hub_watch {
    void (*progress)(void *arg, const tw_hub_progress *p); /* some times a second */
    bool (*should_stop)(void *arg);
    void *arg;
} tw_hub_watch;

typedef struct tw_hub_fetch_opts {
    const tw_hub_place *place;
    const tw_hub_name *name;
    const char *commit;
    const char *folder;     /* ".../models--org--name", prepared */
    unsigned n_connections; /* 0: the default */
    uint64_t range_bytes;   /* 0: the default */
    const tw_hub_watch *watch;
} tw_hub_fetch_opts;

/* Files of l that the cache lacks; each is linked into the snapshot when it is whole. p: counts go on
 * from what they are. Errors: -EINTR (stopped; what came is kept), -EACCES, -ENOENT, -ENOSPC,
 * -EBADMSG (came twice with a wrong hash), -EIO, -EBUSY (another program held a file's lock for half
 * an hour). Thread: one call at a time for one set of files, by their locks. */
TW_MUST_CHECK int tw_hub_fetch(const tw_hub_fetch_opts *o, const tw_hub_list *l, tw_hub_progress *p,
                               tw_err *err);

#endif
