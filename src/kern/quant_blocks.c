/* SPDX-License-Identifier: Apache-2.0 */
/* A file's blocks, taken apart. Layouts (little-endian, f16 d and m first unless told):
 *   Q8_0   d, int8 q[32]
 *   Q4_0   d, nibbles[16]: byte j holds k = j low and k = j + 16 high
 *   Q4_1   d, m, nibbles[16]
 *   Q5_0   d, u32 high bits (bit k), nibbles[16]
 *   Q5_1   d, m, u32 high bits, nibbles[16]
 *   MXFP4  u8 exponent, nibbles[16]
 *   Q4_K   d, dmin, 12 bytes of 6-bit sc and mn, nibbles[128]: byte 32 i + l holds column 64 i + l low
 *          and 64 i + 32 + l high
 *   Q5_K   d, dmin, 12 bytes, high[32] (byte l, bit j: column 32 j + l), nibbles[128]
 *   Q6_K   nibbles[128], pairs[64], int8 sc[16], d. Half n (128 columns), granule c of it: nibbles in
 *          bytes 64 n + 32 (c % 2) + l, low for c < 2; bits 4-5 in pairs[32 n + l] >> 2 c */
#include "kern/quant.h"

#include <string.h>

#include "kern/half.h"

enum { LOW4 = 0x0f0f0f0f, LOW1 = 0x01010101, LOW2 = 0x03030303 };

static uint32_t load_32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint16_t load_16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Bit 4t + b to bit 8b + t. */
static uint32_t spread_bits(uint32_t bits)
{
    uint32_t v = 0;
    for (unsigned t = 0; t < 8; t++)
        v |= ((bits >> 4 * t & 15u) * 0x00204081u & LOW1) << t;
    return v;
}

/* 16 bytes whose nibbles are in a panel's order already. */
static void load_nibbles(const uint8_t *p, tw_granule *ret)
{
    for (size_t i = 0; i < 4; i++)
        ret->q[i] = load_32(p + 4 * i);
}

/* 32 bytes with one nibble each, at bit shift. */
static void load_half_nibbles(const uint8_t *p, unsigned shift, tw_granule *ret)
{
    for (size_t i = 0; i < 4; i++)
        ret->q[i] = (load_32(p + 4 * i) >> shift & LOW4) | (load_32(p + 16 + 4 * i) >> shift & LOW4)
                                                               << 4;
}

static void load_q5_k(const uint8_t *b, size_t j, tw_granule *ret)
{
    load_half_nibbles(b + 48 + j / 2 * 32, j % 2 * 4, ret);
    ret->high[0] = 0;
    for (size_t t = 0; t < 8; t++)
        ret->high[0] |= (load_32(b + 16 + 4 * t) >> j & LOW1) << t;
}

static void load_q6_k(const uint8_t *b, size_t j, tw_granule *ret)
{
    const size_t n = j / 4, c = j % 4;
    load_half_nibbles(b + 64 * n + 32 * (c % 2), c < 2 ? 0 : 4, ret);
    ret->high[0] = ret->high[1] = 0;
    for (size_t t = 0; t < 8; t++)
        ret->high[t / 4] |= (load_32(b + 128 + 32 * n + 4 * t) >> 2 * c & LOW2) << 2 * (t % 4);
}

static void load_small(enum tw_dtype type, const uint8_t *b, tw_granule *ret)
{
    const tw_qform *f = &tw_qforms[type];
    for (size_t i = 0; i < f->n_f16; i++, b += 2)
        ret->f16[i] = load_16(b);
    if (type == TW_MXFP4)
        ret->f16[0] = *b++;
    if (f->n_high) {
        ret->high[0] = spread_bits(load_32(b));
        b += 4;
    }
    if (type != TW_Q8_0) {
        load_nibbles(b, ret);
        return;
    }
    for (size_t t = 0; t < 8; t++)
        ret->q[t] = load_32(b + 4 * t) ^ 0x80808080u;
}

