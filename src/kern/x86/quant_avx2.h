/* SPDX-License-Identifier: Apache-2.0 */
/* The operations of kern/wide/qvec.h in AVX2. Pairs of products meet in 16 bits, signed: a u of up
 * to 15 leaves room for 8 pairs, 31 for 4, 63 for 2. A u of 8 bits has its sign moved to x: both
 * magnitudes are below 129, and a pair fits. */
#ifndef TWINAX_KERN_X86_QUANT_AVX2_H
#define TWINAX_KERN_X86_QUANT_AVX2_H

#include <immintrin.h>

#include "kern/wide/qbase.h"

_Static_assert(8 * 2 * 15 * 127 < 32768 && 4 * 2 * 31 * 127 < 32768 && 2 * 2 * 63 * 127 < 32768 &&
                   2 * 128 * 127 < 32768,
               "no saturation");

TW_INLINE qf q_set1(float x)
{
    return (qf)_mm256_set1_ps(x);
}
TW_INLINE qf q_fma(qf a, qf b, qf c)
{
    return (qf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
TW_INLINE qf q_load_f16(const void *p)
{
    return (qf)_mm256_cvtph_ps(_mm_load_si128((const __m128i *)p));
}
TW_INLINE qu q_load_u8(const void *p)
{
    return (qu)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p));
}
TW_INLINE qu q_bytes16(const uint8_t table[16], qu i)
{
    __m128i t = _mm_loadu_si128((const __m128i *)(const void *)table);
    return (qu)_mm256_shuffle_epi8(_mm256_broadcastsi128_si256(t), (__m256i)i);
}
TW_INLINE qu q_quad(const int8_t *p)
{
    int v;
    memcpy(&v, p, sizeof v);
    return (qu)_mm256_set1_epi32(v);
}
TW_INLINE uint32_t q_top(qu v)
{
    __m128i a =
        _mm_max_epi32(_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1));
    a = _mm_max_epi32(a, _mm_shuffle_epi32(a, 0x4e));
    a = _mm_max_epi32(a, _mm_shuffle_epi32(a, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(a);
}
TW_INLINE qu q_max(qu a, qu b) /* lanes below 2^31 */
{
    return (qu)_mm256_max_epi32((__m256i)a, (__m256i)b);
}
TW_INLINE int32_t q_add_all(qi v)
{
    __m128i a =
        _mm_add_epi32(_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1));
    a = _mm_add_epi32(a, _mm_shuffle_epi32(a, 0x4e));
    a = _mm_add_epi32(a, _mm_shuffle_epi32(a, 0xb1));
    return _mm_cvtsi128_si32(a);
}
TW_INLINE void q_store_bytes(int8_t *p, const qi v[4])
{
    __m256i a = _mm256_packs_epi32((__m256i)v[0], (__m256i)v[1]);
    __m256i b = _mm256_packs_epi32((__m256i)v[2], (__m256i)v[3]);
    __m256i c = _mm256_packs_epi16(a, b); /* dwords 0 2 4 6 | 1 3 5 7 of the order wanted */
    c = _mm256_permutevar8x32_epi32(c, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256((__m256i *)(void *)p, c);
}

TW_INLINE size_t q_steps(enum tw_dtype t)
{
    return tw_qforms[t].range <= 15 ? 8 : tw_qforms[t].range <= 31 ? 4 : t == TW_Q8_0 ? 8 : 2;
}
TW_INLINE qu q_ready(enum tw_dtype t, qu u)
{
    return t == TW_Q8_0 ? u ^ 0x80808080u : u; /* signed */
}
TW_INLINE qu q_start(enum tw_dtype t, int32_t minus_sum)
{
    const int off = tw_qforms[t].off;
    return (qu)_mm256_set1_epi32(t == TW_Q8_0 || !off ? 0 : minus_sum * off);
}
TW_INLINE qu q_part(enum tw_dtype t, qu total)
{
    return t == TW_Q8_0 ? total : (qu)_mm256_setzero_si256();
}
TW_INLINE qu q_mac(enum tw_dtype t, qu part, qu u, qu x)
{
    const __m256i vu = (__m256i)u, vx = (__m256i)x;
    if (t != TW_Q8_0)
        return (qu)_mm256_add_epi16((__m256i)part, _mm256_maddubs_epi16(vu, vx));
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(vu), _mm256_sign_epi8(vx, vu));
    return part + (qu)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}
TW_INLINE qu q_join(enum tw_dtype t, qu total, qu part)
{
    if (t == TW_Q8_0)
        return part;
    return total + (qu)_mm256_madd_epi16((__m256i)part, _mm256_set1_epi16(1));
}

#endif
