/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/scope.h"
#include "model/model_state.h"
#include "os/sys.h"
#include "tiny.h"

struct loaded {
    char dir[256];
    tw_model *m;
    tw_team *team;
};

static void open_tiny(struct loaded *x, const struct tw_tiny *opts, unsigned n_threads)
{
    tw_err err = {.code = 0};
    x->team = NULL;
    assert_int_equal(tw_tiny_dir(x->dir, sizeof(x->dir)), 0);
    assert_int_equal(tw_tiny_write(x->dir, opts), 0);
    if (tw_model_open(x->dir, &x->m, &err) != 0)
        fail_msg("%s", err.msg);
    if (n_threads > 0)
        assert_int_equal(tw_team_new(n_threads, NULL, &x->team, &err), 0);
}

static void close_tiny(struct loaded *x)
{
    tw_team_free(x->team);
    tw_model_close(x->m);
    tw_tiny_remove(x->dir);
}

/* The raw element of a tensor by its name in the file, found by the format's own rules. */
static uint32_t raw_at(const tw_model *m, const char *name, size_t i, enum tw_dtype *ret_type)
{
    for (size_t f = 0; f < m->n_files; f++) {
        const tw_st_tensor *t = tw_st_find(&m->files[f].st, name);
        if (t == NULL)
            continue;
        const uint8_t *p = m->files[f].map.p + t->off_bytes;
        uint32_t v = 0;
        *ret_type = t->type == TW_ST_F32 ? TW_F32 : t->type == TW_ST_F16 ? TW_F16 : TW_BF16;
        size_t n = t->type == TW_ST_F32 ? 4 : 2;
        memcpy(&v, p + i * n, n);
        return v;
    }
    fail_msg("no tensor %s", name);
    return 0;
}

/* Where kern.h says that column k of output n lies. */
static uint32_t packed_at(const tw_packed *w, size_t n, size_t k)
{
    size_t in = n % 64;
    if (w->type == TW_BF16)
        in = in / 16 * 16 + (in % 16 < 8 ? 2 * (in % 16) : 2 * (in % 16 - 8) + 1);
    size_t at = (n / 64 * w->k + k) * 64 + in, bytes = w->type == TW_F32 ? 4 : 2;
    uint32_t v = 0;
    memcpy(&v, (const char *)w->data + at * bytes, bytes);
    return v;
}

static void check_matrix(const struct loaded *x, const tw_packed *w, const char *name, size_t row0,
                         size_t n_rows, size_t col0, size_t n_cols, size_t ld)
{
    enum tw_dtype type = TW_F32;
    assert_int_equal(w->n, n_rows);
    assert_int_equal(w->k, n_cols);
    assert_int_equal((uintptr_t)w->data % 64, 0);
    for (size_t r = 0; r < n_rows; r++) {
        for (size_t c = 0; c < n_cols; c++) {
            uint32_t want = raw_at(x->m, name, (row0 + r) * ld + col0 + c, &type);
            if (packed_at(w, r, c) != want)
                fail_msg("%s row %zu column %zu", name, r, c);
        }
    }
    assert_int_equal(w->type, type);
    for (size_t r = n_rows; r % 64 != 0; r++)
        for (size_t c = 0; c < n_cols; c++)
            assert_int_equal(packed_at(w, r, c), 0);
}

static void check_vector(const struct loaded *x, const float *v, const char *name, size_t from,
                         size_t n)
{
    assert_non_null(v);
    for (size_t i = 0; i < n; i++) {
        enum tw_dtype type = TW_F32;
        uint32_t raw = raw_at(x->m, name, from + i, &type);
        float want;
        tw_kern_ref()->to_f32(&want, &raw, type, 1);
        assert_memory_equal(&want, &v[i], sizeof(want));
    }
}

