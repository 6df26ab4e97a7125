/* SPDX-License-Identifier: Apache-2.0 */
/* bf16, f16 and e4m3 in integer arithmetic: exact widening, narrowing to nearest even. NaN: narrowing
 * gives a quiet NaN with the top bits of the payload; widening f16 quiets, as the processors do. */
#ifndef TWINAX_KERN_HALF_H
#define TWINAX_KERN_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint32_t tw_f32_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline float tw_f32_from_bits(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static inline float tw_bf16_to_f32(uint16_t h)
{
    return tw_f32_from_bits((uint32_t)h << 16);
}

static inline uint16_t tw_bf16_from_f32(float x)
{
    uint32_t u = tw_f32_bits(x);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

static inline float tw_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t exp = h >> 10 & 0x1fu, man = h & 0x3ffu;
    if (exp == 0x1f)
        return tw_f32_from_bits(sign | 0x7f800000u | man << 13 | (man ? 0x400000u : 0));
    if (exp == 0) { /* zero or subnormal: man * 2^-24 is exact */
        float v = (float)man * 0x1p-24f;
        return tw_f32_from_bits(sign | tw_f32_bits(v));
    }
    return tw_f32_from_bits(sign | (exp + 112) << 23 | man << 13);
}

static inline uint16_t tw_f16_from_f32(float x)
{
    uint32_t u = tw_f32_bits(x), sign = u >> 16 & 0x8000u;
    u &= 0x7fffffffu;
    if (u > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | (u >> 13 & 0x3ffu));
    if (u >= 0x477ff000u) /* 65520 and more round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (u >= 0x38800000u) /* normal: rebias, round the 13 dropped bits */
        return (uint16_t)(sign | ((u - 0x38000000u + 0xfffu + (u >> 13 & 1u)) >> 13));
    if (u <= 0x33000000u) /* 2^-25 and less: the tie goes to even zero */
        return (uint16_t)sign;
    uint32_t shift = 126 - (u >> 23), man = (u & 0x7fffffu) | 0x800000u;
    uint32_t half = (uint32_t)1 << (shift - 1), odd = man >> shift & 1u;
    return (uint16_t)(sign | ((man + half - 1 + odd) >> shift));
}

/* Without infinities: sign, 4 bits of exponent (bias 7), 3 of fraction; all ones is NaN. */
static inline float tw_e4m3_to_f32(uint8_t b)
{
    const uint32_t sign = (uint32_t)(b & 0x80u) << 24, exp = b >> 3 & 15u, man = b & 7u;
    if (exp == 15 && man == 7)
        return tw_f32_from_bits(sign | 0x7fc00000u);
    if (exp == 0) /* zero or subnormal: man * 2^-9 is exact */
        return tw_f32_from_bits(sign | tw_f32_bits((float)man * 0x1p-9f));
    return tw_f32_from_bits(sign | (exp + 120) << 23 | man << 20);
}

#endif
