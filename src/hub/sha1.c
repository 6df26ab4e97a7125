/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/sha1.h"

#include <string.h>

#include "base/scope.h"

enum { BLOCK = 64, LENGTH_AT = 56, ROUNDS = 80 };

static uint32_t rotate(uint32_t x, unsigned n)
{
    return x << n | x >> (32 - n);
}

static uint32_t mix(unsigned round, const uint32_t v[5])
{
    const uint32_t b = v[1], c = v[2], d = v[3];
    if (round < 20)
        return ((b & c) | (~b & d)) + 0x5a827999;
    if (round < 40)
        return (b ^ c ^ d) + 0x6ed9eba1;
    if (round < 60)
        return ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
    return (b ^ c ^ d) + 0xca62c1d6;
}

static void take_block(uint32_t h[5], const uint8_t block[BLOCK])
{
    uint32_t w[ROUNDS], v[5];
    for (unsigned i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (unsigned i = 16; i < ROUNDS; i++)
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    memcpy(v, h, sizeof v);
    for (unsigned i = 0; i < ROUNDS; i++) {
        const uint32_t t = rotate(v[0], 5) + mix(i, v) + v[4] + w[i];
        v[4] = v[3];
        v[3] = v[2];
        v[2] = rotate(v[1], 30);
        v[1] = v[0];
        v[0] = t;
    }
    for (unsigned i = 0; i < 5; i++)
        h[i] += v[i];
}

void tw_sha1_init(tw_sha1 *s)
{
    *s = (tw_sha1){.h = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0}};
}

void tw_sha1_add(tw_sha1 *s, const void *p, size_t n)
{
    const uint8_t *from = p;
    while (n > 0) {
        const size_t at = (size_t)(s->n_bytes % BLOCK), k = TW_MIN(n, BLOCK - at);
        memcpy(s->block + at, from, k);
        s->n_bytes += k;
        from += k;
        n -= k;
        if (s->n_bytes % BLOCK == 0)
            take_block(s->h, s->block);
    }
}

void tw_sha1_end(tw_sha1 *s, uint8_t ret[TW_SHA1_BYTES])
{
    const uint64_t bits = s->n_bytes * 8;
    uint8_t tail[8];
    for (unsigned i = 0; i < sizeof tail; i++)
        tail[i] = (uint8_t)(bits >> (56 - 8 * i));
    tw_sha1_add(s, "\x80", 1);
    while (s->n_bytes % BLOCK != LENGTH_AT)
        tw_sha1_add(s, "", 1);
    tw_sha1_add(s, tail, sizeof tail);
    for (unsigned i = 0; i < TW_SHA1_BYTES; i++)
        ret[i] = (uint8_t)(s->h[i / 4] >> (24 - 8 * (i % 4)));
}
