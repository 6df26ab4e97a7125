/* SPDX-License-Identifier: Apache-2.0 */
/* The vector operations of kern/wide/vec.h in AArch64's NEON: eight lanes as two quads, so that the
 * kernels have the shape that they have in AVX2. */
#ifndef TWINAX_KERN_ARM_NEON_H
#define TWINAX_KERN_ARM_NEON_H

#include <arm_neon.h>

#include "kern/wide/base.h"

#define TW_FN(name)   tw_neon_##name
#define TW_REGS       16 /* of two quads each */
#define TW_WIDEN_BF16 0
enum { TW_W = 8 };
typedef struct vf {
    float32x4_t a, b; /* lanes 0-3, 4-7 */
} vf;
typedef struct vi {
    uint32x4_t a, b;
} vi;

#define TW_UNARY(name, op)                                                                         \
    TW_INLINE vf name(vf x)                                                                        \
    {                                                                                              \
        return (vf){op(x.a), op(x.b)};                                                             \
    }
#define TW_BINARY(name, op)                                                                        \
    TW_INLINE vf name(vf x, vf y)                                                                  \
    {                                                                                              \
        return (vf){op(x.a, y.a), op(x.b, y.b)};                                                   \
    }

TW_INLINE vf v_set1(float x)
{
    return (vf){vdupq_n_f32(x), vdupq_n_f32(x)};
}
TW_INLINE vf v_zero(void)
{
    return v_set1(0.0f);
}
TW_INLINE vf v_load(const float *p)
{
    return (vf){vld1q_f32(p), vld1q_f32(p + 4)};
}
TW_INLINE vf v_keep(vf v)
{
    return v;
}
TW_INLINE void v_store(float *p, vf v)
{
    vst1q_f32(p, v.a);
    vst1q_f32(p + 4, v.b);
}
/* a > b ? a : b, so the second where either is NaN: vmaxq would give NaN. */
TW_INLINE float32x4_t quad_max(float32x4_t a, float32x4_t b)
{
    return vbslq_f32(vcgtq_f32(a, b), a, b);
}
TW_INLINE float32x4_t quad_min(float32x4_t a, float32x4_t b)
{
    return vbslq_f32(vcltq_f32(a, b), a, b);
}
TW_INLINE float32x4_t quad_or(float32x4_t a, float32x4_t b)
{
    return vreinterpretq_f32_u32(vorrq_u32(vreinterpretq_u32_f32(a), vreinterpretq_u32_f32(b)));
}
TW_BINARY(v_add, vaddq_f32)
TW_BINARY(v_sub, vsubq_f32)
TW_BINARY(v_mul, vmulq_f32)
TW_BINARY(v_div, vdivq_f32)
TW_BINARY(v_max, quad_max)
TW_BINARY(v_min, quad_min)
TW_BINARY(v_or_f, quad_or)
TW_UNARY(v_sqrt, vsqrtq_f32)
TW_UNARY(v_neg, vnegq_f32)
TW_INLINE vf v_fma(vf x, vf y, vf z)
{
    return (vf){vfmaq_f32(z.a, x.a, y.a), vfmaq_f32(z.b, x.b, y.b)};
}

