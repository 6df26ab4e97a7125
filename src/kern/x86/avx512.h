/* SPDX-License-Identifier: Apache-2.0 */
/* The vector operations of kern/wide/vec.h in AVX-512 F, BW, VL and DQ. */
#ifndef TWINAX_KERN_X86_AVX512_H
#define TWINAX_KERN_X86_AVX512_H

#include <immintrin.h>

#include "kern/wide/base.h"
#include "kern/x86/lanes.h"

#define TW_FN(name)   tw_avx512_##name
#define TW_REGS       32
#define TW_WIDEN_BF16 0
enum { TW_W = 16 };
typedef __m512 vf;
typedef __m512i vi;

TW_INLINE vf v_zero(void)
{
    return _mm512_setzero_ps();
}
TW_INLINE vf v_set1(float x)
{
    return _mm512_set1_ps(x);
}
TW_INLINE vf v_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
/* v in a register: compilers would load it again for each use. */
TW_INLINE vf v_keep(vf v)
{
    __asm__("" : "+v"(v));
    return v;
}
TW_INLINE void v_store(float *p, vf v)
{
    _mm512_storeu_ps(p, v);
}
TW_INLINE vf v_add(vf a, vf b)
{
    return _mm512_add_ps(a, b);
}
TW_INLINE vf v_sub(vf a, vf b)
{
    return _mm512_sub_ps(a, b);
}
TW_INLINE vf v_mul(vf a, vf b)
{
    return _mm512_mul_ps(a, b);
}
TW_INLINE vf v_div(vf a, vf b)
{
    return _mm512_div_ps(a, b);
}
TW_INLINE vf v_sqrt(vf a)
{
    return _mm512_sqrt_ps(a);
}
TW_INLINE vf v_fma(vf a, vf b, vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}
TW_INLINE vf v_max(vf a, vf b) /* a > b ? a : b */
{
    return _mm512_max_ps(a, b);
}
TW_INLINE vf v_min(vf a, vf b) /* a < b ? a : b */
{
    return _mm512_min_ps(a, b);
}
TW_INLINE vf v_neg(vf a)
{
    return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f));
}

/* Bits of lanes [0, n); n may be more than the width. */
TW_INLINE __mmask16 v_mask(size_t n)
{
    return (__mmask16)(n < TW_W ? (1u << n) - 1 : 0xffffu);
}
/* Lanes [0, n); the rest is +0 and its memory is not touched. */
TW_INLINE vf v_load_n(const float *p, size_t n)
{
    return _mm512_maskz_loadu_ps(v_mask(n), p);
}
TW_INLINE void v_store_n(float *p, vf v, size_t n)
{
    _mm512_mask_storeu_ps(p, v_mask(n), v);
}
/* Lane i of a where i is in [lo, hi), else of b. */
TW_INLINE vf v_pick(vf a, vf b, size_t lo, size_t hi)
{
    return _mm512_mask_blend_ps((__mmask16)(v_mask(hi) & ~(unsigned)v_mask(lo)), b, a);
}

TW_INLINE float v_tree16(const vf l[1])
{
    return lanes_tree8(
        _mm256_add_ps(_mm512_castps512_ps256(l[0]), _mm512_extractf32x8_ps(l[0], 1)));
}
#define TW_BLOCKS(a, b, sel) _mm512_shuffle_f32x4(a, b, sel)
/* Lane i is v_tree16 of r + i. Rows enter in the order in which the shuffles leave them. */
TW_INLINE vf v_tree16_each(const vf r[16])
{
    static const unsigned char from[16] = {0, 2, 1, 3, 8, 10, 9, 11, 4, 6, 5, 7, 12, 14, 13, 15};
    vf s[8], t[4], u[2];
    TW_UNROLL
    for (int i = 0; i < 8; i++) {
        vf a = r[from[i]], b = r[from[i + 8]];
        s[i] = _mm512_add_ps(TW_BLOCKS(a, b, 0x44), TW_BLOCKS(a, b, 0xee));
    }
    TW_UNROLL
    for (int i = 0; i < 4; i++)
        t[i] = _mm512_add_ps(TW_BLOCKS(s[i], s[i + 4], 0x88), TW_BLOCKS(s[i], s[i + 4], 0xdd));
    TW_UNROLL
    for (int i = 0; i < 2; i++) {
        __m512d a = _mm512_castps_pd(t[i]), b = _mm512_castps_pd(t[i + 2]);
        u[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)),
                             _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
    }
    return _mm512_add_ps(_mm512_shuffle_ps(u[0], u[1], 0x88), _mm512_shuffle_ps(u[0], u[1], 0xdd));
}
TW_INLINE float v_first(vf v)
{
    return _mm512_cvtss_f32(v);
}
TW_INLINE float v_max_all(vf v)
{
    return lanes_max8(_mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1)));
}

