/* SPDX-License-Identifier: Apache-2.0 */
/* The ranks of one run: rank 0 is this process, the others are `twinax rank` children, of ours or
 * (far.h) of agents on other machines. They get everything, the one-time token too, as JSON on stdin; stdin stays open as the
 * lifeline. */
#ifndef TWINAX_CMD_GROUP_H
#define TWINAX_CMD_GROUP_H

#include "cmd/args.h"
#include "cmd/far.h"
#include "os/child.h"

typedef struct tw_group_local {
    unsigned n_ranks;
    tw_child children[TW_RANKS_MAX]; /* [1 .. n_ranks), without far */
    tw_far *far;                     /* other machines have the ranks; NULL: this one */
    char address[64];                /* rank 0's */
    uint16_t port;
    int listen_fd;
    int veth_lock_fd; /* the choice of names and addresses; -1, 0: none */
    uint8_t token[TW_TOKEN_BYTES];
} tw_group_local;

/* Listens, starts the children and tells them. From the main thread. */
TW_MUST_CHECK int tw_group_start(const tw_args *a, tw_group_local *ret, tw_err *err);
/* A rank that has ended though nobody asked it to: its number and what to say, else 0. *ret_by_itself:
 * it ended with a status of its own: it may have been refused, and rank 0 knows why. */
unsigned tw_group_lost(tw_group_local *g, char *why, size_t why_bytes, bool *ret_by_itself);
void tw_group_stop(tw_group_local *g);

#endif
