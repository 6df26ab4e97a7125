/* SPDX-License-Identifier: Apache-2.0 */
/* What is taken of libcrypto at run time, where it is: programs and libraries of ours start without
 * it. Thread: any. */
#ifndef TWINAX_OS_CRYPTO_H
#define TWINAX_OS_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "twinax/err.h"

enum { TW_HMAC_BYTES = 32 };

/* HMAC-SHA-256. Errors: -ENOPKG, libcrypto cannot be loaded; the message names its package. Source:
 * RFC 2104, FIPS 180-4. */
TW_MUST_CHECK int tw_crypto_hmac(const void *key, size_t key_bytes, const void *p, size_t n,
                                 uint8_t ret[TW_HMAC_BYTES], tw_err *err);

/* Whether two secrets of n bytes are the same; the time it takes tells nothing of them. */
bool tw_crypto_same(const void *a, const void *b, size_t n);

#endif
