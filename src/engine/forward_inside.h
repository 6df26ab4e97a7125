/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of tw_forward_run: a layer in its two parts, each up to its exchange, for those who place
 * the exchanges. */
#ifndef TWINAX_ENGINE_FORWARD_INSIDE_H
#define TWINAX_ENGINE_FORWARD_INSIDE_H

#include "engine/forward.h"

enum { TW_JOB_OPS = 3 };

/* What a team's threads work on together. */
struct job {
    tw_forward *f;
    const tw_batch *b;
    const tw_layer *l;
    uint32_t i_layer;
    const tw_matmul *ops; /* [n_ops] */
    unsigned n_ops;
    /* What the next product reads, in the order of its line, for tw_team_expect; none: unknown. */
    const tw_packed *next[TW_JOB_OPS];
    unsigned n_next;
    const float *norm; /* after an exchange: the next norm's weight, or NULL */
    const float *bias; /* after an exchange: [D] or NULL */
};

static inline size_t tw_round64(size_t n)
{
    return (n + 63) & ~(size_t)63;
}

/* Share of n things for thread i of n_threads. */
static inline void tw_share(size_t n, unsigned i, unsigned n_threads, size_t *ret_from,
                            size_t *ret_to)
{
    *ret_from = n * i / n_threads;
    *ret_to = n * (i + 1) / n_threads;
}

static inline uint8_t *tw_scratch_of(const tw_forward *f, unsigned i_thread)
{
    return f->scratch + (size_t)i_thread * f->scratch_bytes;
}

/* At the end of a thread's scratch memory: the pages of a KV head, K then V. */
static inline size_t tw_forward_table_bytes(const tw_forward *f)
{
    return tw_round64((size_t)f->max_pages * 2 * sizeof(void *));
}

/* From q, k and v to attn (attention.c): norms and rope, K and V into the cache, attention. */
void tw_forward_attend(struct job *j);

/* From h to this rank's part of the sum, in partial. */
void tw_forward_attn_part(struct job *j);
void tw_forward_ffn_part(struct job *j);
/* partial is the whole sum: x += partial + bias, and the next norm's h. */
void tw_forward_residual(struct job *j, const float *bias, const float *norm);

/* ---- exchanges while others compute (overlap.c) ---- */

/* All layers, in two halves of the rows: the exchange of one goes on while the other computes. Embedded
 * and normalised before, as for the plain way; the same bits. */
TW_MUST_CHECK int tw_overlap_layers(tw_forward *f, const tw_batch *b, tw_err *err);
/* Thread 0 of the team, now and then while it computes. */
void tw_overlap_poll(tw_flight *flight);

#endif