/* All bits in lanes [0, n); n may be more than the width. */
TW_INLINE vi v_mask(size_t n)
{
    static const uint32_t lane[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    uint32x4_t m = vdupq_n_u32(n < TW_W ? (uint32_t)n : TW_W);
    return (vi){vcltq_u32(vld1q_u32(lane), m), vcltq_u32(vld1q_u32(lane + 4), m)};
}
/* There are no masked loads; memory past n is not touched. */
TW_INLINE vf v_load_n(const float *p, size_t n)
{
    float t[TW_W] = {0};
    if (n >= TW_W)
        return v_load(p);
    for (size_t i = 0; i < n; i++)
        t[i] = p[i];
    return v_load(t);
}
TW_INLINE void v_store_n(float *p, vf v, size_t n)
{
    float t[TW_W];
    if (n >= TW_W) {
        v_store(p, v);
        return;
    }
    v_store(t, v);
    for (size_t i = 0; i < n; i++)
        p[i] = t[i];
}
/* Lane i of a where i is in [lo, hi), else of b. */
TW_INLINE vf v_pick(vf a, vf b, size_t lo, size_t hi)
{
    vi l = v_mask(lo), h = v_mask(hi);
    return (vf){vbslq_f32(vbicq_u32(h.a, l.a), a.a, b.a), vbslq_f32(vbicq_u32(h.b, l.b), a.b, b.b)};
}

/* 8 lanes: + 4, + 2, + 1. */
TW_INLINE float quads_tree8(vf v)
{
    float32x4_t s = vaddq_f32(v.a, v.b);
    float32x2_t t = vadd_f32(vget_low_f32(s), vget_high_f32(s));
    return vget_lane_f32(t, 0) + vget_lane_f32(t, 1);
}
TW_INLINE float v_tree16(const vf l[16 / TW_W])
{
    return quads_tree8(v_add(l[0], l[1]));
}
/* Four quads, each summed as + 2, + 1; lane i is that of q[i]. */
TW_INLINE float32x4_t quads_tree4_each(const float32x4_t q[4])
{
    float32x2_t h[4];
    for (int i = 0; i < 4; i++)
        h[i] = vadd_f32(vget_low_f32(q[i]), vget_high_f32(q[i]));
    float32x4_t x = vcombine_f32(h[0], h[1]), y = vcombine_f32(h[2], h[3]);
    return vaddq_f32(vuzp1q_f32(x, y), vuzp2q_f32(x, y));
}
/* Lane i is v_tree16 of r + i * 16 / TW_W. */
TW_INLINE vf v_tree16_each(const vf r[16])
{
    float32x4_t q[8];
    TW_UNROLL
    for (int i = 0; i < 8; i++) {
        vf s = v_add(r[2 * i], r[2 * i + 1]);
        q[i] = vaddq_f32(s.a, s.b);
    }
    return (vf){quads_tree4_each(q), quads_tree4_each(q + 4)};
}
TW_INLINE float v_first(vf v)
{
    return vgetq_lane_f32(v.a, 0);
}
TW_INLINE float v_max_all(vf v)
{
    return vmaxvq_f32(quad_max(v.a, v.b));
}

/* Any lane infinite or NaN. */
TW_INLINE uint32x4_t quad_special(float32x4_t v)
{
    uint32x4_t e = vdupq_n_u32(0x7f800000u);
    return vceqq_u32(vandq_u32(vreinterpretq_u32_f32(v), e), e);
}
TW_INLINE vi v_special(vf v)
{
    return (vi){quad_special(v.a), quad_special(v.b)};
}
TW_INLINE vi v_or(vi x, vi y)
{
    return (vi){vorrq_u32(x.a, y.a), vorrq_u32(x.b, y.b)};
}
TW_INLINE bool v_any(vi x)
{
    return vmaxvq_u32(vorrq_u32(x.a, x.b)) != 0;
}
TW_INLINE unsigned quad_bits(uint32x4_t m)
{
    static const uint32_t bit[4] = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(m, vld1q_u32(bit)));
}
/* Bit i set where x[i] == y[i]. */
TW_INLINE unsigned v_equal_bits(vf x, vf y)
{
    return quad_bits(vceqq_f32(x.a, y.a)) | quad_bits(vceqq_f32(x.b, y.b)) << 4;
}

/* 16-bit elements, plain order. */
TW_INLINE vf v_load_bf16(const uint16_t *p)
{
    uint16x8_t h = vld1q_u16(p);
    return (vf){vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(h), 16)),
                vreinterpretq_f32_u32(vshll_n_u16(vget_high_u16(h), 16))};
}
TW_INLINE vf v_load_f16(const uint16_t *p)
{
    float16x8_t h = vreinterpretq_f16_u16(vld1q_u16(p));
    return (vf){vcvt_f32_f16(vget_low_f16(h)), vcvt_high_f32_f16(h)};
}
TW_INLINE void v_store_f16(uint16_t *p, vf v)
{
    float16x8_t h = vcvt_high_f16_f32(vcvt_f16_f32(v.a), v.b);
    vst1q_u16(p, vreinterpretq_u16_f16(h));
}
TW_INLINE uint16x4_t quad_bf16(float32x4_t v)
{
    uint32x4_t u = vreinterpretq_u32_f32(v), top = vshrq_n_u32(u, 16);
    uint32x4_t odd = vandq_u32(top, vdupq_n_u32(1));
    uint32x4_t r = vaddq_u32(vaddq_u32(u, vdupq_n_u32(0x7fff)), odd);
    uint32x4_t nan = vorrq_u32(top, vdupq_n_u32(0x40));
    return vmovn_u32(vbslq_u32(vceqq_f32(v, v), vshrq_n_u32(r, 16), nan));
}
TW_INLINE void v_store_bf16(uint16_t *p, vf v)
{
    vst1q_u16(p, vcombine_u16(quad_bf16(v.a), quad_bf16(v.b)));
}

