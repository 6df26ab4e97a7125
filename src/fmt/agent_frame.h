/* SPDX-License-Identifier: Apache-2.0 */
/* Frames between head and agent: JSON objects behind their length, over ssh's stdin and stdout.
 *
 *    "twinax-agent/1\n"            once, agent to head: what comes before it is a shell's banner
 *    0        4
 *    +--------+----------------+
 *    | length | JSON [length]  |   length: u32 little-endian, 2 .. TW_AGENT_FRAME_MAX
 *    +--------+----------------+
 *
 * Head: {"id":7,"op":"facts",...}. Agent: {"id":7,"ok":true,...} or
 * {"id":7,"ok":false,"code":-111,"error":"one line"}, and {"event":"...",...} unasked. Both may say
 * {"beat":1} between frames: they live.
 * Must not know: what an operation does, files, sockets. */
#ifndef TWINAX_FMT_AGENT_FRAME_H
#define TWINAX_FMT_AGENT_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "fmt/json.h"

#define TW_AGENT_GREETING "twinax-agent/1\n"

enum {
    TW_AGENT_FRAME_MAX = 1 << 20,
    TW_AGENT_BANNER_MAX = 64 * 1024,
    TW_AGENT_OP_MAX = 31,
    TW_AGENT_BEAT_BYTES = 14
};

/* Appends length and text of v, an object. -E2BIG beyond TW_AGENT_FRAME_MAX. */
TW_MUST_CHECK int tw_agent_frame_put(tw_buf *b, const json_t *v, tw_err *err);
/* The first frame in p[n]: 0 with *ret (the caller's, json_decref) and *ret_used, -EAGAIN when there
 * is no whole frame yet, -EPROTO for a length out of bounds or a text that is no JSON object. */
TW_MUST_CHECK int tw_agent_frame_take(const char *p, size_t n, json_t **ret, size_t *ret_used,
                                      tw_err *err);
/* The beat's frame: TW_AGENT_BEAT_BYTES bytes. */
extern const char tw_agent_beat[];
bool tw_agent_is_beat(const json_t *v);
/* Where frames begin after the greeting: 0 and *ret_used, -EAGAIN: not seen yet, -EPROTO: too much
 * other text. *ret_used counts the text before the greeting too. */
TW_MUST_CHECK int tw_agent_greeting_find(const char *p, size_t n, size_t *ret_used);

typedef struct tw_agent_request {
    uint64_t id;
    char op[TW_AGENT_OP_MAX + 1];
} tw_agent_request;

TW_MUST_CHECK int tw_agent_request_read(const json_t *v, tw_agent_request *ret, tw_err *err);

/* -EPROTO: no reply at all; else *ret_code is 0, or a negative errno with its line in text. The
 * line has no control characters. */
TW_MUST_CHECK int tw_agent_reply_read(const json_t *v, uint64_t id, int *ret_code, char *text,
                                      size_t text_bytes, tw_err *err);

/* 64 hex digits <-> 32 bytes. */
void tw_agent_token_print(const uint8_t token[32], char out[65]);
bool tw_agent_token_parse(const char *text, uint8_t ret[32]);

#endif
