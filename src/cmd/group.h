/* SPDX-License-Identifier: Apache-2.0 */
/* The ranks of one run on this machine: rank 0 is this process, the others are `twinax rank`
 * children. They get everything, the one-time token too, as JSON on stdin; stdin stays open as the
 * lifeline. */
#ifndef TWINAX_CMD_GROUP_H
#define TWINAX_CMD_GROUP_H

#include "cmd/args.h"
#include "os/child.h"

typedef struct tw_group_local {
    unsigned n_ranks;
    tw_child children[TW_RANKS_MAX]; /* [1 .. n_ranks) */
    char address[64];                /* rank 0's */
    uint16_t port;
    int listen_fd;
    uint8_t token[TW_TOKEN_BYTES];
} tw_group_local;

/* Listens, starts the children and tells them. From the main thread. */
TW_MUST_CHECK int tw_group_start(const tw_args *a, tw_group_local *ret, tw_err *err);
/* A child that has ended though nobody asked it to: its rank, else 0. */
unsigned tw_group_lost(tw_group_local *g, int *ret_status);
void tw_group_stop(tw_group_local *g);

#endif
