/* SPDX-License-Identifier: Apache-2.0 */
#include "model/pack_sum.h"

#include <string.h>

enum { LANES = 8, BLOCK_BYTES = LANES * 8, ROUND = 31 };

static const uint64_t factor = UINT64_C(0x9e3779b97f4a7c15); /* odd: multiplying loses nothing */

static uint64_t add_word(uint64_t sum, uint64_t w)
{
    sum = (sum << ROUND | sum >> (64 - ROUND)) ^ w;
    return sum * factor;
}

static void add_block(uint64_t sums[LANES], const uint8_t *p)
{
    uint64_t w[LANES];
    memcpy(w, p, sizeof(w));
    for (unsigned i = 0; i < LANES; i++)
        sums[i] = add_word(sums[i], w[i]);
}

uint64_t tw_pack_sum(const void *data, size_t n_bytes)
{
    const uint8_t *p = data;
    uint64_t sums[LANES], sum = add_word(factor, n_bytes);
    size_t left = n_bytes;
    for (unsigned i = 0; i < LANES; i++)
        sums[i] = add_word(factor, i);
    for (; left >= BLOCK_BYTES; left -= BLOCK_BYTES, p += BLOCK_BYTES)
        add_block(sums, p);
    uint8_t tail[BLOCK_BYTES] = {0};
    memcpy(tail, p, left);
    add_block(sums, tail);
    for (unsigned i = 0; i < LANES; i++)
        sum = add_word(sum, sums[i]);
    return sum ^ sum >> 32;
}
