/* SPDX-License-Identifier: Apache-2.0 */
/* The operations of kern/wide/qvec.h in NEON, four lanes: compilers take vectors of more apart, lane by
 * lane. Every u is below 128 or has its sign moved to where signed bytes want it, so products of signed
 * bytes are enough: with the dot product instruction four at once, else in 16 bits and joined by pairs;
 * with i8mm tiles of rows take eight at once, of two rows and two outputs. All are exact. */
#ifndef TWINAX_KERN_ARM_QUANT_NEON_H
#define TWINAX_KERN_ARM_QUANT_NEON_H

#include <arm_neon.h>

#include "kern/wide/qbase.h"

TW_INLINE qf q_set1(float x)
{
    return (qf)vdupq_n_f32(x);
}
TW_INLINE qf q_fma(qf a, qf b, qf c)
{
    return (qf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
TW_INLINE qf q_load_f16(const void *p)
{
    return (qf)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}
TW_INLINE qu q_load_u8(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return (qu)vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(v))));
}
TW_INLINE qu q_bytes16(const uint8_t table[16], qu i)
{
    return (qu)vqtbl1q_u8(vld1q_u8(table), (uint8x16_t)i);
}
TW_INLINE qu q_quad(const int8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return (qu)vdupq_n_u32(v);
}
TW_INLINE uint32_t q_top(qu v)
{
    return vmaxvq_u32((uint32x4_t)v);
}
TW_INLINE qu q_max(qu a, qu b)
{
    return (qu)vmaxq_u32((uint32x4_t)a, (uint32x4_t)b);
}
TW_INLINE int32_t q_add_all(qi v)
{
    return vaddvq_s32((int32x4_t)v);
}
TW_INLINE int16x8_t quads_narrow(const qi v[2])
{
    return vcombine_s16(vmovn_s32((int32x4_t)v[0]), vmovn_s32((int32x4_t)v[1]));
}
TW_INLINE void q_store_bytes(int8_t *p, const qi v[8])
{
    for (int i = 0; i < 2; i++)
        vst1q_s8(p + 16 * i, vcombine_s8(vmovn_s16(quads_narrow(v + 4 * i)),
                                         vmovn_s16(quads_narrow(v + 4 * i + 2))));
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
    return (qu)vdupq_n_s32(minus_sum * off);
}
TW_INLINE qu q_part(enum tw_dtype t, qu total)
{
    (void)t;
    return total;
}
TW_INLINE qu q_mac(enum tw_dtype t, qu part, qu u, qu x)
{
    (void)t;
#ifdef __ARM_FEATURE_DOTPROD
    return (qu)vdotq_s32((int32x4_t)part, (int8x16_t)u, (int8x16_t)x);
#else
    const int8x16_t a = (int8x16_t)u, b = (int8x16_t)x;
    const int32x4_t lo = vpaddlq_s16(vmull_s8(vget_low_s8(a), vget_low_s8(b)));
    const int32x4_t hi = vpaddlq_s16(vmull_high_s8(a, b));
    return (qu)vaddq_s32((int32x4_t)part, vpaddq_s32(lo, hi));
#endif
}
TW_INLINE qu q_join(enum tw_dtype t, qu total, qu part)
{
    (void)t;
    (void)total;
    return part;
}

#ifdef __ARM_FEATURE_MATMUL_INT8
/* smmla: 2 x 2 sums of 8 products each, [row 0 with outputs 0, 1, row 1 with them]. */
#define TW_QPAIRS
typedef int8x16_t qpair_x;

TW_INLINE void q_pair_x(qpair_x ret[2], const int8_t *p, const int8_t *q)
{
    const int64x2_t a = (int64x2_t)vld1q_s8(p), b = (int64x2_t)vld1q_s8(q);
    ret[0] = (qpair_x)vzip1q_s64(a, b);
    ret[1] = (qpair_x)vzip2q_s64(a, b);
}
/* u[i]: outputs 2 i and 2 i + 1, of each k 0 .. 7. */
TW_INLINE void q_pair_order(qu u[2])
{
    const uint32x4_t t0 = (uint32x4_t)u[0], t1 = (uint32x4_t)u[1];
    u[0] = (qu)vzip1q_u32(t0, t1);
    u[1] = (qu)vzip2q_u32(t0, t1);
}
TW_INLINE void q_pair_mac(qu part[2], const qu u[2], qpair_x x)
{
    for (int i = 0; i < 2; i++)
        part[i] = (qu)vmmlaq_s32((int32x4_t)part[i], x, (int8x16_t)u[i]);
}
TW_INLINE void q_pair_rows(qu part[2])
{
    const uint64x2_t lo = (uint64x2_t)part[0], hi = (uint64x2_t)part[1];
    part[0] = (qu)vzip1q_u64(lo, hi);
    part[1] = (qu)vzip2q_u64(lo, hi);
}
#endif

#endif
