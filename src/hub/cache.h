/* SPDX-License-Identifier: Apache-2.0 */
/* The cache that every tool of Hugging Face shares:
 *
 *   hub/models--ORG--NAME/refs/main                 the commit that a name stood for last
 *                        /snapshots/COMMIT/a/b.json -> ../../../../blobs/ETAG
 *                        /blobs/ETAG                named by its own hash (hub/hash.h)
 *                        /.twinax/COMMIT.json       ours: what a pull of it wanted
 *      /.locks/models--ORG--NAME/ETAG.lock          flock, as huggingface_hub's filelock
 */
#ifndef TWINAX_HUB_CACHE_H
#define TWINAX_HUB_CACHE_H

#include "hub/list.h"
#include "hub/name.h"
#include "hub/place.h"

/* printf into a path; -ENAMETOOLONG. */
TW_MUST_CHECK int tw_hub_path(char out[TW_HUB_PATH_BYTES], tw_err *err, const char *fmt, ...)
    TW_PRINTF(3, 4);
/* With all above it; there already is good. */
TW_MUST_CHECK int tw_hub_make_folder(const char *path, tw_err *err);

/* ".../models--org--name" */
TW_MUST_CHECK int tw_hub_cache_folder(const tw_hub_place *p, const char *repo,
                                      char out[TW_HUB_PATH_BYTES], tw_err *err);
/* The commit that name stands for here: a name in refs/, a commit, or the beginning (7 digits or
 * more) of just one that is here. -ENOENT. */
TW_MUST_CHECK int tw_hub_cache_commit(const tw_hub_place *p, const tw_hub_name *name,
                                      char ret_commit[41], tw_err *err);
/* ".../snapshots/COMMIT" */
TW_MUST_CHECK int tw_hub_cache_snapshot(const tw_hub_place *p, const char *repo, const char *commit,
                                        char out[TW_HUB_PATH_BYTES], tw_err *err);
/* Folders for blobs, snapshots, refs and locks of a repository. */
TW_MUST_CHECK int tw_hub_cache_prepare(const tw_hub_place *p, const char *repo, tw_err *err);
/* The file's link in the snapshot, to its blob; replaces another one. */
TW_MUST_CHECK int tw_hub_cache_link(const char *snapshot, const tw_hub_file *f, tw_err *err);
TW_MUST_CHECK int tw_hub_cache_set_ref(const tw_hub_place *p, const tw_hub_name *name,
                                       const char *commit, tw_err *err);
/* Whether the blob is there with its size. */
bool tw_hub_cache_has(const char *folder, const tw_hub_file *f);
/* The lock of one blob: *ret_fd, closing frees it. -EAGAIN: another program has it. */
TW_MUST_CHECK int tw_hub_cache_lock(const tw_hub_place *p, const char *repo, const char *etag,
                                    int *ret_fd, tw_err *err);

#endif
