/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of quantised weights, for this folder alone: what a granule (32 columns of one output) holds
 * in either order, a file's or a panel's.
 *
 * A granule's values are unsigned, u in [0, range]; the weight is d * (u - off), with integer
 * sub-scales d * sc * (u - off) - dmin * mn, with a float minimum d * u + m. Four k make a dword, k
 * ascending from its low byte: a "quad". Quads of an output lie as
 *   8 bits:  q[t] = quad t                                   (t = 0 .. 7)
 *   4 bits:  q[i] = quad i in the low nibbles, quad i + 4 in the high ones (i = 0 .. 3)
 *   bit 4:   high[0], quad t at bit t of each byte
 *   bits 4-5: high[t / 4], quad t at bits 2 (t % 4) of each byte. */
#ifndef TWINAX_KERN_QUANT_H
#define TWINAX_KERN_QUANT_H

#include "kern/kern.h"

/* A panel, all little-endian dwords and f16 in rows of its 64 outputs (L = [64]):
 *
 *   K-quants    | first column's granule in its super-block, 64 bytes (u32, rest 0)
 *               | super-block: d L f16, dmin L f16 (not Q6_K), words [n_words] L u32 ---+ again from
 *   all types   | granule: d L f16 (MXFP4: L u8), m L f16, q [n_q] L u32, high [n_high] L | each
 *               | granule ...                                                      <----+ super-block
 *
 * Cuts of a row begin and end at any granule: the first and last super-blocks then hold fewer. */
enum {
    TW_PANEL_HEAD = 64, /* bytes, K-quants */
    TW_GRANULE = 32,    /* columns that share a scale of the activations */
    TW_SUPER = 256,     /* columns of a K-quant's block */
    TW_MAX_QUADS = 8,   /* of a granule */
    TW_MAX_WORDS = 4,   /* of sub-scales, of one output in one super-block */
};

typedef struct tw_qform {
    uint16_t block, block_bytes; /* in a file; 0 for plain types */
    uint8_t n_q, n_high;         /* dwords of an output in a granule */
    uint8_t n_f16;               /* f16 scales of a granule: d, or d and m */
    uint8_t n_words;             /* K-quants: dwords of sub-scales in a super-block */
    uint8_t n_head_f16;          /* ... and its f16 scales: d, or d and dmin */
    uint8_t range, off;
    bool has_min; /* m or dmin */
} tw_qform;

static const tw_qform tw_qforms[TW_DTYPE_END] = {
    [TW_Q8_0] = {32, 34, .n_q = 8, .n_f16 = 1, .range = 255, .off = 128},
    [TW_Q4_0] = {32, 18, .n_q = 4, .n_f16 = 1, .range = 15, .off = 8},
    [TW_Q4_1] = {32, 20, .n_q = 4, .n_f16 = 2, .range = 15, .has_min = true},
    [TW_Q5_0] = {32, 22, .n_q = 4, .n_high = 1, .n_f16 = 1, .range = 31, .off = 16},
    [TW_Q5_1] = {32, 24, .n_q = 4, .n_high = 1, .n_f16 = 2, .range = 31, .has_min = true},
    [TW_Q4_K] = {256, 144, .n_q = 4, .n_words = 3, .n_head_f16 = 2, .range = 15, .has_min = true},
    [TW_Q5_K] = {256, 176, .n_q = 4, .n_high = 1, .n_words = 3, .n_head_f16 = 2, .range = 31,
                 .has_min = true},
    [TW_Q6_K] = {256, 210, .n_q = 4, .n_high = 2, .n_words = 4, .n_head_f16 = 1, .range = 63,
                 .off = 32},
    /* Values doubled, plus 16: 2 * e2m1 is one of 0 1 2 3 4 6 8 12 and their negatives. The nibble
     * is a code, looked up. d: E8M0, half of 2^(e - 127). */
    [TW_MXFP4] = {32, 17, .n_q = 4, .range = 28, .off = 16},
};

