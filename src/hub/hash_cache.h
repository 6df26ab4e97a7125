/* SPDX-License-Identifier: Apache-2.0 */
/* What files were when they were hashed last, so that 100 GB need not be read again to know it:
 * $XDG_CACHE_HOME/twinax/hashes, else ~/.cache/twinax/hashes. A file is known by device, inode, size,
 * and the times of its last change; whoever writes to it makes it unknown. What a failing disk
 * changes keeps them all: only reading the file finds that.
 * One line an entry, appended at once; the last one of a file counts. Losing any of it costs time. */
#ifndef TWINAX_HUB_HASH_CACHE_H
#define TWINAX_HUB_HASH_CACHE_H

#include <stdbool.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "hub/hash.h"

enum { TW_HUB_HASH_CACHE_BYTES = 1 << 20 }; /* then its older half goes */

typedef struct tw_hub_hashes {
    tw_buf text;
} tw_hub_hashes;

/* All that there is; none when it cannot be read. tw_hub_hashes_done frees. */
void tw_hub_hashes_load(tw_hub_hashes *h);
void tw_hub_hashes_done(tw_hub_hashes *h);
/* n_digits: 64 SHA-256, 40 git's. */
bool tw_hub_hashes_find(const tw_hub_hashes *h, const struct stat *st, unsigned n_digits,
                        char ret[TW_HUB_ETAG_BYTES]);

/* Whether a change from now on will be seen: it cannot be in the tick of the clock in which the last
 * one was. Asked before the file is read. */
bool tw_hub_hash_cache_may_note(const struct stat *st);
/* Keeps what a file's bytes are. Nobody is told when it cannot be kept. */
void tw_hub_hash_cache_note(const struct stat *st, const char *hash);

#endif