/* Any lane infinite or NaN. */
TW_INLINE vi v_special(vf v)
{
    vi e = _mm512_set1_epi32(0x7f800000);
    return _mm512_movm_epi32(
        _mm512_cmpeq_epi32_mask(_mm512_and_si512(_mm512_castps_si512(v), e), e));
}
TW_INLINE vi v_or(vi a, vi b)
{
    return _mm512_or_si512(a, b);
}
TW_INLINE vf v_or_f(vf a, vf b)
{
    return _mm512_or_ps(a, b);
}
TW_INLINE bool v_any(vi a)
{
    return _mm512_test_epi32_mask(a, a) != 0;
}
/* Bit i set where a[i] == b[i]. */
TW_INLINE unsigned v_equal_bits(vf a, vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ);
}

/* 16-bit elements, plain order. */
TW_INLINE vf v_load_bf16(const uint16_t *p)
{
    __m256i h = _mm256_loadu_si256((const __m256i *)(const void *)p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}
TW_INLINE vf v_load_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
TW_INLINE void v_store_f16(uint16_t *p, vf v)
{
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
TW_INLINE void v_store_bf16(uint16_t *p, vf v)
{
    vi u = _mm512_castps_si512(v), top = _mm512_srli_epi32(u, 16);
    vi odd = _mm512_and_si512(top, _mm512_set1_epi32(1));
    vi r = _mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), odd);
    r = _mm512_srli_epi32(r, 16);
    r = _mm512_mask_or_epi32(r, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), top,
                             _mm512_set1_epi32(0x40));
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtepi32_epi16(r));
}

/* Keys and values. */
TW_INLINE vf v_load_kv(enum tw_dtype type, const void *p, size_t at)
{
    return type == TW_F32 ? v_load((const float *)p + at) : v_load_bf16((const uint16_t *)p + at);
}

/* 2 * TW_W columns of a packed panel row: two vectors. Of a BF16 row the shift gives columns 0-7 and
 * 16-23, the mask 8-15 and 24-31. */
TW_INLINE void v_strip(enum tw_dtype type, const void *p, vf ret[2])
{
    if (type == TW_BF16) {
        vi v = _mm512_load_si512(p);
        ret[0] = _mm512_castsi512_ps(_mm512_slli_epi32(v, 16));
        ret[1] = _mm512_castsi512_ps(_mm512_and_si512(v, _mm512_set1_epi32((int)0xffff0000u)));
    } else if (type == TW_F16) {
        ret[0] = v_load_f16((const uint16_t *)p);
        ret[1] = v_load_f16((const uint16_t *)p + 16);
    } else {
        ret[0] = _mm512_load_ps((const float *)p);
        ret[1] = _mm512_load_ps((const float *)p + 16);
    }
}
/* The vectors of 32 columns, as v_strip gave them, into the order of columns. */
TW_INLINE void v_columns(enum tw_dtype type, vf v[32 / TW_W])
{
    if (type != TW_BF16)
        return;
    vf a = v[0], b = v[1];
    v[0] = TW_BLOCKS(a, b, 0x44);
    v[1] = TW_BLOCKS(a, b, 0xee);
}

/* v * 2^n, rounded once; n: whole numbers in [-150, 128]. */
TW_INLINE vf v_scale(vf v, vf n)
{
    return _mm512_scalef_ps(v, n);
}

/* TW_W rows become columns. */
TW_INLINE void v_transpose(vf r[TW_W])
{
    vf t[16], u[16];
    TW_UNROLL
    for (int i = 0; i < 8; i++) {
        t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    TW_UNROLL
    for (int i = 0; i < 16; i += 4) {
        u[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
        u[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xee);
        u[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        u[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    TW_UNROLL
    for (int i = 0; i < 4; i++) {
        vf a0 = TW_BLOCKS(u[i], u[i + 4], 0x88), a1 = TW_BLOCKS(u[i], u[i + 4], 0xdd);
        vf b0 = TW_BLOCKS(u[i + 8], u[i + 12], 0x88), b1 = TW_BLOCKS(u[i + 8], u[i + 12], 0xdd);
        r[i] = TW_BLOCKS(a0, b0, 0x88);
        r[i + 8] = TW_BLOCKS(a0, b0, 0xdd);
        r[i + 4] = TW_BLOCKS(a1, b1, 0x88);
        r[i + 12] = TW_BLOCKS(a1, b1, 0xdd);
    }
}
#undef TW_BLOCKS

#endif