/* 16 + 2 * e2m1. */
#define TW_MXFP4_VALUES 16, 17, 18, 19, 20, 22, 24, 28, 16, 15, 14, 13, 12, 10, 8, 4

static inline size_t tw_granule_scale_bytes(enum tw_dtype t)
{
    return (size_t)TW_PANEL * (t == TW_MXFP4 ? 1 : 2 * (size_t)tw_qforms[t].n_f16);
}

static inline size_t tw_granule_bytes(enum tw_dtype t)
{
    return tw_granule_scale_bytes(t) +
           (size_t)TW_PANEL * 4 * (size_t)(tw_qforms[t].n_q + tw_qforms[t].n_high);
}

static inline size_t tw_super_bytes(enum tw_dtype t) /* 0: no K-quant */
{
    return (size_t)TW_PANEL *
           (2 * (size_t)tw_qforms[t].n_head_f16 + 4 * (size_t)tw_qforms[t].n_words);
}

/* Of a panel of k columns, however it is cut: up to one super-block more than there are. */
static inline size_t tw_quant_panel_bytes(enum tw_dtype t, size_t k)
{
    const size_t n = k / TW_GRANULE;
    return n * tw_granule_bytes(t) +
           (tw_qforms[t].n_words ? TW_PANEL_HEAD + (n + 14) / 8 * tw_super_bytes(t) : 0);
}

/* Where granule i of a panel lies; phase: that of its first column. */
static inline size_t tw_granule_at(enum tw_dtype t, size_t phase, size_t i)
{
    const size_t at = i * tw_granule_bytes(t);
    return tw_qforms[t].n_words ? at + TW_PANEL_HEAD + ((i + phase) / 8 + 1) * tw_super_bytes(t)
                                : at;
}

/* Where its super-block lies: before the first of its granules here. */
static inline size_t tw_super_at(enum tw_dtype t, size_t phase, size_t i)
{
    const size_t i_super = (i + phase) / 8, i0 = i_super ? i_super * 8 - phase : 0;
    return tw_granule_at(t, phase, i0) - tw_super_bytes(t);
}

static inline size_t tw_panel_phase(enum tw_dtype t, const void *panel)
{
    return tw_qforms[t].n_words ? *(const uint32_t *)panel : 0;
}

/* One output's part of a granule, in a panel's order of quads. */
typedef struct tw_granule {
    uint32_t q[TW_MAX_QUADS], high[2];
    uint16_t f16[2]; /* d, m; MXFP4: the exponent */
} tw_granule;

/* One output's part of a super-block: K-quants' scales and sub-scales.
 * Q4_K, Q5_K: word[0]: low nibbles of the eight sc, granule j at bit 4j; word[1]: those of mn;
 * word[2]: bits 4-5 of sc at bit 4j, of mn at 4j + 2. Q6_K: word[j / 2], byte 2 (j % 2) + h: sc of
 * columns 16 h .. of granule j, signed. */
typedef struct tw_super {
    uint32_t word[TW_MAX_WORDS];
    uint16_t f16[2]; /* d, dmin */
} tw_super;

/* Of a file's row: granule i_granule, and the super-block that holds it. */
void tw_granule_load(enum tw_dtype type, const void *row, size_t i_granule, tw_granule *ret);
void tw_super_load(enum tw_dtype type, const void *row, size_t i_super, tw_super *ret);

/* The unsigned values of a granule. */
void tw_granule_values(enum tw_dtype type, const tw_granule *g, uint8_t ret[TW_GRANULE]);

/* Sub-scales of granule j of a super-block: sc of its two halves (the same but for Q6_K), and mn. */
void tw_super_scales(enum tw_dtype type, const tw_super *s, size_t j, int ret_sc[2], int *ret_mn);

float tw_e8m0_half(uint8_t e); /* half of 2^(e - 127); 255: infinite */

#endif