/* Keys and values. */
TW_INLINE vf v_load_kv(enum tw_dtype type, const void *p, size_t at)
{
    return type == TW_F32 ? v_load((const float *)p + at) : v_load_bf16((const uint16_t *)p + at);
}

/* 2 * TW_W columns of a packed panel row: two vectors. */
TW_INLINE void v_strip(enum tw_dtype type, const void *p, vf ret[2])
{
    if (type == TW_BF16) {
        const uint32x4_t high = vdupq_n_u32(0xffff0000u);
        uint32x4_t v = vld1q_u32((const uint32_t *)p), w = vld1q_u32((const uint32_t *)p + 4);
        ret[0].a = vreinterpretq_f32_u32(vshlq_n_u32(v, 16));
        ret[0].b = vreinterpretq_f32_u32(vshlq_n_u32(w, 16));
        ret[1].a = vreinterpretq_f32_u32(vandq_u32(v, high));
        ret[1].b = vreinterpretq_f32_u32(vandq_u32(w, high));
    } else if (type == TW_F16) {
        ret[0] = v_load_f16((const uint16_t *)p);
        ret[1] = v_load_f16((const uint16_t *)p + 8);
    } else {
        ret[0] = v_load((const float *)p);
        ret[1] = v_load((const float *)p + 8);
    }
}
/* The vectors of 32 columns, as v_strip gave them, into the order of columns. */
TW_INLINE void v_columns(enum tw_dtype type, vf v[32 / TW_W])
{
    (void)type; /* they are */
    (void)v;
}

/* v * 2^n, rounded once; n: whole numbers in [-150, 128]. */
TW_INLINE float32x4_t quad_pow2(int32x4_t n)
{
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n, vdupq_n_s32(127)), 23));
}
TW_INLINE float32x4_t quad_scale(float32x4_t v, float32x4_t n)
{
    int32x4_t i = vcvtnq_s32_f32(n), i1 = vshrq_n_s32(i, 1);
    return vmulq_f32(vmulq_f32(v, quad_pow2(i1)), quad_pow2(vsubq_s32(i, i1)));
}
TW_BINARY(v_scale, quad_scale)

TW_INLINE void quad_transpose(float32x4_t r[4])
{
    float64x2_t a = vreinterpretq_f64_f32(vtrn1q_f32(r[0], r[1]));
    float64x2_t b = vreinterpretq_f64_f32(vtrn2q_f32(r[0], r[1]));
    float64x2_t c = vreinterpretq_f64_f32(vtrn1q_f32(r[2], r[3]));
    float64x2_t d = vreinterpretq_f64_f32(vtrn2q_f32(r[2], r[3]));
    r[0] = vreinterpretq_f32_f64(vtrn1q_f64(a, c));
    r[1] = vreinterpretq_f32_f64(vtrn1q_f64(b, d));
    r[2] = vreinterpretq_f32_f64(vtrn2q_f64(a, c));
    r[3] = vreinterpretq_f32_f64(vtrn2q_f64(b, d));
}
/* TW_W rows become columns. */
TW_INLINE void v_transpose(vf r[TW_W])
{
    float32x4_t q[4][4]; /* squares: rows 0-3 and lanes 0-3, rows 0-3 and lanes 4-7, ... */
    TW_UNROLL
    for (int i = 0; i < 4; i++) {
        q[0][i] = r[i].a;
        q[1][i] = r[i].b;
        q[2][i] = r[i + 4].a;
        q[3][i] = r[i + 4].b;
    }
    TW_UNROLL
    for (int i = 0; i < 4; i++)
        quad_transpose(q[i]);
    TW_UNROLL
    for (int i = 0; i < 4; i++) {
        r[i] = (vf){q[0][i], q[2][i]};
        r[i + 4] = (vf){q[1][i], q[3][i]};
    }
}
#undef TW_UNARY
#undef TW_BINARY

#endif
