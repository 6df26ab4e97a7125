/* SPDX-License-Identifier: Apache-2.0 */
/* Copies twinax-node to a machine through ssh, to ~/.local/bin/twinax-node: into a file beside it,
 * which is run once to tell its own SHA-256, and then renamed over it. What is there already and the
 * same is not sent again. The machine needs ssh, sh and the usual small programs; nothing of ours.
 * Must not know: what for. */
#ifndef TWINAX_CLUSTER_PUSH_H
#define TWINAX_CLUSTER_PUSH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "twinax/err.h"

#define TW_PUSH_PATH "~/.local/bin/twinax-node" /* the agent's path from then on */

typedef struct tw_push_opts {
    const char *name; /* for ssh */
    const char *file; /* what to copy; NULL: twinax-node beside this program */
    void (*progress)(void *ctx, uint64_t done_bytes, uint64_t total_bytes); /* NULL: none */
    void *ctx;
} tw_push_opts;

/* An error of tw_remote_start, _greet or _check_arith that a push may mend. */
bool tw_push_mends(int rc);
/* *ret_copied: false: it was there. From the main thread. */
TW_MUST_CHECK int tw_push_node(const tw_push_opts *o, bool *ret_copied, tw_err *err);

#endif
