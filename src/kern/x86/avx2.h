/* SPDX-License-Identifier: Apache-2.0 */
/* The vector operations of kern/wide/vec.h in AVX2, FMA and F16C. */
#ifndef TWINAX_KERN_X86_AVX2_H
#define TWINAX_KERN_X86_AVX2_H

#include <immintrin.h>

#include "kern/wide/base.h"
#include "kern/x86/lanes.h"

#define TW_FN(name)   tw_avx2_##name
#define TW_REGS       16
#define TW_WIDEN_BF16 1
enum { TW_W = 8 };
typedef __m256 vf;
typedef __m256i vi;

TW_INLINE vf v_zero(void)
{
    return _mm256_setzero_ps();
}
TW_INLINE vf v_set1(float x)
{
    return _mm256_set1_ps(x);
}
TW_INLINE vf v_load(const float *p)
{
    return _mm256_loadu_ps(p);
}
/* v in a register: compilers would load it again for each use. */
TW_INLINE vf v_keep(vf v)
{
    __asm__("" : "+x"(v));
    return v;
}
TW_INLINE void v_store(float *p, vf v)
{
    _mm256_storeu_ps(p, v);
}
TW_INLINE vf v_add(vf a, vf b)
{
    return _mm256_add_ps(a, b);
}
TW_INLINE vf v_sub(vf a, vf b)
{
    return _mm256_sub_ps(a, b);
}
TW_INLINE vf v_mul(vf a, vf b)
{
    return _mm256_mul_ps(a, b);
}
TW_INLINE vf v_div(vf a, vf b)
{
    return _mm256_div_ps(a, b);
}
TW_INLINE vf v_sqrt(vf a)
{
    return _mm256_sqrt_ps(a);
}
TW_INLINE vf v_fma(vf a, vf b, vf c)
{
    return _mm256_fmadd_ps(a, b, c);
}
TW_INLINE vf v_max(vf a, vf b) /* a > b ? a : b */
{
    return _mm256_max_ps(a, b);
}
TW_INLINE vf v_min(vf a, vf b) /* a < b ? a : b */
{
    return _mm256_min_ps(a, b);
}
TW_INLINE vf v_neg(vf a)
{
    return _mm256_xor_ps(a, _mm256_set1_ps(-0.0f));
}

/* All bits in lanes [0, n); n may be more than the width. */
TW_INLINE vi v_mask(size_t n)
{
    int m = n < TW_W ? (int)n : TW_W;
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(m), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
/* Lanes [0, n); the rest is +0 and its memory is not touched. */
TW_INLINE vf v_load_n(const float *p, size_t n)
{
    return n >= TW_W ? v_load(p) : _mm256_maskload_ps(p, v_mask(n));
}
TW_INLINE void v_store_n(float *p, vf v, size_t n)
{
    if (n >= TW_W)
        v_store(p, v);
    else
        _mm256_maskstore_ps(p, v_mask(n), v);
}
/* Lane i of a where i is in [lo, hi), else of b. */
TW_INLINE vf v_pick(vf a, vf b, size_t lo, size_t hi)
{
    vi m = _mm256_andnot_si256(v_mask(lo), v_mask(hi));
    return _mm256_blendv_ps(b, a, _mm256_castsi256_ps(m));
}

TW_INLINE float v_tree16(const vf l[16 / TW_W])
{
    return lanes_tree8(v_add(l[0], l[1]));
}
/* Lane i is v_tree16 of r + i * 16 / TW_W. */
TW_INLINE vf v_tree16_each(const vf r[16])
{
    vf s[8];
    TW_UNROLL
    for (int i = 0; i < 8; i++)
        s[i] = v_add(r[2 * i], r[2 * i + 1]);
    return lanes_tree8_each(s);
}
TW_INLINE float v_first(vf v)
{
    return _mm256_cvtss_f32(v);
}
TW_INLINE float v_max_all(vf v)
{
    return lanes_max8(v);
}

/* Any lane infinite or NaN. */
TW_INLINE vi v_special(vf v)
{
    vi e = _mm256_set1_epi32(0x7f800000);
    return _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_castps_si256(v), e), e);
}
TW_INLINE vi v_or(vi a, vi b)
{
    return _mm256_or_si256(a, b);
}
TW_INLINE vf v_or_f(vf a, vf b)
{
    return _mm256_or_ps(a, b);
}
TW_INLINE bool v_any(vi a)
{
    return !_mm256_testz_si256(a, a);
}
/* Bit i set where a[i] == b[i]. */
TW_INLINE unsigned v_equal_bits(vf a, vf b)
{
    return (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_EQ_OQ));
}

/* 16-bit elements, plain order. */
TW_INLINE vf v_load_bf16(const uint16_t *p)
{
    __m128i h = _mm_loadu_si128((const __m128i *)(const void *)p);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}
TW_INLINE vf v_load_f16(const uint16_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}
TW_INLINE void v_store_f16(uint16_t *p, vf v)
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
TW_INLINE void v_store_bf16(uint16_t *p, vf v)
{
    vi u = _mm256_castps_si256(v), top = _mm256_srli_epi32(u, 16);
    vi odd = _mm256_and_si256(top, _mm256_set1_epi32(1));
    vi r = _mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), odd);
    r = _mm256_srli_epi32(r, 16);
    vi nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    r = _mm256_blendv_epi8(r, _mm256_or_si256(top, _mm256_set1_epi32(0x40)), nan);
    r = _mm256_permute4x64_epi64(_mm256_packus_epi32(r, r), 0x08);
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_castsi256_si128(r));
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
        vi v = _mm256_load_si256((const __m256i *)p);
        ret[0] = _mm256_castsi256_ps(_mm256_slli_epi32(v, 16));
        ret[1] = _mm256_castsi256_ps(_mm256_and_si256(v, _mm256_set1_epi32((int)0xffff0000u)));
    } else if (type == TW_F16) {
        ret[0] = v_load_f16((const uint16_t *)p);
        ret[1] = v_load_f16((const uint16_t *)p + 8);
    } else {
        ret[0] = _mm256_load_ps((const float *)p);
        ret[1] = _mm256_load_ps((const float *)p + 8);
    }
}
/* The vectors of 32 columns, as v_strip gave them, into the order of columns. */
TW_INLINE void v_columns(enum tw_dtype type, vf v[32 / TW_W])
{
    (void)type; /* they are */
    (void)v;
}

/* v * 2^n, rounded once; n: whole numbers in [-150, 128]. */
TW_INLINE vf v_scale(vf v, vf n)
{
    vi i = _mm256_cvtps_epi32(n), i1 = _mm256_srai_epi32(i, 1);
    return v_mul(v_mul(v, lanes_pow2(i1)), lanes_pow2(_mm256_sub_epi32(i, i1)));
}

/* TW_W rows become columns. */
TW_INLINE void v_transpose(vf r[TW_W])
{
    lanes_transpose8(r);
}

#endif
