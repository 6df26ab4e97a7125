/* SPDX-License-Identifier: Apache-2.0 */
/* Text to ids and back, as tokenizer.json says: normalizer, pre-tokenizer, BPE (byte-level or byte
 * fallback), post-processor, decoder. Thread: encode and decode from many threads at once. */
#ifndef TWINAX_MODEL_TOKENIZER_H
#define TWINAX_MODEL_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "fmt/gguf.h"
#include "twinax/err.h"

typedef struct tw_tokenizer tw_tokenizer;

typedef struct tw_ids {
    uint32_t *ids; /* from base/mem.h; tw_ids_done frees */
    size_t n, cap;
} tw_ids;

TW_MUST_CHECK int tw_ids_push(tw_ids *ids, uint32_t id); /* -ENOMEM */
void tw_ids_done(tw_ids *ids);

/* json: whole tokenizer.json; name: its path for messages. Unsupported parts are refused by name. */
TW_MUST_CHECK int tw_tokenizer_new(const char *name, const char *json, size_t n, tw_tokenizer **ret,
                                   tw_err *err);
/* The tokenizer inside a GGUF file, g its header, of a model that has vocab tokens: the same ids as the
 * original's tokenizer.json. Needs g only in the call. Models and pre-tokenizers that we do not have are refused by name. -ENOENT: the
 * file has no tokenizer. */
TW_MUST_CHECK int tw_tokenizer_from_gguf(const char *name, const tw_gguf *g, uint32_t vocab,
                                         tw_tokenizer **ret, tw_err *err);
void tw_tokenizer_free(tw_tokenizer *t);

/* add_special: the post-processor's BOS/EOS. Added and special tokens in the text are recognised.
 * Bytes that are no UTF-8 become U+FFFD first. Appends to *ids. */
TW_MUST_CHECK int tw_tokenizer_encode(const tw_tokenizer *t, const char *text, size_t n,
                                      bool add_special, tw_ids *ids, tw_err *err);
/* Appends UTF-8 (U+FFFD for bytes that are none). Unknown ids are skipped, as the field does. */
TW_MUST_CHECK int tw_tokenizer_decode(const tw_tokenizer *t, const uint32_t *ids, size_t n,
                                      bool skip_special, tw_buf *out, tw_err *err);

/* Streaming: each push appends the text that is now certain; the pieces joined are equal to decode
 * of all ids. tw_detok_end appends what is left (U+FFFD for a cut code point); nothing may be pushed
 * after it. A run of byte tokens is one text or no text at all, so it waits for its end. */
typedef struct tw_detok {
    const tw_tokenizer *t;
    struct tw_detok_state *state; /* made by the first push */
    bool skip_special;
} tw_detok;

void tw_detok_init(tw_detok *d, const tw_tokenizer *t, bool skip_special);
TW_MUST_CHECK int tw_detok_push(tw_detok *d, uint32_t id, tw_buf *out, tw_err *err);
TW_MUST_CHECK int tw_detok_end(tw_detok *d, tw_buf *out, tw_err *err);
void tw_detok_done(tw_detok *d);

uint32_t tw_tokenizer_n(const tw_tokenizer *t); /* highest id + 1 */
/* Id of a token by its exact text (added tokens first), or -1. */
int64_t tw_tokenizer_find(const tw_tokenizer *t, const char *text, size_t n);
bool tw_tokenizer_is_special(const tw_tokenizer *t, uint32_t id);

#endif
