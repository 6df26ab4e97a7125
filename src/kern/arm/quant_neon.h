/* SPDX-License-Identifier: Apache-2.0 */
/* The operations of kern/wide/qvec.h in NEON: two quads. Every u is below 128 or has its sign moved
 * to where signed bytes want it, so products of signed bytes are enough: with the dot product
 * instruction four at once, else in 16 bits and joined by pairs. Both are exact. */
#ifndef TWINAX_KERN_ARM_QUANT_NEON_H
#define TWINAX_KERN_ARM_QUANT_NEON_H

#include <arm_neon.h>

#include "kern/wide/qbase.h"

TW_INLINE uint32x4_t quad_of(qu v, int i)
{
    return i == 0 ? (uint32x4_t)__builtin_shufflevector(v, v, 0, 1, 2, 3)
                  : (uint32x4_t)__builtin_shufflevector(v, v, 4, 5, 6, 7);
}
TW_INLINE qu quads_join(uint32x4_t a, uint32x4_t b)
{
    return (qu)__builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7);
}
TW_INLINE qf quads_join_f(float32x4_t a, float32x4_t b)
{
    return (qf)quads_join(vreinterpretq_u32_f32(a), vreinterpretq_u32_f32(b));
}
TW_INLINE float32x4_t quad_of_f(qf v, int i)
{
    return vreinterpretq_f32_u32(quad_of((qu)v, i));
}

TW_INLINE qf q_set1(float x)
{
    return quads_join_f(vdupq_n_f32(x), vdupq_n_f32(x));
}
TW_INLINE qf q_fma(qf a, qf b, qf c)
{
    return quads_join_f(vfmaq_f32(quad_of_f(c, 0), quad_of_f(a, 0), quad_of_f(b, 0)),
                        vfmaq_f32(quad_of_f(c, 1), quad_of_f(a, 1), quad_of_f(b, 1)));
}
TW_INLINE qf q_load_f16(const void *p)
{
    float16x8_t h = vreinterpretq_f16_u16(vld1q_u16(p));
    return quads_join_f(vcvt_f32_f16(vget_low_f16(h)), vcvt_high_f32_f16(h));
}
TW_INLINE qu q_load_u8(const void *p)
{
    uint16x8_t h = vmovl_u8(vld1_u8(p));
    return quads_join(vmovl_u16(vget_low_u16(h)), vmovl_high_u16(h));
}
TW_INLINE uint32x4_t quad_bytes16(uint8x16_t table, uint32x4_t i)
{
    return vreinterpretq_u32_u8(vqtbl1q_u8(table, vreinterpretq_u8_u32(i)));
}
TW_INLINE qu q_bytes16(const uint8_t table[16], qu i)
{
    uint8x16_t t = vld1q_u8(table);
    return quads_join(quad_bytes16(t, quad_of(i, 0)), quad_bytes16(t, quad_of(i, 1)));
}
TW_INLINE qu q_quad(const int8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return quads_join(vdupq_n_u32(v), vdupq_n_u32(v));
}
TW_INLINE uint32_t q_top(qu v)
{
    return vmaxvq_u32(vmaxq_u32(quad_of(v, 0), quad_of(v, 1)));
}
TW_INLINE qu q_max(qu a, qu b)
{
    return quads_join(vmaxq_u32(quad_of(a, 0), quad_of(b, 0)),
                      vmaxq_u32(quad_of(a, 1), quad_of(b, 1)));
}
TW_INLINE int32_t q_add_all(qi v)
{
    return vaddvq_s32(vreinterpretq_s32_u32(vaddq_u32(quad_of((qu)v, 0), quad_of((qu)v, 1))));
}
TW_INLINE int16x8_t quads_narrow(qi v)
{
    return vcombine_s16(vmovn_s32(vreinterpretq_s32_u32(quad_of((qu)v, 0))),
                        vmovn_s32(vreinterpretq_s32_u32(quad_of((qu)v, 1))));
}
TW_INLINE void q_store_bytes(int8_t *p, const qi v[4])
{
    for (int i = 0; i < 2; i++)
        vst1q_s8(p + 16 * i, vcombine_s8(vmovn_s16(quads_narrow(v[2 * i])),
                                         vmovn_s16(quads_narrow(v[2 * i + 1]))));
}

TW_INLINE size_t q_steps(enum tw_dtype t)
{
    (void)t;
    return TW_MAX_QUADS;
}
TW_INLINE qu q_ready(enum tw_dtype t, qu u)
{
    return t == TW_Q8_0 ? u ^ 0x80808080u : u; /* signed */
}
TW_INLINE qu q_start(enum tw_dtype t, int32_t minus_sum)
{
    const int off = t == TW_Q8_0 ? 0 : tw_qforms[t].off;
    const uint32x4_t v = vdupq_n_u32((uint32_t)(minus_sum * off));
    return quads_join(v, v);
}
TW_INLINE qu q_part(enum tw_dtype t, qu total)
{
    (void)t;
    return total;
}
TW_INLINE uint32x4_t quad_mac(uint32x4_t part, uint32x4_t u, uint32x4_t x)
{
    const int8x16_t a = vreinterpretq_s8_u32(u), b = vreinterpretq_s8_u32(x);
    const int32x4_t c = vreinterpretq_s32_u32(part);
#ifdef __ARM_FEATURE_DOTPROD
    return vreinterpretq_u32_s32(vdotq_s32(c, a, b));
#else
    const int32x4_t lo = vpaddlq_s16(vmull_s8(vget_low_s8(a), vget_low_s8(b)));
    const int32x4_t hi = vpaddlq_s16(vmull_high_s8(a, b));
    return vreinterpretq_u32_s32(vaddq_s32(c, vpaddq_s32(lo, hi)));
#endif
}
TW_INLINE qu q_mac(enum tw_dtype t, qu part, qu u, qu x)
{
    (void)t;
    return quads_join(quad_mac(quad_of(part, 0), quad_of(u, 0), quad_of(x, 0)),
                      quad_mac(quad_of(part, 1), quad_of(u, 1), quad_of(x, 1)));
}
TW_INLINE qu q_join(enum tw_dtype t, qu total, qu part)
{
    (void)t;
    (void)total;
    return part;
}

#endif
