/* SPDX-License-Identifier: Apache-2.0 */
/* What one revision of a repository holds. */
#ifndef TWINAX_HUB_LIST_H
#define TWINAX_HUB_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "hub/hash.h"

enum { TW_HUB_FILES_MAX = 100000 };

typedef struct tw_hub_file {
    const char *path; /* in the repository: "a/b.json", safe */
    char etag[TW_HUB_ETAG_BYTES];
    uint64_t size;
} tw_hub_file;

typedef struct tw_hub_list {
    char commit[41];
    tw_hub_file *v; /* by path; owned by mem, as their paths */
    size_t n;
    tw_arena mem;
} tw_hub_list;

/* From the answer of GET /api/models/ORG/NAME/revision/REV?blobs=true. name: for errors. */
TW_MUST_CHECK int tw_hub_list_parse(const char *name, const char *p, size_t n, tw_hub_list *ret,
                                    tw_err *err);
/* The same files as JSON of our own, and back: what a pull wanted is kept beside the snapshot. */
TW_MUST_CHECK int tw_hub_list_save(const tw_hub_list *l, const char *path, tw_err *err);
TW_MUST_CHECK int tw_hub_list_load(const char *path, tw_hub_list *ret, tw_err *err);
uint64_t tw_hub_list_bytes(const tw_hub_list *l);
void tw_hub_list_done(tw_hub_list *l); /* safe on a zeroed one */

#endif
