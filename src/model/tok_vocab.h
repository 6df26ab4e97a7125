/* SPDX-License-Identifier: Apache-2.0 */
/* Two hash tables that never change once filled: text to id, and pair of ids to merge. Open
 * addressing, at most half full, in the tokenizer's arena. Their hash has a key of this process: no file
 * can make them slow, and nothing but time depends on it. */
#ifndef TWINAX_MODEL_TOK_VOCAB_H
#define TWINAX_MODEL_TOK_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/str.h"

#define TW_TOK_NONE UINT32_MAX /* no id */

typedef struct tw_tok_vocab {
    struct tw_tok_vocab_slot *slots;
    size_t mask;
} tw_tok_vocab;

TW_MUST_CHECK int tw_tok_vocab_init(tw_tok_vocab *v, size_t n, tw_arena *a);
/* Borrows text. False when it is there already; the first id stays. */
bool tw_tok_vocab_add(tw_tok_vocab *v, tw_str text, uint32_t id);
uint32_t tw_tok_vocab_find(const tw_tok_vocab *v, const char *p, size_t n); /* or TW_TOK_NONE */

typedef struct tw_tok_merge {
    uint32_t left, right, rank, id;
} tw_tok_merge;

typedef struct tw_tok_merges {
    tw_tok_merge *slots; /* left TW_TOK_NONE: free */
    size_t mask;
} tw_tok_merges;

TW_MUST_CHECK int tw_tok_merges_init(tw_tok_merges *m, size_t n, tw_arena *a);
void tw_tok_merges_add(tw_tok_merges *m, tw_tok_merge merge); /* a pair's last rank wins */
const tw_tok_merge *tw_tok_merges_find(const tw_tok_merges *m, uint32_t left, uint32_t right);

#endif
