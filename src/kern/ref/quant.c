/* SPDX-License-Identifier: Apache-2.0 */
/* Quantised weights and the activations beside them. */
#include "kern/quant.h"

#include <math.h>
#include <string.h>

#include "kern/half.h"
#include "kern/ref/ref.h"

static void quantize_block(tw_xblock *b, const float *x)
{
    uint32_t top = 0;
    for (size_t i = 0; i < TW_GRANULE; i++) {
        uint32_t bits = tw_f32_bits(x[i]) & 0x7fffffffu;
        top = bits > top ? bits : top;
    }
    const float amax = tw_f32_from_bits(top), inv = 127.0f / amax;
    const bool plain = top != 0 && top < 0x7f800000u && isfinite(inv);
    b->d = amax / 127.0f;
    b->minus_half[0] = b->minus_half[1] = 0;
    for (size_t i = 0; i < TW_GRANULE; i++) {
        /* 1.5 * 2^23: what the sum cannot hold is rounded away, ties to even. */
        float q = plain ? (x[i] * inv + 12582912.0f) - 12582912.0f : 0.0f;
        b->q[i] = (int8_t)q;
        b->minus_half[i / 16] -= b->q[i];
    }
    b->minus_sum = b->minus_half[0] + b->minus_half[1];
}

void tw_ref_quantize(tw_xblock *q, const float *x, size_t k)
{
    for (size_t i = 0; i < k / TW_GRANULE; i++)
        quantize_block(&q[i], x + i * TW_GRANULE);
}

/* Output lane of granule i of a panel. */
static void read_granule(enum tw_dtype type, const uint8_t *panel, size_t lane, size_t i,
                         tw_granule *ret)
{
    const tw_qform *f = &tw_qforms[type];
    const uint8_t *p = panel + tw_granule_at(type, tw_panel_phase(type, panel), i);
    for (size_t s = 0; s < f->n_f16; s++)
        memcpy(&ret->f16[s], p + (s * TW_PANEL + lane) * 2, 2);
    if (type == TW_MXFP4)
        ret->f16[0] = p[lane];
    p += tw_granule_scale_bytes(type);
    for (size_t t = 0; t < f->n_q; t++, p += 4 * TW_PANEL)
        memcpy(&ret->q[t], p + 4 * lane, 4);
    for (size_t t = 0; t < f->n_high; t++, p += 4 * TW_PANEL)
        memcpy(&ret->high[t], p + 4 * lane, 4);
}

static void read_super(enum tw_dtype type, const uint8_t *panel, size_t lane, size_t i,
                       tw_super *ret)
{
    const tw_qform *f = &tw_qforms[type];
    const uint8_t *p = panel + tw_super_at(type, tw_panel_phase(type, panel), i);
    for (size_t s = 0; s < f->n_head_f16; s++, p += 2 * TW_PANEL)
        memcpy(&ret->f16[s], p + 2 * lane, 2);
    for (size_t w = 0; w < f->n_words; w++, p += 4 * TW_PANEL)
        memcpy(&ret->word[w], p + 4 * lane, 4);
}

static float add_granule(enum tw_dtype type, const uint8_t *panel, size_t lane, size_t i,
                         const tw_xblock *x, float acc)
{
    const tw_qform *f = &tw_qforms[type];
    tw_granule g;
    uint8_t u[TW_GRANULE];
    int32_t dot[2] = {0, 0};
    read_granule(type, panel, lane, i, &g);
    tw_granule_values(type, &g, u);
    for (size_t k = 0; k < TW_GRANULE; k++)
        dot[k / 16] += (u[k] - f->off) * x->q[k];
    if (!f->n_words) {
        float d = type == TW_MXFP4 ? tw_e8m0_half((uint8_t)g.f16[0]) : tw_f16_to_f32(g.f16[0]);
        acc = fmaf(d * x->d, (float)(dot[0] + dot[1]), acc);
        if (f->has_min)
            acc = fmaf(tw_f16_to_f32(g.f16[1]) * x->d, (float)-x->minus_sum, acc);
        return acc;
    }
    tw_super s;
    int sc[2], mn;
    read_super(type, panel, lane, i, &s);
    tw_super_scales(type, &s, (i + tw_panel_phase(type, panel)) % 8, sc, &mn);
    float v = type == TW_Q6_K ? fmaf((float)sc[1], (float)dot[1], (float)sc[0] * (float)dot[0])
                              : (float)sc[0] * (float)(dot[0] + dot[1]);
    acc = fmaf(tw_f16_to_f32(s.f16[0]) * x->d, v, acc);
    if (f->has_min)
        acc = fmaf(tw_f16_to_f32(s.f16[1]) * x->d, (float)mn * (float)x->minus_sum, acc);
    return acc;
}

float tw_ref_quant_chain(const tw_packed *w, size_t i_n, const tw_xblock *x, size_t k0, size_t k1)
{
    const uint8_t *panel =
        (const uint8_t *)w->data + i_n / TW_PANEL * tw_quant_panel_bytes(w->type, w->k);
    float acc = 0.0f;
    for (size_t i = k0 / TW_GRANULE; i < k1 / TW_GRANULE; i++)
        acc = add_granule(w->type, panel, i_n % TW_PANEL, i, &x[i], acc);
    return acc;
}
