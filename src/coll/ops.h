/* SPDX-License-Identifier: Apache-2.0 */
/* The collectives as a state machine over links; clock and links are given. No thread, no socket,
 * no allocation. Order of every sum: the balanced tree over ranks (coll.h).
 *
 * All-reduce adds what comes as it comes, without a copy where the link allows it. One-shots, wire16
 * and links that verify (nothing may be added before its checksum is) go by way of scratch memory, in
 * chunks that fit it:
 *   R = 2                full exchange, summed as it arrives: half the steps of halving at the
 *                        same bytes
 *   R > 2, small         one shot: everybody sends to everybody and finishes the whole tree
 *   R > 2, large         recursive halving, nearest first (level k adds subtrees of 2^k ranks, so
 *                        that every element sees the tree's own additions), then the way back
 *
 * wire16 (DESIGN 5.9) rounds both top-level halves to bf16 before the last addition, and so the
 * last level can travel as bf16: at R = 2 always; at R > 2 where halving is used, whose last level is
 * then a full exchange instead of a step down and a step back. */
#ifndef TWINAX_COLL_OPS_H
#define TWINAX_COLL_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kern/kern.h"
#include "link/link.h"
#include "twinax/coll.h"

enum {
    TW_OPS_SHOT_FLOATS = 16 * 1024,  /* one-shot messages up to 64 KiB */
    TW_OPS_CHUNK_FLOATS = 64 * 1024, /* what one receive may hold: 256 KiB */
    TW_OPS_SCRATCH_FLOATS = (TW_RANKS_MAX - 1) * TW_OPS_SHOT_FLOATS,
    TW_OPS_LEVELS_MAX = 3,
    TW_OPS_LOOKS = 16 /* at all links, in one poll */
};

enum tw_ops_kind {
    TW_OP_NONE,
    TW_OP_REDUCE,
    TW_OP_GATHER,
    TW_OP_BROADCAST,
    TW_OP_PLAN,
    TW_OP_BARRIER,
    TW_OP_REDUCE16
};

typedef struct tw_ops {
    unsigned rank, n_ranks, n_levels;
    tw_link *links[TW_RANKS_MAX]; /* borrowed; own entry NULL */
    float *scratch;               /* [TW_OPS_SCRATCH_FLOATS], borrowed */
    const tw_kern *kern;          /* for sums and rounding */
    enum tw_ops_kind kind;        /* under way */
    float *x;                     /* all-reduce: [n] */
    size_t n, at, chunk;          /* elements; the chunk under way is [at, at + chunk) */
    size_t summed;                /* of the receive under way */
    size_t sum_at;                /* receive by sink: added to x from here */
    bool sum_is_low, sum_is_sent; /* our part is the lower one; it is what we are sending too */
    const tw_link *sum_link;
    uint64_t n_moves; /* of bytes, since init: who waits sees that something happens */
    bool swap_order;  /* tests: the wrong tree, (0+2)+(1+3) */
    unsigned step;
    size_t lo[TW_OPS_LEVELS_MAX + 1], hi[TW_OPS_LEVELS_MAX + 1]; /* before level k, absolute */
} tw_ops;

void tw_ops_init(tw_ops *o, unsigned rank, unsigned n_ranks, tw_link *const *links, float *scratch);
const char *tw_ops_name(uint8_t kind); /* NULL: none */

/* Nothing else is under way. */
void tw_ops_reduce(tw_ops *o, float *x, size_t n);
void tw_ops_reduce16(tw_ops *o, float *x, size_t n);
void tw_ops_barrier(tw_ops *o);
void tw_ops_gather(tw_ops *o, const void *in, size_t bytes, void *out);
void tw_ops_broadcast(tw_ops *o, unsigned root, void *p, size_t bytes);
void tw_ops_plan_send(tw_ops *o, const void *p, size_t bytes);
void tw_ops_plan_recv(tw_ops *o, void *p, size_t max_bytes);

/* 0: done. -EAGAIN: no more can move now, or n_moves has grown and the caller should come again. Else an error that names the peer. */
TW_MUST_CHECK int tw_ops_poll(tw_ops *o, tw_err *err);

#endif
