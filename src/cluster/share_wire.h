/* SPDX-License-Identifier: Apache-2.0 */
/* What both ends of an exchange say (integers little-endian). First each shows the other that it
 * knows the token, without sending it, over two fresh nonces:
 *
 *   taker                                      giver
 *   "TWSHARE1", nonce t[32]      ----------->
 *                                <-----------  nonce g[32]
 *   HMAC(token, "taker", t, g)   ----------->
 *                                <-----------  HMAC(token, "giver", t, g)
 *
 * then, as often as the taker likes: it asks for a unit from an offset on, and gets blocks up to the
 * unit's end:
 *
 *   0      4      8        16                 0       4      8
 *   +------+------+--------+                  +-------+------+---------------+
 *   |"TWSG"| unit | offset |   ----------->   | bytes | crc  | bytes ...     |  again and again
 *   +------+------+--------+                  +-------+------+---------------+
 *
 * crc: CRC-32C of the block. bytes 0: no more of this one, crc is the errno. */
#ifndef TWINAX_CLUSTER_SHARE_WIRE_H
#define TWINAX_CLUSTER_SHARE_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "twinax/err.h"

enum {
    TW_SHARE_NONCE_BYTES = 32,
    TW_SHARE_ASK_BYTES = 16,
    TW_SHARE_HEAD_BYTES = 8,
    TW_SHARE_BLOCK_BYTES = 256 << 10
};

typedef struct tw_share_ask {
    uint32_t unit;
    uint64_t offset;
} tw_share_ask;

typedef struct tw_share_head {
    uint32_t bytes, crc;
} tw_share_head;

/* -EACCES: the other one does not know it. */
TW_MUST_CHECK int tw_share_greet(int fd, const uint8_t *token, uint64_t deadline_ns);
TW_MUST_CHECK int tw_share_welcome(int fd, const uint8_t *token, uint64_t deadline_ns);

void tw_share_ask_print(const tw_share_ask *a, uint8_t out[TW_SHARE_ASK_BYTES]);
/* -EPROTO: it is none. */
TW_MUST_CHECK int tw_share_ask_parse(const uint8_t in[TW_SHARE_ASK_BYTES], tw_share_ask *ret);
void tw_share_head_print(const tw_share_head *h, uint8_t out[TW_SHARE_HEAD_BYTES]);
/* -EPROTO: longer than a block. */
TW_MUST_CHECK int tw_share_head_parse(const uint8_t in[TW_SHARE_HEAD_BYTES], tw_share_head *ret);

#endif
