/* SPDX-License-Identifier: Apache-2.0 */
#include "os/crypto.h"

#include <string.h>

#include "os/sha256.h"

enum { BLOCK = 64 };

static void hash_two(const uint8_t pad[BLOCK], const void *p, size_t n, uint8_t ret[TW_HMAC_BYTES])
{
    tw_sha256 s;
    tw_sha256_init(&s);
    tw_sha256_add(&s, pad, BLOCK);
    tw_sha256_add(&s, p, n);
    tw_sha256_end(&s, ret);
}

void tw_crypto_hmac(const void *key, size_t key_bytes, const void *p, size_t n,
                    uint8_t ret[TW_HMAC_BYTES])
{
    uint8_t inner[BLOCK] = {0}, outer[BLOCK], hash[TW_HMAC_BYTES];
    if (key_bytes > BLOCK) {
        tw_sha256 s;
        tw_sha256_init(&s);
        tw_sha256_add(&s, key, key_bytes);
        tw_sha256_end(&s, inner);
    } else {
        memcpy(inner, key, key_bytes);
    }
    for (size_t i = 0; i < BLOCK; i++) {
        outer[i] = inner[i] ^ 0x5c;
        inner[i] ^= 0x36;
    }
    hash_two(inner, p, n, hash);
    hash_two(outer, hash, sizeof hash, ret);
    explicit_bzero(inner, sizeof inner);
    explicit_bzero(outer, sizeof outer);
}

bool tw_crypto_same(const void *a, const void *b, size_t n)
{
    const uint8_t *x = a, *y = b;
    uint8_t diff = 0;
    for (size_t i = 0; i < n; i++)
        diff |= x[i] ^ y[i];
    return *(volatile uint8_t *)&diff == 0;
}
