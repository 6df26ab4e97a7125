/* SPDX-License-Identifier: Apache-2.0 */
/* Byte-pair encoding of one piece of text. */
#ifndef TWINAX_MODEL_TOK_BPE_H
#define TWINAX_MODEL_TOK_BPE_H

#include "fmt/tokenizer_json.h"
#include "model/tok_text.h"
#include "model/tok_vocab.h"
#include "model/tok_work.h"
#include "model/tokenizer.h"

typedef struct tw_tok_bpe {
    tw_tok_vocab vocab;
    tw_tok_merges merges;
    uint32_t low_ids[TW_TOK_BYTE_CP_END]; /* of the one-character texts, for speed */
    uint32_t byte_ids[256];               /* of <0x00> to <0xFF> */
    _Atomic uint8_t *wholes; /* [n_ids] does a token's own text give just this token? */
    uint32_t unk;
    bool has_unk, byte_fallback, fuse_unk, ignore_merges;
} tw_tok_bpe;

/* j->vocab: texts in the arena already. n_ids: highest id + 1. */
TW_MUST_CHECK int tw_tok_bpe_init(tw_tok_bpe *b, const char *name, const tw_tokenizer_json *j,
                                  uint32_t n_ids, tw_arena *a, tw_err *err);

/* p: n > 0 bytes of well-formed UTF-8. Cost: n log n. Errors: -ENOKEY when a character has no token
 * and the unk token is not in the vocab; -ENOMEM, -E2BIG. */
TW_MUST_CHECK int tw_tok_bpe_encode(const tw_tok_bpe *b, tw_tok_work *w, const char *p, size_t n,
                                    tw_ids *ids);

#endif
