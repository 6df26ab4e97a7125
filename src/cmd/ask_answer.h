/* SPDX-License-Identifier: Apache-2.0 */
/* A first, tiny answer of an API: that it works, and that bytes pass between its ranks. */
#ifndef TWINAX_CMD_ASK_ANSWER_H
#define TWINAX_CMD_ASK_ANSWER_H

#include <stdbool.h>
#include <stdint.h>

#include "twinax/err.h"

typedef struct tw_ask_answer_opts {
    const char *host; /* numbers, as tw_ask_health takes them */
    uint16_t port;
    const char *key; /* NULL: none is wanted */
    const char *model;
    uint32_t n_tok;
    uint64_t until_ns;
    bool (*goes_on)(void *ctx); /* asked five times a second; false: -ECANCELED */
    void *ctx;
} tw_ask_answer_opts;

/* POST /v1/completions. 0: an answer of *ret_n_tok tokens; -EOPNOTSUPP: this model makes none
 * (4xx); -EIO: it says 5xx, or nonsense; -ETIMEDOUT, -ECANCELED. */
TW_MUST_CHECK int tw_ask_answer(const tw_ask_answer_opts *o, uint32_t *ret_n_tok, tw_err *err);

#endif