static void check_layer(const struct loaded *x, const tw_shard *s, const tw_layer *y, uint32_t i)
{
    const tw_model_config *c = tw_model_get_config(x->m);
    size_t q = c->head_dim, d = c->d_model;
    char name[96];
#define NAME(tail) (snprintf(name, sizeof(name), "model.layers.%u." tail, i), name)
    check_vector(x, y->attn_norm, NAME("input_layernorm.weight"), 0, d);
    check_vector(x, y->ffn_norm, NAME("post_attention_layernorm.weight"), 0, d);
    check_matrix(x, &y->q, NAME("self_attn.q_proj.weight"), s->head0 * q, s->n_heads * q, 0, d, d);
    check_matrix(x, &y->k, NAME("self_attn.k_proj.weight"), s->kv0 * q, s->n_kv * q, 0, d, d);
    check_matrix(x, &y->v, NAME("self_attn.v_proj.weight"), s->kv0 * q, s->n_kv * q, 0, d, d);
    check_matrix(x, &y->o, NAME("self_attn.o_proj.weight"), 0, d, s->head0 * q, s->n_heads * q,
                 c->n_heads * q);
    check_matrix(x, &y->gate, NAME("mlp.gate_proj.weight"), s->ffn0, s->n_ffn, 0, d, d);
    check_matrix(x, &y->up, NAME("mlp.up_proj.weight"), s->ffn0, s->n_ffn, 0, d, d);
    check_matrix(x, &y->down, NAME("mlp.down_proj.weight"), 0, d, s->ffn0, s->n_ffn, c->ffn);
    if (c->q_bias) {
        check_vector(x, y->q_bias, NAME("self_attn.q_proj.bias"), s->head0 * q, s->n_heads * q);
        check_vector(x, y->k_bias, NAME("self_attn.k_proj.bias"), s->kv0 * q, s->n_kv * q);
        check_vector(x, y->v_bias, NAME("self_attn.v_proj.bias"), s->kv0 * q, s->n_kv * q);
    } else {
        assert_null(y->q_bias);
    }
    if (c->o_bias)
        check_vector(x, y->o_bias, NAME("self_attn.o_proj.bias"), 0, d);
    else
        assert_null(y->o_bias);
    if (c->qk_norm) {
        check_vector(x, y->q_norm, NAME("self_attn.q_norm.weight"), 0, q);
        check_vector(x, y->k_norm, NAME("self_attn.k_norm.weight"), 0, q);
    } else {
        assert_null(y->k_norm);
    }
    if (c->mlp_bias) {
        check_vector(x, y->gate_bias, NAME("mlp.gate_proj.bias"), s->ffn0, s->n_ffn);
        check_vector(x, y->up_bias, NAME("mlp.up_proj.bias"), s->ffn0, s->n_ffn);
        check_vector(x, y->down_bias, NAME("mlp.down_proj.bias"), 0, d);
    } else {
        assert_null(y->down_bias);
    }
#undef NAME
}

struct progress {
    uint64_t last, total;
};

static void on_progress(void *ctx, uint64_t done, uint64_t total)
{
    struct progress *p = ctx;
    assert_true(done <= total && total > 0);
    assert_true(p->total == 0 || p->total == total);
    p->last = done;
    p->total = total;
}

static void check_model(const struct tw_tiny *opts, unsigned n_ranks, unsigned n_threads)
{
    struct loaded x;
    open_tiny(&x, opts, n_threads);
    const tw_model_config *c = tw_model_get_config(x.m);
    for (unsigned rank = 0; rank < n_ranks; rank++) {
        tw_err err = {.code = 0};
        tw_shard s;
        tw_weights w;
        struct progress p = {0};
        if (tw_shard_init(c, n_ranks, rank, &s, &err) != 0 ||
            tw_weights_load(x.m, &s, x.team, on_progress, &p, &w, &err) != 0)
            fail_msg("%s", err.msg);
        assert_true(p.last == p.total && p.total > 0);
        for (uint32_t i = 0; i < c->n_layers; i++)
            check_layer(&x, &s, &w.layers[i], i);
        check_vector(&x, w.final_norm, "model.norm.weight", 0, c->d_model);
        check_matrix(&x, &w.lm_head, c->tied ? "model.embed_tokens.weight" : "lm_head.weight",
                     s.vocab0, s.n_vocab, 0, c->d_model, c->d_model);
        tw_weights_done(&w);
    }
    close_tiny(&x);
}

static void loads_every_part_of_every_rank(void **state)
{
    (void)state;
    static const struct tw_tiny models[] = {
        {.family = "llama"},
        {.family = "llama", .attention_bias = true, .mlp_bias = true, .f16 = true, .n_files = 3},
        {.family = "qwen3", .tied = true, .n_heads = 10, .n_kv_heads = 2, .mixed = true},
        {.family = "qwen2", .f32 = true, .vocab = 601, .ffn = 300, .n_heads = 9, .n_kv_heads = 3},
        {.family = "mistral", .n_heads = 16, .n_kv_heads = 8, .d_model = 96, .n_files = 2},
    };
    for (size_t i = 0; i < TW_ARRAY_LEN(models); i++)
        for (unsigned n_ranks = 1; n_ranks <= 8; n_ranks *= 2)
            check_model(&models[i], n_ranks, (unsigned)i % 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loads_every_part_of_every_rank),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
