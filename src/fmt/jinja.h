/* SPDX-License-Identifier: Apache-2.0 */
/* Chat templates: the part of Jinja2 that Hugging Face models use, rendered as transformers does
 * (trim_blocks, lstrip_blocks, no auto-escape). A template is parsed once and rendered many times.
 * Templates and messages come from strangers: memory, steps, depth and output are all bounded.
 * What is not supported (include, import, extends, with, do, call blocks, recursive loops, **) is
 * refused by name when the template is parsed.
 * Must not know models, tokenizers or HTTP. */
#ifndef TWINAX_FMT_JINJA_H
#define TWINAX_FMT_JINJA_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "base/buf.h"
#include "twinax/err.h"

typedef struct tw_jinja tw_jinja;

typedef struct tw_jinja_opts {
    size_t max_arena_bytes; /* values made while rendering; 0: 128 MiB */
    uint64_t max_steps;     /* evaluated nodes and touched elements; 0: 20 million */
    const struct tm *now;   /* what strftime_now prints; NULL: it is an error to call it */
} tw_jinja_opts;

/* name stands before the line in messages ("NAME:LINE: what"). Copies src. */
TW_MUST_CHECK int tw_jinja_parse(const char *name, const char *src, size_t n, tw_jinja **ret,
                                 tw_err *err);
/* Appends the rendered text to out, whose ceiling bounds it; after an error out holds a part.
 * ctx: object of global variables, borrowed. -EINVAL: the template's own mistake or its
 * raise_exception; -E2BIG: a bound was passed; -ENOMEM.
 * Thread: any number may render one template at once. */
TW_MUST_CHECK int tw_jinja_render(const tw_jinja *t, const json_t *ctx, const tw_jinja_opts *o,
                                  tw_buf *out, tw_err *err);
void tw_jinja_free(tw_jinja *t);

#endif
