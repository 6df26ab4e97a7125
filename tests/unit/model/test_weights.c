/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"
#include "model/model_state.h"
#include "model/weights_finite.h"
#include "os/sys.h"
#include "tiny.h"

struct loaded {
    char dir[256];
    tw_model *m;
    tw_team *team;
    bool joined; /* as tw_tiny's */
};

static void open_tiny(struct loaded *x, const struct tw_tiny *opts, unsigned n_threads)
{
    tw_err err = {.code = 0};
    x->team = NULL;
    x->joined = opts->joined;
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

static void check_experts(const struct loaded *x, const tw_shard *s, const tw_layer *y, uint32_t i)
{
    const tw_model_config *c = tw_model_get_config(x->m);
    const size_t d = c->d_model, f = c->expert_ffn, f0 = s->expert_ffn0, n_f = s->n_expert_ffn;
    char gate[96], up[96], down[96];
    snprintf(gate, sizeof(gate), "model.layers.%u.mlp.gate.weight", i);
    check_matrix(x, &y->router, gate, 0, c->n_experts, 0, d, d);
    assert_null(y->gate.data);
    for (size_t e = 0; e < c->n_experts; e++) {
        const bool joined = x->joined;
        const tw_expert *z = &y->experts[e];
        snprintf(gate, sizeof(gate), "model.layers.%u.mlp.experts.%zu.gate_proj.weight", i, e);
        snprintf(up, sizeof(up), "model.layers.%u.mlp.experts.%zu.up_proj.weight", i, e);
        snprintf(down, sizeof(down), "model.layers.%u.mlp.experts.%zu.down_proj.weight", i, e);
        if (joined) {
            snprintf(gate, sizeof(gate), "model.layers.%u.mlp.experts.gate_up_proj", i);
            memcpy(up, gate, sizeof(up));
            snprintf(down, sizeof(down), "model.layers.%u.mlp.experts.down_proj", i);
        }
        const size_t in = joined ? e : 0;
        check_matrix(x, &z->gate, gate, in * 2 * f + f0, n_f, 0, d, d);
        check_matrix(x, &z->up, up, in * 2 * f + (joined ? f : 0) + f0, n_f, 0, d, d);
        check_matrix(x, &z->down, down, in * d, d, f0, n_f, f);
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
    if (c->experts[i]) {
        check_experts(x, s, y, i);
    } else {
        assert_null(y->experts);
        check_matrix(x, &y->gate, NAME("mlp.gate_proj.weight"), s->ffn0, s->n_ffn, 0, d, d);
        check_matrix(x, &y->up, NAME("mlp.up_proj.weight"), s->ffn0, s->n_ffn, 0, d, d);
        check_matrix(x, &y->down, NAME("mlp.down_proj.weight"), 0, d, s->ffn0, s->n_ffn, c->ffn);
    }
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

static int on_progress(void *ctx, uint64_t done, uint64_t total)
{
    struct progress *p = ctx;
    assert_true(done <= total && total > 0);
    assert_true(p->total == 0 || p->total == total);
    p->last = done;
    p->total = total;
    return 0;
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

#define EXPERTS "\"num_experts\": 3, \"num_experts_per_tok\": 2, \"moe_intermediate_size\": 260"

static void loads_every_part_of_every_rank(void **state)
{
    (void)state;
    static const struct tw_tiny models[] = {
        {.family = "llama"},
        {.family = "llama", .attention_bias = true, .mlp_bias = true, .f16 = true, .n_files = 3},
        {.family = "qwen3", .tied = true, .n_heads = 10, .n_kv_heads = 2, .mixed = true},
        {.family = "qwen2", .f32 = true, .vocab = 601, .ffn = 300, .n_heads = 9, .n_kv_heads = 3},
        {.family = "qwen3_moe", .n_files = 3, .extra = EXPERTS},
        {.family = "qwen3_moe",
         .n_layers = 3,
         .joined = true,
         .mixed = true,
         .extra = EXPERTS ", \"decoder_sparse_step\": 2"},
        {.family = "mistral", .n_heads = 16, .n_kv_heads = 8, .d_model = 96, .n_files = 2},
    };
    for (size_t i = 0; i < TW_ARRAY_LEN(models); i++)
        for (unsigned n_ranks = 1; n_ranks <= 8; n_ranks *= 2)
            check_model(&models[i], n_ranks, (unsigned)i % 3);
}

/* Writes raw bytes over element i of a tensor, on disk. */
static void poke(const struct loaded *x, const char *name, size_t i, uint32_t bits)
{
    for (size_t f = 0; f < x->m->n_files; f++) {
        const tw_st_tensor *t = tw_st_find(&x->m->files[f].st, name);
        if (t == NULL)
            continue;
        size_t bytes = t->type == TW_ST_F32 ? 4 : 2;
        char path[512];
        snprintf(path, sizeof(path), "%s/%s", x->dir, x->m->files[f].name);
        FILE *out = fopen(path, "r+b");
        assert_non_null(out);
        assert_int_equal(fseeko(out, (off_t)(t->off_bytes + i * bytes), SEEK_SET), 0);
        assert_int_equal(fwrite(&bits, bytes, 1, out), 1);
        assert_int_equal(fclose(out), 0);
        return;
    }
    fail_msg("no tensor %s", name);
}

static int load_one(const struct loaded *x, unsigned n_ranks, unsigned rank, tw_weights *w,
                    tw_err *err)
{
    tw_shard s;
    int rc = tw_shard_init(tw_model_get_config(x->m), n_ranks, rank, &s, err);
    return rc < 0 ? rc : tw_weights_load(x->m, &s, x->team, NULL, NULL, w, err);
}

static void names_a_number_that_is_none(void **state)
{
    (void)state;
    static const struct {
        struct tw_tiny opts;
        const char *tensor;
        size_t row, col, ld;
        uint32_t bits;
        int rc; /* of rank 1 of 2, which may not hold it */
    } cases[] = {
        {{0}, "model.layers.1.mlp.down_proj.weight", 63, 200, 256, 0x7f80, -EDOM},
        {{0}, "model.layers.1.mlp.down_proj.weight", 63, 100, 256, 0xffc1, 0},
        {{.n_files = 2}, "model.layers.0.self_attn.o_proj.weight", 0, 127, 128, 0xff80, -EDOM},
        {{.f16 = true}, "lm_head.weight", 511, 63, 64, 0x7c00, -EDOM},
        {{.f16 = true}, "lm_head.weight", 0, 0, 64, 0xfe00, 0},
        {{.f32 = true}, "model.layers.0.self_attn.q_proj.weight", 127, 31, 64, 0x7f800001, -EDOM},
        {{.f32 = true, .tied = true}, "model.embed_tokens.weight", 300, 7, 64, 0xff800000, -EDOM},
        {{0}, "model.layers.1.input_layernorm.weight", 9, 0, 1, 0x7fc0, -EDOM},
        {{0}, "model.norm.weight", 63, 0, 1, 0x7f80, -EDOM},
        {{.family = "qwen3_moe", .extra = EXPERTS},
         "model.layers.1.mlp.experts.2.down_proj.weight",
         63,
         200,
         260,
         0x7f80,
         -EDOM},
    };
    for (size_t i = 0; i < TW_ARRAY_LEN(cases); i++) {
        struct loaded x;
        tw_weights w;
        tw_err err = {.code = 0};
        open_tiny(&x, &cases[i].opts, (unsigned)i % 3);
        poke(&x, cases[i].tensor, cases[i].row * cases[i].ld + cases[i].col, cases[i].bits);
        assert_int_equal(load_one(&x, 1, 0, &w, &err), -EDOM);
        char want[160];
        snprintf(want, sizeof(want), "\"%s\": row %zu column %zu is not finite (bits 0x%x)",
                 cases[i].tensor, cases[i].row, cases[i].col, cases[i].bits);
        if (strstr(err.msg, want) == NULL || strstr(err.msg, ".safetensors: tensor") == NULL)
            fail_msg("\"%s\" lacks \"%s\"", err.msg, want);
        int rc = load_one(&x, 2, 1, &w, &err);
        assert_int_equal(rc, cases[i].rc);
        if (rc == 0)
            tw_weights_done(&w);
        close_tiny(&x);
    }
}

static void tests_every_bit_pattern(void **state)
{
    (void)state;
    for (uint32_t v = 0; v < 0x10000; v++) {
        uint16_t h[3] = {0x3f80, (uint16_t)v, 0};
        assert_int_equal(tw_weights_finite(TW_BF16, h, 3), (v & 0x7f80) != 0x7f80);
        assert_int_equal(tw_weights_finite(TW_F16, h, 3), (v & 0x7c00) != 0x7c00);
        uint32_t w[2] = {v << 16, (v << 16) + 1};
        assert_int_equal(tw_weights_finite(TW_F32, w, 2), (w[1] & 0x7f800000) != 0x7f800000);
    }
    /* each place of a long row, which the vector code takes in blocks */
    uint16_t row[301];
    memset(row, 0x7f, sizeof(row)); /* large and finite */
    for (size_t n = 0; n <= 300; n++)
        assert_true(tw_weights_finite(TW_BF16, row, n));
    for (size_t i = 0; i < 300; i++) {
        row[i] = 0xff80;
        assert_false(tw_weights_finite(TW_BF16, row, 300));
        assert_true(tw_weights_finite(TW_BF16, row, i));
        assert_false(tw_weights_finite(TW_BF16, (const char *)row + 1, 300) && i > 0 && i < 299);
        row[i] = 0x7f7f;
    }
}

static int open_and_load(const char *dir, tw_err *err)
{
    struct loaded x = {.team = NULL};
    tw_weights w;
    int rc = tw_model_open(dir, &x.m, err);
    if (rc < 0)
        return rc;
    rc = load_one(&x, 2, 1, &w, err);
    if (rc == 0)
        tw_weights_done(&w);
    tw_model_close(x.m);
    return rc;
}

static void survives_each_failed_allocation(void **state)
{
    (void)state;
    struct loaded x;
    open_tiny(&x,
              &(struct tw_tiny){.family = "qwen3_moe",
                                .n_files = 3,
                                .n_layers = 2,
                                .mixed = true,
                                .extra = EXPERTS ", \"mlp_only_layers\": [0]"},
              0);
    static const char chat[] = "{\"chat_template\":\"T\",\"bos_token\":\"b\"}";
    assert_int_equal(tw_tiny_put(x.dir, "tokenizer_config.json", chat, sizeof(chat) - 1), 0);
    assert_int_equal(tw_tiny_put(x.dir, "generation_config.json", "{\"top_k\":3}", 11), 0);
    assert_int_equal(tw_tiny_put(x.dir, "chat_template.jinja", "J", 1), 0);
    uint64_t n = 0;
    int rc;
    do {
        tw_err err = {.code = 0};
        tw_mem_fail_at(++n);
        rc = open_and_load(x.dir, &err);
        tw_mem_fail_at(0);
        if (rc != 0 && (rc != -ENOMEM || err.code != -ENOMEM))
            fail_msg("allocation %llu: %d %s", (unsigned long long)n, rc, err.msg);
    } while (rc != 0 && n < 100000);
    printf("# %llu allocations failed, one after another\n", (unsigned long long)(n - 1));
    assert_int_equal(rc, 0);
    assert_true(n > 50);
    close_tiny(&x);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_SHADOW 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HAS_SHADOW 1
#endif
#endif

/* In a child of its own, whose peak nothing before can have raised. */
static int child_peak(const char *dir, unsigned n_ranks)
{
    struct loaded x = {.team = NULL};
    tw_weights w;
    tw_err err = {.code = 0};
    if (tw_team_new(2, NULL, &x.team, &err) != 0 || tw_model_open(dir, &x.m, &err) != 0 ||
        load_one(&x, n_ranks, n_ranks - 1, &w, &err) != 0) {
        printf("# %s\n", err.msg);
        return 2;
    }
    uint64_t peak = tw_sys_rss_peak_bytes();
    printf("# tp %u: %zu MiB packed, peak %llu MiB\n", n_ranks, w.bytes >> 20,
           (unsigned long long)peak >> 20);
    fflush(stdout);
    return peak <= w.bytes + (24u << 20) ? 0 : 1;
}

static const struct tw_tiny big = {.d_model = 1024,
                                   .ffn = 4096,
                                   .n_layers = 2,
                                   .vocab = 4096,
                                   .head_dim = 64,
                                   .n_heads = 16,
                                   .n_kv_heads = 8};

/* Bytes of the file that are in the page cache; its size into *ret_size. */
static size_t cached_bytes(const char *path, bool evict, size_t *ret_size)
{
    tw_map map;
    tw_err err = {.code = 0};
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    if (evict) {
        assert_int_equal(fsync(fd), 0);
        assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    }
    close(fd);
    assert_int_equal(tw_map_open(path, &map, &err), 0);
    size_t page = (size_t)sysconf(_SC_PAGESIZE), n = TW_DIV_UP(map.size_bytes, page), sum = 0;
    unsigned char *in = calloc(n, 1);
    assert_non_null(in);
    assert_int_equal(mincore((void *)(uintptr_t)map.p, map.size_bytes, in), 0);
    for (size_t i = 0; i < n; i++)
        sum += (in[i] & 1) * page;
    free(in);
    *ret_size = map.size_bytes;
    tw_map_close(&map);
    return sum;
}

static void reads_little_but_its_own_bytes(void **state)
{
    (void)state;
    struct loaded x;
    tw_weights w;
    tw_err err = {.code = 0};
    char path[512];
    size_t size = 0;
    open_tiny(&x, &big, 2);
    snprintf(path, sizeof(path), "%s/model.safetensors", x.dir);
    tw_model_close(x.m);
    if (cached_bytes(path, true, &size) > size / 16) {
        printf("# skipped: TMPDIR's file system keeps what it is told to drop from its cache\n");
        tw_team_free(x.team);
        tw_tiny_remove(x.dir);
        return;
    }
    assert_int_equal(tw_model_open(x.dir, &x.m, &err), 0);
    size_t opened = cached_bytes(path, false, &size);
    assert_int_equal(load_one(&x, 4, 1, &w, &err), 0);
    size_t loaded = cached_bytes(path, false, &size);
    /* of o and down whole rows are read, as the gaps in them are small */
    size_t extra = 2 * (1024 * 1024 + 1024 * 4096) * 2 * 3 / 4;
    printf("# of %zu KiB: %zu KiB to open, %zu KiB to load %zu\n", size >> 10, opened >> 10,
           loaded >> 10, w.bytes >> 10);
    assert_true(opened <= 1u << 20);
    assert_true(loaded >= w.bytes);
    assert_true(loaded <= w.bytes + extra + (2u << 20));
    tw_weights_done(&w);
    close_tiny(&x);
}

static void peak_stays_near_the_packed_bytes(void **state)
{
    (void)state;
#ifdef HAS_SHADOW
    printf("# skipped: the sanitizer's shadow memory would count\n");
    return;
#endif
    char dir[256];
    assert_int_equal(tw_tiny_dir(dir, sizeof(dir)), 0);
    assert_int_equal(tw_tiny_write(dir, &big), 0);
    for (unsigned n_ranks = 1; n_ranks <= 4; n_ranks *= 2) {
        fflush(stdout);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            _exit(child_peak(dir, n_ranks));
        int status = 0;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    tw_tiny_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(peak_stays_near_the_packed_bytes),
        cmocka_unit_test(reads_little_but_its_own_bytes),
        cmocka_unit_test(loads_every_part_of_every_rank),
        cmocka_unit_test(names_a_number_that_is_none),
        cmocka_unit_test(tests_every_bit_pattern),
        cmocka_unit_test(survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
