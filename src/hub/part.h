/* SPDX-License-Identifier: Apache-2.0 */
/* A file that is not whole yet: blobs/ETAG.twinax.incomplete, full length, with holes; beside it
 * ETAG.twinax.ranges, how much of each range is there. A range is filled from its front.
 *
 *   ranges file: | "twinaxR1" | size u64 | range u64 | done[0] u64 | done[1] ... |   own byte order
 *
 * Bytes are written before the count of them, so after a kill -9 what is counted is there; after a
 * power cut it may not be, and the hash at the end tells. Counts are written when a range is full and
 * every TW_HUB_PART_SAVE_MS: a kill -9 loses what came since. The name is our own: other tools append to
 * theirs, and would take a file with holes for a beginning. */
#ifndef TWINAX_HUB_PART_H
#define TWINAX_HUB_PART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hub/place.h"
#include "twinax/err.h"

enum { TW_HUB_PART_SAVE_MS = 20 };

typedef struct tw_hub_part {
    int fd, ranges_fd;
    uint64_t size, range_bytes;
    size_t n_ranges;
    uint64_t *done; /* [n_ranges] */
    bool is_unsaved;
    uint64_t saved_ns;
    char *path, *ranges_path;
} tw_hub_part;

/* Opens or makes it; goes on with what is there where sizes agree. folder: ".../blobs". */
TW_MUST_CHECK int tw_hub_part_open(const char *folder, const char *etag, uint64_t size,
                                   uint64_t range_bytes, tw_hub_part *ret, tw_err *err);
uint64_t tw_hub_part_range_size(const tw_hub_part *p, size_t i);
uint64_t tw_hub_part_done_bytes(const tw_hub_part *p); /* all ranges */
uint64_t tw_hub_part_front(const tw_hub_part *p);      /* bytes from the beginning, no hole */
/* n bytes behind those that range i has. */
TW_MUST_CHECK int tw_hub_part_put(tw_hub_part *p, size_t i, const void *bytes, size_t n,
                                  tw_err *err);
/* The two halves of put, for several writers: bytes may be written at the same time, each to its own
 * range at `at` behind its front; counted by one at a time, after that. */
TW_MUST_CHECK int tw_hub_part_write(const tw_hub_part *p, size_t i, uint64_t at, const void *bytes,
                                    size_t n, tw_err *err);
TW_MUST_CHECK int tw_hub_part_count(tw_hub_part *p, size_t i, size_t n, tw_err *err);
/* Counts that have waited for long enough are written; another put does it too. */
TW_MUST_CHECK int tw_hub_part_save(tw_hub_part *p, tw_err *err);
TW_MUST_CHECK int tw_hub_part_restart(tw_hub_part *p, uint64_t range_bytes, tw_err *err);
/* The same bytes counted in ranges of another size; what no new range begins with is let go. */
TW_MUST_CHECK int tw_hub_part_regrid(tw_hub_part *p, uint64_t range_bytes, tw_err *err);
/* It is whole and has the hash that blob's name is: to the disk, and renamed to blob. */
TW_MUST_CHECK int tw_hub_part_finish(tw_hub_part *p, const char *blob, tw_err *err);
void tw_hub_part_close(tw_hub_part *p); /* what is there stays for another time */
/* What an earlier one left: its bytes, for the check of the disk's room; 0: nothing. */
uint64_t tw_hub_part_left_bytes(const char *folder, const char *etag);

#endif