void tw_granule_load(enum tw_dtype type, const void *row, size_t i_granule, tw_granule *ret)
{
    const tw_qform *f = &tw_qforms[type];
    const size_t per_block = f->block / TW_GRANULE, j = i_granule % per_block;
    const uint8_t *b = (const uint8_t *)row + i_granule / per_block * f->block_bytes;
    if (type == TW_Q4_K)
        load_half_nibbles(b + 16 + j / 2 * 32, j % 2 * 4, ret);
    else if (type == TW_Q5_K)
        load_q5_k(b, j, ret);
    else if (type == TW_Q6_K)
        load_q6_k(b, j, ret);
    else
        load_small(type, b, ret);
}

/* The 12 bytes: sc and mn of granules 0-3 in the low six bits of bytes 0-3 and 4-7, low nibbles of
 * granules 4-7 in bytes 8-11, their upper two bits on top of bytes 0-7. */
static void load_six_bits(const uint8_t *s, uint32_t word[3])
{
    word[0] = word[1] = word[2] = 0;
    for (unsigned j = 0; j < 8; j++) {
        unsigned sc = j < 4 ? s[j] & 63u : (s[j + 4] & 15u) | (unsigned)s[j - 4] >> 6 << 4;
        unsigned mn = j < 4 ? s[j + 4] & 63u : (unsigned)s[j + 4] >> 4 | (unsigned)s[j] >> 6 << 4;
        word[0] |= (uint32_t)(sc & 15) << 4 * j;
        word[1] |= (uint32_t)(mn & 15) << 4 * j;
        word[2] |= (uint32_t)(sc >> 4 | mn >> 4 << 2) << 4 * j;
    }
}

void tw_super_load(enum tw_dtype type, const void *row, size_t i_super, tw_super *ret)
{
    const uint8_t *b = (const uint8_t *)row + i_super * tw_qforms[type].block_bytes;
    if (type == TW_Q6_K) {
        for (size_t i = 0; i < 4; i++)
            ret->word[i] = load_32(b + 192 + 4 * i);
        ret->f16[0] = load_16(b + 208);
        return;
    }
    ret->f16[0] = load_16(b);
    ret->f16[1] = load_16(b + 2);
    load_six_bits(b + 4, ret->word);
}

void tw_granule_values(enum tw_dtype type, const tw_granule *g, uint8_t ret[TW_GRANULE])
{
    static const uint8_t mxfp4[16] = {TW_MXFP4_VALUES};
    const tw_qform *f = &tw_qforms[type];
    for (unsigned k = 0; k < TW_GRANULE; k++) {
        const unsigned t = k / 4, at = k % 4 * 8;
        unsigned u;
        if (f->n_q == 8)
            u = g->q[t] >> at & 255u;
        else
            u = g->q[t % 4] >> (at + t / 4 * 4) & 15u;
        if (f->n_high == 1)
            u |= (g->high[0] >> (at + t) & 1u) << 4;
        if (f->n_high == 2)
            u |= (g->high[t / 4] >> (at + t % 4 * 2) & 3u) << 4;
        ret[k] = type == TW_MXFP4 ? mxfp4[u] : (uint8_t)u;
    }
}

void tw_super_scales(enum tw_dtype type, const tw_super *s, size_t j, int ret_sc[2], int *ret_mn)
{
    if (type == TW_Q6_K) {
        const uint32_t pair = s->word[j / 2] >> 16 * (j % 2);
        ret_sc[0] = (int8_t)(pair & 255u);
        ret_sc[1] = (int8_t)(pair >> 8 & 255u);
        *ret_mn = 0;
        return;
    }
    const uint32_t top = s->word[2] >> 4 * j;
    ret_sc[0] = ret_sc[1] = (int)((s->word[0] >> 4 * j & 15u) | (top & 3u) << 4);
    *ret_mn = (int)((s->word[1] >> 4 * j & 15u) | (top >> 2 & 3u) << 4);
}

float tw_e8m0_half(uint8_t e)
{
    uint32_t bits = (uint32_t)e << 23;
    return 0.5f * tw_f32_from_bits(bits ? bits : 0x00400000u);
}
