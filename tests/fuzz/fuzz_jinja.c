/* SPDX-License-Identifier: Apache-2.0 */
/* A template, a zero byte, and its variables as JSON; without the zero byte only a template. */
#include <jansson.h>
#include <stdint.h>
#include <string.h>

#include "base/scope.h"
#include "fmt/jinja.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static const struct tm now = {.tm_year = 125, .tm_mday = 1};
    static const tw_jinja_opts o = {.max_arena_bytes = 1 << 22, .max_steps = 20000, .now = &now};
    const uint8_t *zero = n ? memchr(p, 0, n) : NULL;
    size_t n_src = zero ? (size_t)(zero - p) : n;
    TW_CLEANUP(tw_buf_done) tw_buf out = TW_BUF(1 << 16);
    tw_jinja *t = NULL;
    tw_err err = {0};
    json_t *ctx =
        zero ? json_loadb((const char *)zero + 1, n - n_src - 1, JSON_ALLOW_NUL, NULL) : NULL;
    if (tw_jinja_parse("fuzz", (const char *)p, n_src, &t, &err) == 0 &&
        tw_jinja_render(t, ctx, &o, &out, &err) != 0 && err.code == 0)
        __builtin_trap(); /* every failure says why */
    tw_jinja_free(t);
    json_decref(ctx);
    return 0;
}
