/* SPDX-License-Identifier: Apache-2.0 */
/* Finds added tokens in text: leftmost, then longest; then the token's own conditions. */
#ifndef TWINAX_MODEL_TOK_ADDED_H
#define TWINAX_MODEL_TOK_ADDED_H

#include "base/buf.h"
#include "base/mem.h"
#include "fmt/tokenizer_json.h"

typedef struct tw_tok_trie {
    struct tw_tok_trie_node *nodes; /* 0 is no node */
    size_t n, cap;
    uint32_t roots[256]; /* node of a pattern's first byte */
} tw_tok_trie;

/* n_bytes: of all patterns together. */
TW_MUST_CHECK int tw_tok_trie_init(tw_tok_trie *t, size_t n_bytes, tw_arena *a);
/* An empty pattern, or one that is there already, changes nothing. */
void tw_tok_trie_add(tw_tok_trie *t, tw_str pattern, const tw_tj_added *token);

typedef struct tw_tok_scan {
    const tw_tok_trie *trie;
    const char *p; /* well-formed UTF-8 */
    size_t n, i_search, i_done;
    const tw_tj_added *token; /* found, but the text before it comes first */
    size_t token_end;
} tw_tok_scan;

typedef struct tw_tok_span {
    size_t start, end;
    const tw_tj_added *token; /* NULL: ordinary text, not empty */
} tw_tok_span;

bool tw_tok_scan_next(tw_tok_scan *s, tw_tok_span *ret); /* false at the end */

#endif
