/* SPDX-License-Identifier: Apache-2.0 */
/* The operations of kern/wide/qvec.h in AVX-512 F and BW, as quant_avx2.h has them, and with VNNI,
 * whose sums of four products are 32 bits wide and exact for any bytes. */
#ifndef TWINAX_KERN_X86_QUANT_AVX512_H
#define TWINAX_KERN_X86_QUANT_AVX512_H

#include <immintrin.h>

#include "kern/wide/qbase.h"

TW_INLINE qf q_set1(float x)
{
    return (qf)_mm512_set1_ps(x);
}
TW_INLINE qf q_fma(qf a, qf b, qf c)
{
    return (qf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
TW_INLINE qf q_load_f16(const void *p)
{
    return (qf)_mm512_cvtph_ps(_mm256_load_si256((const __m256i *)p));
}
TW_INLINE qu q_load_u8(const void *p)
{
    return (qu)_mm512_cvtepu8_epi32(_mm_load_si128((const __m128i *)p));
}
TW_INLINE qu q_bytes16(const uint8_t table[16], qu i)
{
    __m128i t = _mm_loadu_si128((const __m128i *)(const void *)table);
    return (qu)_mm512_shuffle_epi8(_mm512_broadcast_i32x4(t), (__m512i)i);
}
TW_INLINE qu q_quad(const int8_t *p)
{
    int v;
    memcpy(&v, p, sizeof v);
    return (qu)_mm512_set1_epi32(v);
}
TW_INLINE uint32_t q_top(qu v)
{
    return _mm512_reduce_max_epu32((__m512i)v);
}
TW_INLINE qu q_max(qu a, qu b)
{
    return (qu)_mm512_max_epu32((__m512i)a, (__m512i)b);
}
TW_INLINE int32_t q_add_all(qi v)
{
    return _mm512_reduce_add_epi32((__m512i)v);
}
TW_INLINE void q_store_bytes(int8_t *p, const qi v[2])
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8((__m512i)v[0]));
    _mm_storeu_si128((__m128i *)(void *)(p + 16), _mm512_cvtepi32_epi8((__m512i)v[1]));
}

#ifdef __AVX512VNNI__
TW_INLINE size_t q_steps(enum tw_dtype t)
{
    (void)t;
    return TW_MAX_QUADS;
}
TW_INLINE qu q_ready(enum tw_dtype t, qu u)
{
    (void)t;
    return u;
}
TW_INLINE qu q_start(enum tw_dtype t, int32_t minus_sum)
{
    const int off = tw_qforms[t].off;
    if (!off)
        return (qu)_mm512_setzero_si512();
    return (qu)_mm512_set1_epi32(minus_sum) << (uint32_t)__builtin_ctz((unsigned)off);
}
TW_INLINE qu q_part(enum tw_dtype t, qu total)
{
    (void)t;
    return total;
}
TW_INLINE qu q_mac(enum tw_dtype t, qu part, qu u, qu x)
{
    (void)t;
    return (qu)_mm512_dpbusd_epi32((__m512i)part, (__m512i)u, (__m512i)x);
}
TW_INLINE qu q_join(enum tw_dtype t, qu total, qu part)
{
    (void)t;
    (void)total;
    return part;
}
#else
TW_INLINE size_t q_steps(enum tw_dtype t)
{
    return tw_qforms[t].range <= 15 ? 8 : tw_qforms[t].range <= 31 ? 4 : t == TW_Q8_0 ? 8 : 2;
}
TW_INLINE qu q_ready(enum tw_dtype t, qu u)
{
    return t == TW_Q8_0 ? u ^ 0x80808080u : u;
}
TW_INLINE qu q_start(enum tw_dtype t, int32_t minus_sum)
{
    const int off = tw_qforms[t].off;
    return (qu)_mm512_set1_epi32(t == TW_Q8_0 || !off ? 0 : minus_sum * off);
}
TW_INLINE qu q_part(enum tw_dtype t, qu total)
{
    return t == TW_Q8_0 ? total : (qu)_mm512_setzero_si512();
}
TW_INLINE qu q_mac(enum tw_dtype t, qu part, qu u, qu x)
{
    const __m512i vu = (__m512i)u, vx = (__m512i)x;
    if (t != TW_Q8_0)
        return (qu)_mm512_add_epi16((__m512i)part, _mm512_maddubs_epi16(vu, vx));
    __m512i sx = _mm512_mask_sub_epi8(vx, _mm512_movepi8_mask(vu), _mm512_setzero_si512(), vx);
    __m512i pairs = _mm512_maddubs_epi16(_mm512_abs_epi8(vu), sx);
    return part + (qu)_mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
}
TW_INLINE qu q_join(enum tw_dtype t, qu total, qu part)
{
    if (t == TW_Q8_0)
        return part;
    return total + (qu)_mm512_madd_epi16((__m512i)part, _mm512_set1_epi16(1));
}
#endif

#endif
