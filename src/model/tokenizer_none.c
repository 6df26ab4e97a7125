/* SPDX-License-Identifier: Apache-2.0 */
/* For a program whose ranks are never rank 0 (twinax-node): nobody there reads or writes text, so
 * it links neither the tokenizer nor the libraries that it needs. In place of tokenizer_new.c and
 * tok_decode.c. */
#include <errno.h>

#include "model/tokenizer.h"

static int refuse(const char *name, tw_err *err)
{
    return tw_err_set(err, -ENOTSUP, "%s: this program has no tokenizer: rank 0 wants twinax",
                      name);
}

int tw_tokenizer_new(const char *name, const char *json, size_t n, tw_tokenizer **ret, tw_err *err)
{
    (void)json;
    (void)n;
    (void)ret;
    return refuse(name, err);
}

int tw_tokenizer_from_gguf(const char *name, const tw_gguf *g, uint32_t vocab, tw_tokenizer **ret,
                           tw_err *err)
{
    (void)g;
    (void)vocab;
    (void)ret;
    return refuse(name, err);
}

void tw_tokenizer_free(tw_tokenizer *t)
{
    (void)t;
}

void tw_detok_init(tw_detok *d, const tw_tokenizer *t, bool skip_special)
{
    *d = (tw_detok){.t = t, .skip_special = skip_special};
}

int tw_detok_push(tw_detok *d, uint32_t id, tw_buf *out, tw_err *err)
{
    (void)d;
    (void)id;
    (void)out;
    return refuse("token", err);
}

int tw_detok_end(tw_detok *d, tw_buf *out, tw_err *err)
{
    (void)d;
    (void)out;
    return refuse("token", err);
}

void tw_detok_done(tw_detok *d)
{
    (void)d;
}
