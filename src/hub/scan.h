/* SPDX-License-Identifier: Apache-2.0 */
/* What the cache holds, whoever brought it, and whether it is whole. Asks nobody. */
#ifndef TWINAX_HUB_SCAN_H
#define TWINAX_HUB_SCAN_H

#include <sys/stat.h>

#include "base/mem.h"
#include "hub/hash.h"
#include "hub/name.h"
#include "hub/place.h"

/* One snapshot. */
typedef struct tw_hub_model {
    const char *repo, *commit;
    const char *refs; /* "main, v2"; "": none names it */
    const char *path;
    size_t n_files, n_missing;
    uint64_t bytes; /* of files that are there */
    bool has_weights, is_whole;
    char why[160]; /* why it is not whole */
} tw_hub_model;

typedef struct tw_hub_models {
    tw_hub_model *v; /* by repo, then commit; owned by mem, as its texts */
    size_t n;
    tw_arena mem;
} tw_hub_models;

/* All, or (repo not NULL) those of one. A cache that is not there holds none. */
TW_MUST_CHECK int tw_hub_scan(const tw_hub_place *p, const char *repo, tw_hub_models *ret,
                              tw_err *err);
void tw_hub_models_done(tw_hub_models *m); /* safe on a zeroed one */

/* The snapshot that name stands for here; -ENOENT: not here, or no model; -EAGAIN: not whole. */
TW_MUST_CHECK int tw_hub_find(const tw_hub_place *p, const tw_hub_name *name,
                              char ret_path[TW_HUB_PATH_BYTES], tw_err *err);

/* One file of a snapshot. etag "": no link into blobs, so its hash is not known. */
typedef struct tw_hub_seen {
    const char *path; /* in the snapshot */
    char etag[TW_HUB_ETAG_BYTES];
    uint64_t size;
    const struct stat *st; /* when it is there */
    bool is_there;
} tw_hub_seen;

/* Every file, in no order; what fn returns other than 0 ends it. */
TW_MUST_CHECK int tw_hub_each_file(const char *snapshot,
                                   int (*fn)(void *arg, const tw_hub_seen *f, tw_err *err),
                                   void *arg, tw_err *err);

/* A snapshot, the names that stood for it, and blobs that no other one has; all of the repository
 * when it was the last. *ret_bytes: what that freed. */
TW_MUST_CHECK int tw_hub_remove(const tw_hub_place *p, const tw_hub_model *m, uint64_t *ret_bytes,
                                tw_err *err);

#endif
