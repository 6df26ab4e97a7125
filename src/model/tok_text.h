/* SPDX-License-Identifier: Apache-2.0 */
/* What the tokenizer's parts know about characters: classes of code points, the byte-level alphabet,
 * and repair of bytes that are no UTF-8. */
#ifndef TWINAX_MODEL_TOK_TEXT_H
#define TWINAX_MODEL_TOK_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define TW_TOK_MAX_TEXT    ((size_t)64 << 20)  /* bytes of one text */
#define TW_TOK_MAX_SCRATCH ((size_t)768 << 20) /* bytes of any working buffer */

/* Appends p with U+FFFD for each maximal ill-formed subpart (Unicode 15, table 3-7). */
TW_MUST_CHECK int tw_tok_repair(const char *p, size_t n, tw_buf *out);

bool tw_tok_is_space(uint32_t cp);   /* White_Space */
bool tw_tok_is_word(uint32_t cp);    /* \w of UTS 18: Alphabetic, M, Nd, Pc, Join_Control */
bool tw_tok_is_numeric(uint32_t cp); /* N */
bool tw_tok_is_punct(uint32_t cp);   /* P, and ASCII's symbols */

/* GPT-2's printable alphabet for bytes: a bijection of 0..255 with code points below 0x144. */
enum { TW_TOK_BYTE_CP_END = 0x144 };
uint32_t tw_tok_byte_to_cp(uint8_t byte);
int tw_tok_cp_to_byte(uint32_t cp); /* -1: not of the alphabet */

#endif
