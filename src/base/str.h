/* SPDX-License-Identifier: Apache-2.0 */
/* Borrowed strings (pointer and length) and UTF-8. */
#ifndef TWINAX_BASE_STR_H
#define TWINAX_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "twinax/err.h"

typedef struct tw_str {
    const char *p; /* not NUL-terminated */
    size_t len;
} tw_str;

#define TW_STR(lit) ((tw_str){(lit), sizeof(lit) - 1})

tw_str tw_str_from(const char *z);
bool tw_str_eq(tw_str a, tw_str b);
bool tw_str_is(tw_str a, const char *z);
bool tw_str_starts(tw_str s, tw_str prefix);
bool tw_str_ends(tw_str s, tw_str suffix);

/* Decodes one code point at p (n > 0 bytes left) into *ret_cp; returns its length 1..4, or 0 when
 * the bytes are no well-formed UTF-8 (overlong, surrogate, > U+10FFFF, cut). */
unsigned tw_utf8_decode(const char *p, size_t n, uint32_t *ret_cp);
unsigned tw_utf8_encode(uint32_t cp, char out[4]);
bool tw_utf8_valid(const char *p, size_t n);
/* Length of the longest prefix of p that does not end inside a code point that may yet complete:
 * what a stream may print now. */
size_t tw_utf8_complete(const char *p, size_t n);

/* Whole string as a number, nothing before or after; -EINVAL or -ERANGE, *ret untouched. */
TW_MUST_CHECK int tw_str_to_u64(const char *z, uint64_t *ret);
TW_MUST_CHECK int tw_str_to_f64(const char *z, double *ret);

/* Levenshtein distance in bytes; words of more than 48 bytes are 48 apart. */
unsigned tw_str_distance(const char *a, const char *b);

#endif
