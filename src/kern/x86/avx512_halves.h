/* SPDX-License-Identifier: Apache-2.0 */
/* The vector operations of kern/x86/avx512.h, each as two halves in AVX2: slow, and made for tests
 * alone, so that the shape which the kernels have for AVX-512 runs on machines without it. */
#ifndef TWINAX_KERN_X86_AVX512_HALVES_H
#define TWINAX_KERN_X86_AVX512_HALVES_H

#include <immintrin.h>

#include "kern/wide/base.h"
#include "kern/x86/lanes.h"

#define TW_FN(name)   tw_halves_##name
#define TW_REGS       32
#define TW_WIDEN_BF16 0
enum { TW_W = 16 };
typedef struct vf {
    __m256 a, b; /* lanes 0-7, 8-15 */
} vf;
typedef struct vi {
    __m256i a, b;
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
    return (vf){_mm256_set1_ps(x), _mm256_set1_ps(x)};
}
TW_INLINE vf v_zero(void)
{
    return v_set1(0.0f);
}
TW_INLINE vf v_load(const float *p)
{
    return (vf){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
TW_INLINE vf v_keep(vf v)
{
    return v;
}
TW_INLINE void v_store(float *p, vf v)
{
    _mm256_storeu_ps(p, v.a);
    _mm256_storeu_ps(p + 8, v.b);
}
TW_BINARY(v_add, _mm256_add_ps)
TW_BINARY(v_sub, _mm256_sub_ps)
TW_BINARY(v_mul, _mm256_mul_ps)
TW_BINARY(v_div, _mm256_div_ps)
TW_BINARY(v_max, _mm256_max_ps)
TW_BINARY(v_min, _mm256_min_ps)
TW_BINARY(v_or_f, _mm256_or_ps)
TW_UNARY(v_sqrt, _mm256_sqrt_ps)
TW_INLINE vf v_fma(vf x, vf y, vf z)
{
    return (vf){_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
TW_INLINE vf v_neg(vf x)
{
    __m256 sign = _mm256_set1_ps(-0.0f);
    return (vf){_mm256_xor_ps(x.a, sign), _mm256_xor_ps(x.b, sign)};
}

TW_INLINE vi v_mask(size_t n)
{
    __m256i m = _mm256_set1_epi32(n < TW_W ? (int)n : TW_W);
    return (vi){_mm256_cmpgt_epi32(m, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)),
                _mm256_cmpgt_epi32(m, _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15))};
}
TW_INLINE vf v_load_n(const float *p, size_t n)
{
    vi m = v_mask(n);
    return (vf){_mm256_maskload_ps(p, m.a),
                n > 8 ? _mm256_maskload_ps(p + 8, m.b) : _mm256_setzero_ps()};
}
TW_INLINE void v_store_n(float *p, vf v, size_t n)
{
    vi m = v_mask(n);
    _mm256_maskstore_ps(p, m.a, v.a);
    if (n > 8)
        _mm256_maskstore_ps(p + 8, m.b, v.b);
}
TW_INLINE vf v_pick(vf a, vf b, size_t lo, size_t hi)
{
    vi l = v_mask(lo), h = v_mask(hi);
    __m256i m0 = _mm256_andnot_si256(l.a, h.a), m1 = _mm256_andnot_si256(l.b, h.b);
    return (vf){_mm256_blendv_ps(b.a, a.a, _mm256_castsi256_ps(m0)),
                _mm256_blendv_ps(b.b, a.b, _mm256_castsi256_ps(m1))};
}

TW_INLINE float v_tree16(const vf l[1])
{
    return lanes_tree8(_mm256_add_ps(l[0].a, l[0].b));
}
TW_INLINE vf v_tree16_each(const vf r[16])
{
    __m256 s[16];
    TW_UNROLL
    for (int i = 0; i < 16; i++)
        s[i] = _mm256_add_ps(r[i].a, r[i].b);
    return (vf){lanes_tree8_each(s), lanes_tree8_each(s + 8)};
}
TW_INLINE float v_first(vf v)
{
    return _mm256_cvtss_f32(v.a);
}
TW_INLINE float v_max_all(vf v)
{
    return lanes_max8(_mm256_max_ps(v.a, v.b));
}

TW_INLINE __m256i half_special(__m256 v)
{
    __m256i e = _mm256_set1_epi32(0x7f800000);
    return _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_castps_si256(v), e), e);
}
TW_INLINE vi v_special(vf v)
{
    return (vi){half_special(v.a), half_special(v.b)};
}
TW_INLINE vi v_or(vi x, vi y)
{
    return (vi){_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)};
}
TW_INLINE bool v_any(vi x)
{
    __m256i any = _mm256_or_si256(x.a, x.b);
    return !_mm256_testz_si256(any, any);
}
TW_INLINE unsigned v_equal_bits(vf x, vf y)
{
    return (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(x.a, y.a, _CMP_EQ_OQ)) |
           (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(x.b, y.b, _CMP_EQ_OQ)) << 8;
}

