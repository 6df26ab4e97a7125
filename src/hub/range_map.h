/* SPDX-License-Identifier: Apache-2.0 */
/* How the files of a list are cut into units, so that several machines can name the same bytes by one
 * number: each file from its first byte in ranges of one size, the last one shorter, files in the
 * list's order. A file whose bytes came before under another name has no unit, nor has an empty one.
 * Pure. */
#ifndef TWINAX_HUB_RANGE_MAP_H
#define TWINAX_HUB_RANGE_MAP_H

#include "hub/list.h"

enum { TW_HUB_UNITS_MAX = 1 << 22 };

typedef struct tw_hub_map {
    uint64_t range_bytes;
    size_t n_files, n_units;
    uint32_t *first;         /* [n_files + 1]: each file's first unit */
    uint32_t *file;          /* [n_units] */
    bool *twice;             /* [n_files]: the same bytes as an earlier one */
    const tw_hub_list *list; /* borrowed */
} tw_hub_map;

/* A good size of ranges for n_nodes that share the work. */
uint64_t tw_hub_map_range_bytes(const tw_hub_list *l, unsigned n_nodes);
/* -E2BIG: more than TW_HUB_UNITS_MAX. */
TW_MUST_CHECK int tw_hub_map_make(const tw_hub_list *l, uint64_t range_bytes, tw_hub_map *ret,
                                  tw_err *err);
uint64_t tw_hub_map_at(const tw_hub_map *m, size_t unit); /* in its file */
uint64_t tw_hub_map_bytes(const tw_hub_map *m, size_t unit);
void tw_hub_map_done(tw_hub_map *m); /* safe on a zeroed one */

#endif
