/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of tw_forward_run: a layer in its two parts, each up to its exchange, for those who place
 * the exchanges. */
#ifndef TWINAX_ENGINE_FORWARD_INSIDE_H
#define TWINAX_ENGINE_FORWARD_INSIDE_H

#include "engine/forward.h"

/* What a team's threads work on together. */
struct job {
    tw_forward *f;
    const tw_batch *b;
    const tw_layer *l;
    uint32_t i_layer;
    const tw_matmul *ops; /* [n_ops] */
    unsigned n_ops;
    const float *norm; /* after an exchange: the next norm's weight, or NULL */
    const float *bias; /* after an exchange: [D] or NULL */
};

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
