/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a file's blocks, from f32 and to f32. */
#include "kern/quant.h"

#include <math.h>
#include <string.h>

#include "kern/half.h"
#include "kern/ref/ref.h"

static const float F16_MAX = 65504.0f;

static void widen_granule(enum tw_dtype type, const void *row, size_t i, float *dst)
{
    const tw_qform *f = &tw_qforms[type];
    tw_granule g;
    tw_super s;
    uint8_t u[TW_GRANULE];
    int sc[2] = {1, 1}, mn = 0;
    float d, m = 0.0f;
    tw_granule_load(type, row, i, &g);
    tw_granule_values(type, &g, u);
    if (f->n_words) {
        tw_super_load(type, row, i / 8, &s);
        tw_super_scales(type, &s, i % 8, sc, &mn);
        d = tw_f16_to_f32(s.f16[0]);
        m = f->has_min ? -(tw_f16_to_f32(s.f16[1]) * (float)mn) : 0.0f;
    } else {
        d = type == TW_MXFP4 ? tw_e8m0_half((uint8_t)g.f16[0]) : tw_f16_to_f32(g.f16[0]);
        m = f->has_min ? tw_f16_to_f32(g.f16[1]) : 0.0f;
    }
    for (size_t k = 0; k < TW_GRANULE; k++) {
        float v = d * (float)sc[k / 16] * (float)(u[k] - f->off); /* exact */
        dst[k] = f->has_min ? v + m : v;
    }
}

void tw_dequantize_row(enum tw_dtype type, float *dst, const void *src, size_t k)
{
    if (!tw_dtype_is_quant(type))
        tw_ref_to_f32(dst, src, type, k);
    for (size_t i = 0; tw_dtype_is_quant(type) && i < k / TW_GRANULE; i++)
        widen_granule(type, src, i, dst + i * TW_GRANULE);
}

static void store_scale(uint8_t *dst, float d)
{
    uint16_t h = tw_f16_from_f32(d > F16_MAX ? F16_MAX : d < -F16_MAX ? -F16_MAX : d);
    memcpy(dst, &h, sizeof h);
}

static void to_q8_0(uint8_t *dst, const float *x)
{
    float amax = 0.0f;
    for (size_t k = 0; k < TW_GRANULE; k++)
        amax = fabsf(x[k]) > amax ? fabsf(x[k]) : amax;
    const float d = amax / 127.0f, inv = 1.0f / d;
    store_scale(dst, d);
    for (size_t k = 0; k < TW_GRANULE; k++) {
        float q = isfinite(inv) ? roundf(x[k] * inv) : 0.0f;
        dst[2 + k] = (uint8_t)(int8_t)q;
    }
}

static uint8_t to_nibble(float x, float inv)
{
    float q = isfinite(inv) ? x * inv + 8.5f : 8.0f;
    return q < 15.0f ? (uint8_t)q : 15;
}

static void to_q4_0(uint8_t *dst, const float *x)
{
    float v = 0.0f;
    for (size_t k = 0; k < TW_GRANULE; k++)
        v = fabsf(x[k]) > fabsf(v) ? x[k] : v;
    const float d = v / -8.0f, inv = 1.0f / d;
    store_scale(dst, d);
    for (size_t j = 0; j < 16; j++)
        dst[2 + j] = (uint8_t)(to_nibble(x[j], inv) | to_nibble(x[j + 16], inv) << 4);
}

void tw_quantize_rows(enum tw_dtype to, void *dst_blocks, const float *src, size_t k)
{
    uint8_t *dst = dst_blocks;
    for (size_t i = 0; i < k / TW_GRANULE; i++, dst += tw_dtype_block_bytes(to))
        (to == TW_Q8_0 ? to_q8_0 : to_q4_0)(dst, src + i * TW_GRANULE);
}
