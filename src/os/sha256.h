/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 (FIPS 180-4): libcrypto's where it is (loaded at run time: it knows the CPU's own
 * instructions), else our own, which is slower and needs nothing. */
#ifndef TWINAX_OS_SHA256_H
#define TWINAX_OS_SHA256_H

#include <stddef.h>
#include <stdint.h>

enum { TW_SHA256_BYTES = 32, TW_SHA256_HEX = 64 };

typedef struct tw_sha256 {
    void *lib; /* libcrypto's context; NULL: ours */
    uint32_t h[8];
    uint8_t block[64];
    uint64_t n_bytes;
} tw_sha256;

void tw_sha256_init(tw_sha256 *s);
void tw_sha256_add(tw_sha256 *s, const void *p, size_t n);
/* The end of it, also of its memory. */
void tw_sha256_end(tw_sha256 *s, uint8_t ret[TW_SHA256_BYTES]);
void tw_sha256_print(const uint8_t hash[TW_SHA256_BYTES], char out[TW_SHA256_HEX + 1]);
/* Tests: never libcrypto's from now on. */
void tw_sha256_use_own(void);

#endif
