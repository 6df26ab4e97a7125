/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing the next token from a vocabulary that is split over ranks (DESIGN 5.8), as pure
 * functions. The result is defined on the whole sorted vocabulary and does not depend on R nor on
 * how many candidates travel:
 *
 *   z = logit (after penalties) / temperature; order: z descending, id ascending; M = z_(1)
 *   e_i = exp(z_i - M); c_i = running f32 sum of e in this order
 *   segment s of 8: m_s = max z, l_s = sum of exp(z - m_s): 64-id blocks ascending, inside a block
 *   16 lanes and the halving tree; Z = tree over s of l_s * exp(m_s - M)
 *   n = top_k or V; N = c_n with top_k, else Z
 *   top_p < 1: n = first i with c_i >= top_p * N; min_p: n = elements with e_i >= min_p (at least 1)
 *   winner: largest z_i + g_i among the first n, ties in order; g_i = -ln(-ln(u)), u by Philox keyed
 *   by seed, counter (id, position, choice): Gumbel's trick, so nothing is summed over ranks.
 *
 * A rank sends its best candidates and its (m_s, l_s); without any cut only its winner. When the
 * answer lies past what is certain from them, -EAGAIN asks for all logits of the row. */
#ifndef TWINAX_ENGINE_SAMPLE_H
#define TWINAX_ENGINE_SAMPLE_H

#include "engine/order.h"
#include "engine/seq.h"
#include "kern/kern.h"

enum { TW_CANDIDATES = 64 };

/* One row of one rank, as it travels. Greedy and uncut rows need one candidate and no segments:
 * only their first tw_row_wire_bytes travel. */
typedef struct tw_row_best {
    uint32_t n;          /* candidates, best first */
    uint16_t more;       /* this rank has ids that did not fit */
    uint16_t not_finite; /* some logit is NaN or infinite: the step must fail */
    tw_candidate best[TW_CANDIDATES];
    struct {
        float m, l;
    } seg[TW_SEGMENTS]; /* this rank's segments at their global index */
} tw_row_best;

_Static_assert(sizeof(tw_row_best) == 8 + 8 * TW_CANDIDATES + 8 * TW_SEGMENTS, "wire form");

size_t tw_row_wire_bytes(const tw_seq *s);

/* Applies penalties and temperature to logits [n_vocab] (ids vocab0 ...) in place. */
void tw_sample_shape(const tw_seq *s, float *logits, uint32_t vocab0, uint32_t n_vocab);
/* Best candidates and segment sums of this rank's shaped logits. seg_v: global borders [9]. */
void tw_sample_best(const tw_kern *k, const tw_seq *s, const float *z, uint32_t vocab0,
                    uint32_t n_vocab, const uint32_t *seg_v, tw_row_best *ret);
/* rows: [n_ranks], one per rank. -EAGAIN: needs all logits. */
TW_MUST_CHECK int tw_sample_pick(const tw_seq *s, const tw_row_best *const *rows, unsigned n_ranks,
                                 uint32_t *ret_id);
/* The same from all shaped z [V]. order: scratch [2 V]. */
uint32_t tw_sample_pick_full(const tw_kern *k, const tw_seq *s, const float *z, uint32_t vocab,
                             const uint32_t *seg_v, tw_candidate *order);

#endif
