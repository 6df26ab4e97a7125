/* SPDX-License-Identifier: Apache-2.0 */
#include "kern/half.h"
#include "kern/wide/qtable.h"

enum { V32 = 32 / TW_QW, V16Q = 16 / TW_QW }; /* vectors in a block and in half of one */

TW_INLINE qf load_unaligned(const float *p)
{
    qf v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* As tw_ref_quantize, block by block. */
TW_INLINE void quantize_block(tw_xblock *b, const float *x)
{
    qf v[V32];
    qi q[V32];
    qu top = q_fill(0);
    TW_UNROLL
    for (size_t i = 0; i < V32; i++) {
        v[i] = load_unaligned(x + i * TW_QW);
        top = q_max(top, (qu)v[i] & 0x7fffffffu);
    }
    const uint32_t bits = q_top(top);
    const float amax = tw_f32_from_bits(bits), inv = 127.0f / amax;
    const bool plain = bits != 0 && bits < 0x7f800000u && tw_f32_bits(inv) < 0x7f800000u;
    const qf scale = q_set1(inv), magic = q_set1(12582912.0f);
    TW_UNROLL
    for (size_t i = 0; i < V32; i++) {
        qf r = (v[i] * scale + magic) - magic;
        q[i] = plain ? __builtin_convertvector(r, qi) : (qi)q_fill(0);
    }
    q_store_bytes(b->q, q);
    qi lo = q[0], hi = q[V16Q];
    TW_UNROLL
    for (size_t i = 1; i < V16Q; i++) {
        lo += q[i];
        hi += q[V16Q + i];
    }
    b->d = amax / 127.0f;
    b->minus_half[0] = -q_add_all(lo);
    b->minus_half[1] = -q_add_all(hi);
    b->minus_sum = b->minus_half[0] + b->minus_half[1];
}

void TW_FN(quantize)(tw_xblock *q, const float *x, size_t k)
{
    for (size_t i = 0; i < k / TW_GRANULE; i++)
        quantize_block(&q[i], x + i * TW_GRANULE);
}
