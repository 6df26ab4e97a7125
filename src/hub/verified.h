/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of a model's bytes without reading them: hub/hash_cache.h. */
#ifndef TWINAX_HUB_VERIFIED_H
#define TWINAX_HUB_VERIFIED_H

#include "hub/hash_cache.h"
#include "hub/scan.h"

/* Of the files of a snapshot, those that were hashed and have not been changed since. */
typedef struct tw_hub_verified {
    size_t n_good, n_bad, n_unknown;
    char bad[160]; /* the first bad one */
} tw_hub_verified;

TW_MUST_CHECK int tw_hub_verified_get(const tw_hub_hashes *h, const char *snapshot,
                                      tw_hub_verified *ret, tw_err *err);

/* SHA-256, hex, over names and SHA-256s of a model's weights: a folder's *.safetensors, *.bin, *.gguf
 * by name, or the hash of the one file that path is. Two machines with the same one have the same
 * bytes. -ENODATA: some file is not hashed, or was changed since: `twinax models verify PATH` does.
 * Cost: a stat for each file; small ones that were never hashed are read. */
TW_MUST_CHECK int tw_hub_content_id(const char *path, char ret[TW_HUB_ETAG_BYTES], tw_err *err);

/* SHA-256 of the file at path, kept; is_quick: what is kept is enough. on_bytes: as
 * tw_hub_hash_check. */
TW_MUST_CHECK int tw_hub_hash_file(const char *path, bool is_quick,
                                   bool (*on_bytes)(void *arg, uint64_t n), void *arg,
                                   char ret[TW_HUB_ETAG_BYTES], tw_err *err);

#endif