TW_INLINE __m256 half_load_bf16(const uint16_t *p)
{
    __m128i h = _mm_loadu_si128((const __m128i *)(const void *)p);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}
TW_INLINE vf v_load_bf16(const uint16_t *p)
{
    return (vf){half_load_bf16(p), half_load_bf16(p + 8)};
}
TW_INLINE vf v_load_f16(const uint16_t *p)
{
    return (vf){_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p)),
                _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(p + 8)))};
}
TW_INLINE void v_store_f16(uint16_t *p, vf v)
{
    __m128i *to = (__m128i *)(void *)p;
    _mm_storeu_si128(to, _mm256_cvtps_ph(v.a, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128(to + 1, _mm256_cvtps_ph(v.b, _MM_FROUND_TO_NEAREST_INT));
}
TW_INLINE void half_store_bf16(uint16_t *p, __m256 v)
{
    __m256i u = _mm256_castps_si256(v), top = _mm256_srli_epi32(u, 16);
    __m256i odd = _mm256_and_si256(top, _mm256_set1_epi32(1));
    __m256i r = _mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), odd);
    __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    r = _mm256_blendv_epi8(_mm256_srli_epi32(r, 16), _mm256_or_si256(top, _mm256_set1_epi32(0x40)),
                           nan);
    r = _mm256_permute4x64_epi64(_mm256_packus_epi32(r, r), 0x08);
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_castsi256_si128(r));
}
TW_INLINE void v_store_bf16(uint16_t *p, vf v)
{
    half_store_bf16(p, v.a);
    half_store_bf16(p + 8, v.b);
}
TW_INLINE vf v_load_kv(enum tw_dtype type, const void *p, size_t at)
{
    return type == TW_F32 ? v_load((const float *)p + at) : v_load_bf16((const uint16_t *)p + at);
}

/* As there: the even elements of 32, then the odd ones. */
TW_INLINE void v_strip(enum tw_dtype type, const void *p, vf ret[2])
{
    if (type == TW_BF16) {
        const __m256i high = _mm256_set1_epi32((int)0xffff0000u);
        __m256i v = _mm256_load_si256((const __m256i *)p);
        __m256i w = _mm256_load_si256((const __m256i *)p + 1);
        ret[0] = (vf){_mm256_castsi256_ps(_mm256_slli_epi32(v, 16)),
                      _mm256_castsi256_ps(_mm256_slli_epi32(w, 16))};
        ret[1] = (vf){_mm256_castsi256_ps(_mm256_and_si256(v, high)),
                      _mm256_castsi256_ps(_mm256_and_si256(w, high))};
    } else if (type == TW_F16) {
        ret[0] = v_load_f16((const uint16_t *)p);
        ret[1] = v_load_f16((const uint16_t *)p + 16);
    } else {
        ret[0] = v_load((const float *)p);
        ret[1] = v_load((const float *)p + 16);
    }
}
TW_INLINE void v_columns(enum tw_dtype type, vf v[32 / TW_W])
{
    if (type != TW_BF16)
        return;
    __m256 second = v[0].b;
    v[0].b = v[1].a;
    v[1].a = second;
}

TW_INLINE __m256 half_scale(__m256 v, __m256 n)
{
    __m256i i = _mm256_cvtps_epi32(n), i1 = _mm256_srai_epi32(i, 1);
    v = _mm256_mul_ps(v, lanes_pow2(i1));
    return _mm256_mul_ps(v, lanes_pow2(_mm256_sub_epi32(i, i1)));
}
TW_BINARY(v_scale, half_scale)

TW_INLINE void v_transpose(vf r[TW_W])
{
    __m256 q[4][8]; /* squares: rows 0-7 and lanes 0-7, rows 0-7 and lanes 8-15, ... */
    for (int i = 0; i < 8; i++) {
        q[0][i] = r[i].a;
        q[1][i] = r[i].b;
        q[2][i] = r[i + 8].a;
        q[3][i] = r[i + 8].b;
    }
    for (int i = 0; i < 4; i++)
        lanes_transpose8(q[i]);
    for (int i = 0; i < 8; i++) {
        r[i] = (vf){q[0][i], q[2][i]};
        r[i + 8] = (vf){q[1][i], q[3][i]};
    }
}

#endif
