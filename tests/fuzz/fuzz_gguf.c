/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fmt/gguf_keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void check_value(const tw_gguf *g, const tw_gguf_pair *pair, const uint8_t *p, size_t n)
{
    const tw_gguf_value *v = &pair->value;
    char shown[40];
    uint64_t n_seen = 0, u;
    double d;
    tw_gguf_texts t;
    tw_str text;
    if (v->p < p || v->p > p + n || v->n_bytes > (size_t)(p + n - v->p))
        abort();
    if (pair > g->pairs && memcmp(pair[-1].key.p, pair->key.p, pair[-1].key.len) == 0 &&
        pair[-1].key.len == pair->key.len)
        abort();
    tw_gguf_show_value(v, shown, sizeof(shown));
    tw_gguf_texts_init(&t, v);
    while (tw_gguf_texts_next(&t, &text)) {
        if (text.p < (const char *)v->p || text.p + text.len > (const char *)v->p + v->n_bytes)
            abort();
        n_seen++;
    }
    if (v->kind == TW_GGUF_TEXT && n_seen != v->n)
        abort();
    for (uint64_t i = 0; i < v->n && i < 8; i++)
        if (tw_gguf_u64(v, i, &u) && !tw_gguf_f64(v, i, &d))
            abort();
}

/* The input is a whole file. What is accepted must keep the header's promises. */
static void check(const tw_gguf *g, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < g->n_pairs; i++)
        check_value(g, &g->pairs[i], p, n);
    for (size_t i = 0; i < g->n; i++) {
        const tw_gguf_tensor *t = &g->tensors[i];
        char shape[40];
        tw_gguf_show_shape(t, shape, sizeof(shape));
        if (t->off_bytes > n || t->n_bytes > n - t->off_bytes || tw_gguf_find(g, t->name) != t ||
            tw_gguf_type_name(t->type) == NULL || strlen(shape) >= sizeof(shape))
            abort();
        if (i > 0 && strcmp(g->tensors[i - 1].name, t->name) >= 0)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    tw_gguf g;
    tw_err err = {.code = 0};
    int rc = tw_gguf_parse("fuzz", p, n, n, &g, &err);
    if (rc == 0) {
        check(&g, p, n);
        tw_gguf_done(&g);
    } else if (err.code != rc || err.msg[0] == '\0') {
        abort();
    }
    return 0;
}
