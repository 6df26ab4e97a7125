/* SPDX-License-Identifier: Apache-2.0 */
#include "model/weights_finite.h"

#include <stdint.h>
#include <string.h>

#include "base/scope.h"

/* An exponent of all ones, with one added at its lowest bit, carries into the sign's place and
 * nowhere else: the sign was masked away. */
struct pattern {
    uint64_t mask, one, sign;
};

static const struct pattern patterns[] = {
    [TW_F32] = {UINT64_C(0x7f8000007f800000), UINT64_C(0x0080000000800000),
                UINT64_C(0x8000000080000000)},
    [TW_F16] = {UINT64_C(0x7c007c007c007c00), UINT64_C(0x0400040004000400),
                UINT64_C(0x8000800080008000)},
    [TW_BF16] = {UINT64_C(0x7f807f807f807f80), UINT64_C(0x0080008000800080),
                 UINT64_C(0x8000800080008000)},
    [TW_FP8] = {UINT64_C(0x7f7f7f7f7f7f7f7f), UINT64_C(0x0101010101010101),
                UINT64_C(0x8080808080808080)}, /* all ones: NaN */
};

enum { BLOCK_WORDS = 16 };

/* A fixed count, so that the compiler makes vectors of it. */
static uint64_t test_block(const uint8_t *p, const struct pattern *k)
{
    uint64_t w[BLOCK_WORDS], hit = 0;
    memcpy(w, p, sizeof(w));
    for (unsigned i = 0; i < BLOCK_WORDS; i++)
        hit |= (w[i] & k->mask) + k->one;
    return hit & k->sign;
}

/* Where the f16 scales of a block lie; a second one (of the minima) at the next two bytes. */
static const struct scale_row {
    uint8_t at, n;
} scales[TW_DTYPE_END] = {
    [TW_Q8_0] = {0, 1}, [TW_Q4_0] = {0, 1}, [TW_Q4_1] = {0, 2}, [TW_Q5_0] = {0, 1},
    [TW_Q5_1] = {0, 2}, [TW_Q4_K] = {0, 2}, [TW_Q5_K] = {0, 2}, [TW_Q6_K] = {208, 1},
};

static bool blocks_finite(enum tw_dtype type, const uint8_t *p, size_t n_blocks)
{
    const size_t bytes = tw_dtype_block_bytes(type);
    bool finite = true;
    for (size_t i = 0; i < n_blocks; i++, p += bytes) {
        if (type == TW_MXFP4)
            finite = finite && p[0] != 0xff;
        for (unsigned j = 0; j < scales[type].n; j++)
            finite = finite && (p[scales[type].at + 2 * j + 1] & 0x7c) != 0x7c;
    }
    return finite;
}

bool tw_weights_finite(enum tw_dtype type, const void *x, size_t n)
{
    if (tw_dtype_is_quant(type))
        return blocks_finite(type, x, n / tw_dtype_block(type));
    struct pattern k = patterns[type];
    const uint8_t *p = x;
    size_t left = n * tw_dtype_bytes(type);
    uint64_t hit = 0;
    for (; left >= BLOCK_WORDS * 8; left -= BLOCK_WORDS * 8, p += BLOCK_WORDS * 8)
        hit |= test_block(p, &k);
    if (left > 0) {
        uint8_t tail[BLOCK_WORDS * 8] = {0};
        memcpy(tail, p, left);
        hit |= test_block(tail, &k);
    }
    return hit == 0;
}

unsigned tw_weights_bits(enum tw_dtype type, const void *x, size_t i)
{
    if (type == TW_F32) {
        uint32_t v;
        memcpy(&v, (const uint8_t *)x + 4 * i, sizeof(v));
        return v;
    }
    uint16_t v;
    const uint8_t *p = x;
    if (type == TW_MXFP4)
        return p[tw_dtype_block_bytes(type) * i];
    memcpy(&v, p + tw_dtype_block_bytes(type) * i + scales[type].at, sizeof(v));
    return v;
}
