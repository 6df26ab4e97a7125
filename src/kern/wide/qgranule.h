/* SPDX-License-Identifier: Apache-2.0 */
/* A granule of TW_QW outputs out of its panel: eight vectors of quads, and its scales. type is a
 * constant where these are called. */
#ifndef TWINAX_KERN_WIDE_QGRANULE_H
#define TWINAX_KERN_WIDE_QGRANULE_H

#include "kern/wide/qvec.h"

typedef struct qscales {
    qf d, sc0, sc1, m, mn; /* m: also dmin. What a type does not have is not set. */
} qscales;

/* Bit at (1 or 2 bits wide, in each byte) to bit 4. */
TW_INLINE qu q_to_bit4(qu v, uint32_t at, uint32_t mask)
{
    return (at < 4 ? v << (4 - at) : v >> (at - 4)) & mask;
}

/* p: the granule's quads, at the first of the outputs. */
TW_INLINE void q_load_quads(enum tw_dtype type, const uint8_t *p, qu ret[TW_MAX_QUADS])
{
    static const uint8_t mxfp4[16] = {TW_MXFP4_VALUES};
    const tw_qform *f = &tw_qforms[type];
    const size_t row = 4 * (size_t)TW_PANEL;
    TW_UNROLL
    for (size_t i = 0; i < f->n_q; i++) {
        qu v = q_load(p + i * row);
        if (type == TW_Q8_0) {
            ret[i] = v;
        } else {
            ret[i] = v & 0x0f0f0f0fu;
            ret[i + 4] = v >> 4 & 0x0f0f0f0fu;
        }
    }
    TW_UNROLL
    for (uint32_t t = 0; t < TW_MAX_QUADS; t++) {
        if (f->n_high == 1)
            ret[t] |= q_to_bit4(q_load(p + 4 * row), t, 0x10101010u);
        if (f->n_high == 2)
            ret[t] |= q_to_bit4(q_load(p + (4 + t / 4) * row), t % 4 * 2, 0x30303030u);
        if (type == TW_MXFP4)
            ret[t] = q_bytes16(mxfp4, ret[t]);
        ret[t] = q_ready(type, ret[t]);
    }
}

/* Half of 2^(e - 127), as tw_e8m0_half. */
TW_INLINE qf q_load_e8m0(const uint8_t *p)
{
    qu bits = q_load_u8(p) << 23;
    return q_set1(0.5f) * (qf)q_max(bits, q_fill(0x00400000u));
}

/* super: the granule's super-block, j its place in there. col: the first output. */
TW_INLINE void q_load_k_scales(enum tw_dtype type, const uint8_t *super, uint32_t j, size_t col,
                               qscales *ret)
{
    const size_t row = 4 * (size_t)TW_PANEL;
    const uint8_t *w = super + 2 * (size_t)TW_PANEL * tw_qforms[type].n_head_f16 + 4 * col;
    ret->d = q_load_f16(super + 2 * col);
    if (type == TW_Q6_K) {
        qu pair = q_load(w + j / 2 * row) >> 16 * (j % 2);
        ret->sc0 = __builtin_convertvector((qi)(pair << 24) >> 24, qf);
        ret->sc1 = __builtin_convertvector((qi)(pair << 16) >> 24, qf);
        return;
    }
    ret->m = q_load_f16(super + 2 * (TW_PANEL + col));
    qu top = q_load(w + 2 * row) >> 4 * j;
    ret->sc0 = q_to_float((q_load(w) >> 4 * j & 15u) | (top << 4 & 0x30u));
    ret->mn = q_to_float((q_load(w + row) >> 4 * j & 15u) | (top << 2 & 0x30u));
}

TW_INLINE void q_load_scales(enum tw_dtype type, const uint8_t *granule, const uint8_t *super,
                             uint32_t j, size_t col, qscales *ret)
{
    if (tw_qforms[type].n_words) {
        q_load_k_scales(type, super, j, col, ret);
        return;
    }
    ret->d = type == TW_MXFP4 ? q_load_e8m0(granule + col) : q_load_f16(granule + 2 * col);
    if (tw_qforms[type].has_min)
        ret->m = q_load_f16(granule + 2 * (TW_PANEL + col));
}

/* One granule's steps of the chain; dot1: of the upper half, Q6_K. */
TW_INLINE qf q_chain(enum tw_dtype type, const qscales *s, qu dot0, qu dot1, const tw_xblock *x,
                     qf acc)
{
    const qf xd = q_set1(x->d);
    qf f = q_to_float(dot0);
    if (tw_qforms[type].n_words)
        f = s->sc0 * f;
    if (type == TW_Q6_K)
        f = q_fma(s->sc1, q_to_float(dot1), f);
    acc = q_fma(s->d * xd, f, acc);
    if (!tw_qforms[type].has_min)
        return acc;
    if (tw_qforms[type].n_words)
        return q_fma(s->m * xd, s->mn * q_set1((float)x->minus_sum), acc);
    return q_fma(s->m * xd, q_set1((float)-x->minus_sum), acc);
}

#endif
