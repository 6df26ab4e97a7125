/* SPDX-License-Identifier: Apache-2.0 */
/* The patterns of tokenizer.json are Oniguruma's (Ruby syntax); PCRE2 runs them. The few spellings
 * that mean something else there are rewritten first. All limits are set: no pattern can hang. */
#ifndef TWINAX_MODEL_TOK_REGEX_H
#define TWINAX_MODEL_TOK_REGEX_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/str.h"

/* One for all patterns of a tokenizer. */
typedef struct tw_tok_regex_env {
    pcre2_general_context *general;
    pcre2_compile_context *compile;
    pcre2_match_context *match;
    _Atomic bool out_of_memory; /* an allocation failed inside PCRE2 */
} tw_tok_regex_env;

/* env must not move afterwards. */
TW_MUST_CHECK int tw_tok_regex_env_init(tw_tok_regex_env *env);
void tw_tok_regex_env_done(tw_tok_regex_env *env);

/* Appends the PCRE2 spelling; -ENOTSUP for what has none (set operations in classes). */
TW_MUST_CHECK int tw_tok_regex_translate(tw_tok_regex_env *env, tw_str pattern, tw_buf *out);

/* name and pattern for messages. Owns: *ret by pcre2_code_free. */
TW_MUST_CHECK int tw_tok_regex_compile(tw_tok_regex_env *env, const char *name, tw_str pattern,
                                       pcre2_code **ret, tw_err *err);

/* Walks the matches of one text as Oniguruma's find_iter: no empty match right after a match. */
typedef struct tw_tok_finder {
    const tw_tok_regex_env *env;
    pcre2_match_data *data; /* borrowed; room for one pair is enough */
    const pcre2_code *code; /* NULL: the literal is looked for */
    tw_str literal;
    const char *p;                /* well-formed UTF-8 */
    size_t n, i_next, i_last_end; /* i_last_end: plus one, 0 when there was no match yet */
} tw_tok_finder;

/* 1 and a match, 0 at the end, or -E2BIG (over a limit), -ENOMEM. */
TW_MUST_CHECK int tw_tok_finder_next(tw_tok_finder *f, size_t *ret_start, size_t *ret_end);

#endif
