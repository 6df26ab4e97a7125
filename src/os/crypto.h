/* SPDX-License-Identifier: Apache-2.0 */
/* Message authentication over os/sha256, so that it works where libcrypto is not. Thread: any. */
#ifndef TWINAX_OS_CRYPTO_H
#define TWINAX_OS_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TW_HMAC_BYTES = 32 };

/* HMAC-SHA-256. Source: RFC 2104, FIPS 180-4. */
void tw_crypto_hmac(const void *key, size_t key_bytes, const void *p, size_t n,
                    uint8_t ret[TW_HMAC_BYTES]);

/* Whether two secrets of n bytes are the same; the time it takes tells nothing of them. */
bool tw_crypto_same(const void *a, const void *b, size_t n);

#endif
