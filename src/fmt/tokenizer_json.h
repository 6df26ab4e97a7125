/* SPDX-License-Identifier: Apache-2.0 */
/* tokenizer.json of Hugging Face "tokenizers": bytes in, a plain description out. No I/O, no regex,
 * no Unicode tables. What is not supported is refused by its name, with the key where it stands. */
#ifndef TWINAX_FMT_TOKENIZER_JSON_H
#define TWINAX_FMT_TOKENIZER_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/str.h"
#include "twinax/err.h"

enum {
    TW_TJ_MAX_STAGES = 32,   /* of one list, sequences flattened */
    TW_TJ_MAX_TEMPLATE = 32, /* ids before, and ids after the text */
    TW_TJ_MAX_ID = (1 << 24) - 1,
};
#define TW_TJ_MAX_BYTES ((size_t)256 << 20)

enum tw_tj_type {
    TW_TJ_NFC,
    TW_TJ_NFD,
    TW_TJ_NFKC,
    TW_TJ_NFKD,
    TW_TJ_LOWERCASE,
    TW_TJ_PREPEND, /* content */
    TW_TJ_REPLACE, /* pattern, is_regex, content; normalizer and decoder */
    TW_TJ_STRIP,   /* normalizer: strip_left, strip_right; decoder: content, start, stop */
    TW_TJ_BYTE_LEVEL,
    TW_TJ_SPLIT,
    TW_TJ_DIGITS,
    TW_TJ_METASPACE,
    TW_TJ_WHITESPACE,
    TW_TJ_WHITESPACE_SPLIT,
    TW_TJ_PUNCTUATION,
    TW_TJ_BYTE_FALLBACK,
    TW_TJ_FUSE,
};

enum tw_tj_behavior {
    TW_TJ_ISOLATED,
    TW_TJ_REMOVED,
    TW_TJ_MERGED_WITH_PREVIOUS,
    TW_TJ_MERGED_WITH_NEXT,
    TW_TJ_CONTIGUOUS,
};

enum tw_tj_scheme { TW_TJ_ALWAYS, TW_TJ_FIRST, TW_TJ_NEVER };

/* One normalizer, pre-tokenizer or decoder; only the fields of its type are set. */
typedef struct tw_tj_stage {
    enum tw_tj_type type;
    tw_str pattern, content; /* content: Metaspace's replacement too */
    enum tw_tj_behavior behavior;
    enum tw_tj_scheme scheme;
    uint32_t start, stop;
    bool is_regex, invert, strip_left, strip_right;
    bool add_prefix_space, use_regex, individual_digits, split;
} tw_tj_stage;

typedef struct tw_tj_stages {
    size_t n;
    tw_tj_stage v[TW_TJ_MAX_STAGES];
} tw_tj_stages;

/* The caller knows that there is room. */
static inline void tw_tj_stages_add(tw_tj_stages *s, tw_tj_stage stage)
{
    s->v[s->n++] = stage;
}

typedef struct tw_tj_token {
    tw_str text;
    uint32_t id;
} tw_tj_token;

typedef struct tw_tj_added {
    tw_str text;
    uint32_t id;
    bool special, lstrip, rstrip, single_word, normalized;
} tw_tj_added;

typedef struct tw_tj_merge {
    tw_str left, right;
} tw_tj_merge;

/* Strings are borrowed from the parsed document until done. */
typedef struct tw_tokenizer_json {
    tw_tj_stages normalizers, pre_tokenizers, decoders;
    bool has_decoder;
    tw_tj_token *vocab;
    tw_tj_merge *merges; /* in order of rank */
    tw_tj_added *added;
    size_t n_vocab, n_merges, n_added;
    bool byte_fallback, fuse_unk, ignore_merges, has_unk;
    tw_str unk_token;
    uint32_t before[TW_TJ_MAX_TEMPLATE], after[TW_TJ_MAX_TEMPLATE];
    size_t n_before, n_after;
    tw_arena arena;
    void *document;
} tw_tokenizer_json;

/* name: the file, for messages. max_id: the highest id that is accepted (<= TW_TJ_MAX_ID).
 * Owns: *ret until tw_tokenizer_json_done. Errors: -EINVAL malformed, -ENOTSUP a part that we do
 * not have, -E2BIG, -ENOMEM. */
TW_MUST_CHECK int tw_tokenizer_json_parse(const char *name, const char *json, size_t n,
                                          uint32_t max_id, tw_tokenizer_json *ret, tw_err *err);
void tw_tokenizer_json_done(tw_tokenizer_json *t);

#endif
