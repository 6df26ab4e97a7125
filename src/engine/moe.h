/* SPDX-License-Identifier: Apache-2.0 */
/* The feed-forward of a layer with experts: each row of a step goes through the A of E experts that
 * the router likes most. Experts are cut inside, so that all ranks choose alike and a layer has one
 * exchange, as without experts.
 *
 * Order, for one row (decision 0019); every rank makes 1 whole, 2 and 3 for its segments:
 * 1. Router: logits = W x as any product, softmax (kern.h). Chosen are the A largest probabilities,
 *    of equal ones the lower id; then they stand in ascending order of id. With norm_topk each is
 *    divided by their sum, which is added in that order from +0.
 * 2. Of each chosen expert, as without experts: gate, up, h = silu(gate) * up.
 * 3. down: per segment s of an expert's F, from +0, the chosen experts in that order:
 *    acc[s] = fmaf(p_e, sum_e[s], acc[s]), where sum_e[s] is one chain over k as in kern.h's matmul.
 *    The tree over segments (and ranks) is the same as ever, empty segments skipped.
 * A row's result knows nothing of the others, of threads, or of how rows are grouped.
 * Letters as in forward.h; A experts a token, E experts, F local ffn of one. */
#ifndef TWINAX_ENGINE_MOE_H
#define TWINAX_ENGINE_MOE_H

#include "model/model.h"

struct tw_forward;

/* Rows that chose one expert. */
typedef struct tw_moe_group {
    uint32_t i_expert;
    uint32_t at, n_rows; /* in the lists below */
} tw_moe_group;

typedef struct tw_moe {
    float *probs;         /* [M][E]: the router's logits, then probabilities */
    uint32_t *ids;        /* [M][A] chosen, ascending */
    float *weights;       /* [M][A] */
    uint32_t *places;     /* [E]: rows of each, then its group */
    tw_moe_group *groups; /* [min(E, M*A)], ascending */
    uint32_t n_groups;
    uint32_t *rows;        /* [M*A] by group, then ascending */
    float *row_weights;    /* [M*A] beside them */
    tw_xblock *h_blocks;   /* [M][D/32] f->h, where gate or up is quantised */
    tw_xblock *act_blocks; /* [M*A][F/32] beside them, where down is */
    float *gate, *up;      /* [M*A][F] beside them */
    size_t room_at;        /* where a thread's own room begins in its scratch */
} tw_moe;

/* Work memory, a part of the forward pass's own: how much, and where it lies (NULL: nowhere yet). 0
 * for a model without experts. */
size_t tw_moe_bytes(const struct tw_forward *f);
void tw_moe_place(struct tw_forward *f, void *at);
/* A thread's room, beside the product's scratch. */
size_t tw_moe_room_bytes(const struct tw_forward *f);
/* After the router's product into f->moe.probs: f->h [M][D] through l's experts, this rank's part
 * of the sum into f->partial (and f->high). Allocates nothing. */
void tw_moe_run(struct tw_forward *f, const tw_layer *l, uint32_t n_rows);

#endif
