/* SPDX-License-Identifier: Apache-2.0 */
/* `--push`, for every command that connects: a node that has no twinax, one of another version, or one
 * that cannot start, gets twinax-node copied (push.h) and is greeted again through that.
 * From the main thread: who starts ssh keeps it alive. */
#ifndef TWINAX_CLUSTER_REMOTE_PUSH_H
#define TWINAX_CLUSTER_REMOTE_PUSH_H

#include "cluster/remote.h"

/* What is told while it goes on; NULL in its place: nothing is pushed. */
typedef struct tw_push_face {
    void (*progress)(const char *node, uint64_t done_bytes, uint64_t total_bytes);
    void (*told)(const char *node, bool copied); /* false: it was there already */
} tw_push_face;

/* tw_remote_greet; with a face another arithmetic is an error too, which a push then mends. */
TW_MUST_CHECK int tw_remote_push_greet(const tw_push_face *f, tw_remote *n, tw_err *err);
/* rc: why node (ssh: by that name) could not be had; returned, with err as it was, where no push is
 * wanted or would mend it. Else *n is closed and another in its place, greeted: 0 (err is empty then) or a new error.
 * The agent's path is TW_PUSH_PATH from then on. *n may be NULL. */
TW_MUST_CHECK int tw_remote_push_mend(const tw_push_face *f, const char *node, const char *ssh,
                                      int rc, tw_remote **n, tw_err *err);

#endif
