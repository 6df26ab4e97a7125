/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-1, only to tell whether a small file is the one that git calls so: never for trust between
 * parties. Source: FIPS 180-4. */
#ifndef TWINAX_HUB_SHA1_H
#define TWINAX_HUB_SHA1_H

#include <stddef.h>
#include <stdint.h>

enum { TW_SHA1_BYTES = 20 };

typedef struct tw_sha1 {
    uint32_t h[5];
    uint8_t block[64];
    uint64_t n_bytes;
} tw_sha1;

void tw_sha1_init(tw_sha1 *s);
void tw_sha1_add(tw_sha1 *s, const void *p, size_t n);
void tw_sha1_end(tw_sha1 *s, uint8_t ret[TW_SHA1_BYTES]);

#endif
