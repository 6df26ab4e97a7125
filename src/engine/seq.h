/* SPDX-License-Identifier: Apache-2.0 */
/* What every rank knows of a sequence. Same on all ranks after every step, by construction: the
 * plan tells what rank 0 alone knows, everything else each rank derives by itself. */
#ifndef TWINAX_ENGINE_SEQ_H
#define TWINAX_ENGINE_SEQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "twinax/engine.h"

enum tw_seq_state { TW_SEQ_FREE, TW_SEQ_PREFILL, TW_SEQ_DECODE };

/* Wire form of an admission: fixed size, little-endian hosts only (checked by the hello). */
typedef struct tw_seq_params {
    uint32_t n_prompt, max_tokens; /* max_tokens >= 1 */
    float temperature, top_p, min_p;
    uint32_t top_k;
    uint64_t seed;
    uint32_t choice;
    float presence_penalty, frequency_penalty, repetition_penalty;
    uint32_t flags; /* TW_SEQ_* */
    uint32_t reserved[1];
} tw_seq_params;

_Static_assert(sizeof(tw_seq_params) == 56, "wire form");

enum { TW_SEQ_IGNORE_EOS = 1, TW_SEQ_WANT_LOGITS = 2 };

typedef struct tw_seq {
    enum tw_seq_state state;
    tw_seq_params params;
    uint32_t len; /* positions in the KV cache */
    uint32_t n_generated;
    uint32_t last; /* newest token: not yet in the cache */
    uint32_t n_pages;
    uint32_t *pages;  /* [ctx / 64] */
    uint16_t *counts; /* [V] times each token was generated; 0x8000: stands in the prompt */
    bool has_counts;  /* counts are kept: some penalty is on */
} tw_seq;

#endif
