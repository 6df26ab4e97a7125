/* SPDX-License-Identifier: Apache-2.0 */
/* What a folder of this machine holds, as a list that others can fetch by: a snapshot of the cache,
 * or any model's folder, whose files are hashed then. */
#ifndef TWINAX_HUB_LIST_HERE_H
#define TWINAX_HUB_LIST_HERE_H

#include "hub/choose.h"
#include "hub/list.h"
#include "hub/name.h"
#include "hub/place.h"

typedef struct tw_hub_list_here_opts {
    const char *folder;
    const char *commit;          /* 40 digits that the list is to be called */
    const char *name;            /* of the model, for messages of the choice */
    const tw_hub_choice *choice; /* what it leaves out is not hashed; NULL: all */
    /* While it hashes; false ends it (-EINTR). May be NULL. */
    bool (*on_bytes)(void *arg, uint64_t n);
    void *arg;
} tw_hub_list_here_opts;

/* A snapshot that the cache has, without what the choice leaves out. */
TW_MUST_CHECK int tw_hub_list_cached(const tw_hub_place *p, const tw_hub_name *name,
                                     const tw_hub_choice *c, tw_hub_list *ret, tw_err *err);

TW_MUST_CHECK int tw_hub_list_here(const tw_hub_list_here_opts *o, tw_hub_list *ret, tw_err *err);

#endif
