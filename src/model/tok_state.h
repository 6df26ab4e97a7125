/* SPDX-License-Identifier: Apache-2.0 */
/* What is inside a tw_tokenizer; never changes once made. */
#ifndef TWINAX_MODEL_TOK_STATE_H
#define TWINAX_MODEL_TOK_STATE_H

#include "model/tok_added.h"
#include "model/tok_bpe.h"
#include "model/tok_work.h"
#include "model/tokenizer.h"

struct tw_tokenizer {
    tw_arena arena;
    tw_tok_regex_env env;
    tw_tok_stages normalizers, pre_tokenizers, decoders;
    bool has_decoder;
    tw_tok_bpe bpe;
    tw_tj_added *added; /* [n_added] */
    size_t n_added;
    tw_tok_vocab added_vocab;    /* text to id */
    tw_tok_trie raw, normalized; /* looked for before and after the normalizers */
    tw_str *texts;               /* [n_ids]; p NULL: no such id */
    uint8_t *specials;           /* [n_ids] */
    uint32_t n_ids;
    uint32_t before[TW_TJ_MAX_TEMPLATE], after[TW_TJ_MAX_TEMPLATE];
    size_t n_before, n_after;
};

/* From a description; takes j->vocab's texts into its own memory, in place. j stays the caller's. */
TW_MUST_CHECK int tw_tokenizer_build(const char *name, tw_tokenizer_json *j, tw_tokenizer **ret,
                                     tw_err *err);
/* As tw_tokenizer_new, with a lower ceiling for ids: tables are as long as the highest. */
TW_MUST_CHECK int tw_tokenizer_new_limited(const char *name, const char *json, size_t n,
                                           uint32_t max_id, tw_tokenizer **ret, tw_err *err);

#endif
