/* SPDX-License-Identifier: Apache-2.0 */
/* The hash that names a file of the cache: 64 digits are its SHA-256, 40 are git's own, the SHA-1 of
 * "blob SIZE" and the bytes. So what lies in a cache can be verified without any network. */
#ifndef TWINAX_HUB_HASH_H
#define TWINAX_HUB_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hub/sha1.h"
#include "os/sha256.h"
#include "twinax/err.h"

enum { TW_HUB_ETAG_BYTES = 65 };

typedef struct tw_hub_hash {
    bool is_git, is_open;
    tw_sha256 sha256;
    tw_sha1 sha1;
} tw_hub_hash;

/* Of a file of size bytes that is called etag. Frees what it held before. */
void tw_hub_hash_init(tw_hub_hash *h, const char *etag, uint64_t size);
void tw_hub_hash_add(tw_hub_hash *h, const void *p, size_t n);
/* Frees too. */
void tw_hub_hash_end(tw_hub_hash *h, char out[TW_HUB_ETAG_BYTES]);
void tw_hub_hash_done(tw_hub_hash *h); /* safe on a zeroed one, and after end */

/* Whether the file at path is what etag says: 0, -EBADMSG when it is not (err says how), else the
 * error of reading. Every byte is read; what came out is kept (hub/hash_cache.h). on_bytes, which may
 * be NULL, is told of progress and ends it by false (-EINTR). */
TW_MUST_CHECK int tw_hub_hash_check(const char *path, const char *etag,
                                    bool (*on_bytes)(void *arg, uint64_t n), void *arg,
                                    tw_err *err);
/* The SHA-256 of it, whatever it is called; kept too. */
TW_MUST_CHECK int tw_hub_hash_sha256(const char *path, bool (*on_bytes)(void *arg, uint64_t n),
                                     void *arg, char ret[TW_HUB_ETAG_BYTES], tw_err *err);

#endif
