/* SPDX-License-Identifier: Apache-2.0 */
/* A model from the hub into the cache of this machine. */
#ifndef TWINAX_HUB_PULL_H
#define TWINAX_HUB_PULL_H

#include "hub/choose.h"
#include "hub/fetch.h"

typedef struct tw_hub_pull_opts {
    const tw_hub_choice *choice;
    unsigned n_connections; /* 0: the default */
    uint64_t range_bytes;   /* 0: the default */
    bool verify;            /* hash what is there already; what is wrong is fetched again */
    const tw_hub_watch *watch;
} tw_hub_pull_opts;

typedef struct tw_hub_pulled {
    char commit[41];
    char path[TW_HUB_PATH_BYTES]; /* the snapshot */
    size_t n_files, n_fetched;
    uint64_t total_bytes, fetched_bytes;
} tw_hub_pulled;

/* Files that name's revision has and o->choice wants. The name in refs/ moves to the new commit only
 * when all of them are there. Errors: as tw_hub_fetch; -ENETDOWN when HF_HUB_OFFLINE is set. */
TW_MUST_CHECK int tw_hub_pull(const tw_hub_place *p, const tw_hub_name *name,
                              const tw_hub_pull_opts *o, tw_hub_pulled *ret, tw_err *err);

/* What name's revision has and o->choice wants; nothing of it is fetched. */
TW_MUST_CHECK int tw_hub_pull_list(const tw_hub_place *p, const tw_hub_name *name,
                                   const tw_hub_pull_opts *o, tw_hub_list *ret, tw_err *err);

#endif
