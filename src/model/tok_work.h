/* SPDX-License-Identifier: Apache-2.0 */
/* The stages of a tokenizer ready to run, and the working memory of one encode: a text that the
 * normalizers rewrite, then the pieces that the pre-tokenizers cut it into. */
#ifndef TWINAX_MODEL_TOK_WORK_H
#define TWINAX_MODEL_TOK_WORK_H

#include "base/buf.h"
#include "fmt/tokenizer_json.h"
#include "model/tok_regex.h"

/* What ByteLevel cuts by. */
#define TW_TOK_GPT2_PATTERN                                                                        \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

typedef struct tw_tok_stage {
    tw_tj_stage j;  /* its strings live in the tokenizer's arena */
    pcre2_code *re; /* NULL: none, or j.pattern is a literal */
} tw_tok_stage;

typedef struct tw_tok_stages {
    size_t n;
    tw_tok_stage v[TW_TJ_MAX_STAGES];
} tw_tok_stages;

/* Copies the strings and compiles the patterns. Done also after a failure. */
TW_MUST_CHECK int tw_tok_stages_init(tw_tok_stages *s, const char *name, const tw_tj_stages *from,
                                     tw_tok_regex_env *env, tw_arena *a, tw_err *err);
void tw_tok_stages_done(tw_tok_stages *s);

bool tw_tok_copy(tw_arena *a, tw_str from, tw_str *ret); /* false: out of memory */

/* n_zero: how many of the first bytes come from the very first character of the input text
 * (Metaspace's "first" asks). */
typedef struct tw_tok_piece {
    uint32_t off, len, n_zero;
} tw_tok_piece;

typedef struct tw_tok_work {
    const tw_tok_regex_env *env;
    pcre2_match_data *match;
    tw_buf text, spare;
    size_t n_zero;
    tw_buf pieces, spare_pieces; /* of tw_tok_piece */
    tw_buf points;               /* code points of a normal form */
    tw_buf symbols, queue;       /* of the merges */
} tw_tok_work;

TW_MUST_CHECK int tw_tok_work_init(tw_tok_work *w, const tw_tok_regex_env *env);
void tw_tok_work_done(tw_tok_work *w);
void tw_tok_work_swap_text(tw_tok_work *w); /* spare becomes text; the new spare is empty */
tw_tok_finder tw_tok_work_finder(const tw_tok_work *w, const tw_tok_stage *s, const char *p,
                                 size_t n);

/* Rewrites w->text. */
TW_MUST_CHECK int tw_tok_normalize(const tw_tok_stages *s, tw_tok_work *w);
/* Appends p with every match of the stage's pattern replaced. */
TW_MUST_CHECK int tw_tok_replace(const tw_tok_stage *s, tw_tok_work *w, const char *p, size_t n,
                                 tw_buf *out);
/* Cuts w->text into w->pieces, none of them empty; rewrites the text where a stage says so. */
TW_MUST_CHECK int tw_tok_pre_tokenize(const tw_tok_stages *s, tw_tok_work *w);

#endif
