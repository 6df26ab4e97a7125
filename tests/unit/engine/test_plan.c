/* SPDX-License-Identifier: Apache-2.0 */
/* The plan's bytes are those that are really taken, for every family and split. */
#include <errno.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/scope.h"
#include "engine/plan.h"
#include "os/file.h"
#include "world.h"

static const char *const models[] = {"llama-plain",    "llama-bias-f16", "llama-mqa",
                                     "mistral-f32",    "qwen2",          "qwen3",
                                     "qwen3-yarn-f16", "qwen3-moe",      "qwen3-moe-mixed"};

static void path_of(const char *name, char out[512])
{
    snprintf(out, 512, "%s/tiny/%s", getenv("TW_TEST_DATA"), name);
}

static tw_engine_opts example_opts(void)
{
    return (tw_engine_opts){.n_threads = 1, .ctx = 128, .max_seqs = 3, .chunk = 32};
}

static void near(uint64_t got, uint64_t want)
{
    const uint64_t far = got > want ? got - want : want - got;
    if (far * 100 > want)
        fail_msg("%llu, wanted %llu within 1 %%", (unsigned long long)got,
                 (unsigned long long)want);
}

/* Rank 0's engine says what it has taken; the other shards are loaded beside it. */
static void bytes_are_those_of_the_engine(void **state)
{
    (void)state;
    unsigned n_splits = 0;
    for (size_t i = 0; i < TW_ARRAY_LEN(models); i++) {
        char path[512];
        tw_model *m;
        tw_err err = {0};
        path_of(models[i], path);
        assert_int_equal(tw_model_open(path, &m, &err), 0);
        for (unsigned n = 1; n <= TW_RANKS_MAX; n *= 2) {
            tw_budget b;
            const tw_engine_opts o = example_opts();
            assert_int_equal(tw_budget_make(m, &o, n, &b, &err), 0);
            assert_int_equal(b.allowed, (tw_shard_allowed(tw_model_get_config(m)) & n) != 0);
            assert_int_equal(b.allowed, b.why[0] == '\0');
            if (!b.allowed)
                continue;
            world w = {.model_path = path, .n_ranks = n, .opts = o};
            assert_int_equal(world_open(&w), 0);
            tw_engine_info info;
            tw_engine_get_info(w.ranks[0].engine, &info);
            near(b.ranks[0].weights, info.weight_bytes);
            near(b.ranks[0].kv, info.kv_bytes);
            near(b.ranks[0].work + b.ranks[0].arrays, info.work_bytes);
            for (unsigned r = 1; r < n; r++) {
                tw_weights loaded;
                assert_int_equal(tw_weights_load(m, &b.ranks[r].shard, NULL, NULL, NULL, &loaded,
                                                 &err),
                                 0);
                near(b.ranks[r].weights, loaded.bytes);
                tw_weights_done(&loaded);
            }
            assert_int_equal(world_close(&w), 0);
            n_splits++;
        }
        tw_model_close(m);
    }
    assert_true(n_splits >= 2 * TW_ARRAY_LEN(models));
}

/* "VmSize: n kB" of this process. */
static uint64_t mapped_bytes(void)
{
    tw_buf b = TW_BUF(1 << 16);
    uint64_t kib = 0;
    assert_int_equal(tw_file_read("/proc/self/status", &b, NULL), 0);
    const char *at = strstr(b.data, "VmSize:");
    assert_non_null(at);
    kib = strtoull(at + 7, NULL, 10);
    tw_buf_done(&b);
    return kib * 1024;
}

/* The engine's own word is no witness: the process is asked. Heap by the allocator's books, mappings
 * by the kernel's. */
static void bytes_are_those_of_the_process(void **state)
{
    (void)state;
    char path[512];
    tw_model *m;
    tw_err err = {0};
    static tw_rank r;
    tw_budget b;
    const tw_engine_opts o = {.n_threads = 1, .ctx = 128, .max_seqs = 64, .chunk = 64};
    path_of("llama-plain", path);
    assert_int_equal(tw_model_open(path, &m, &err), 0);
    assert_int_equal(tw_budget_make(m, &o, 1, &b, &err), 0);
    assert_int_equal(tw_rank_init(&r, m, NULL, &o, &err), 0); /* what is made once, is made */
    tw_rank_done(&r);
    const struct mallinfo2 heap0 = mallinfo2();
    const uint64_t mapped0 = mapped_bytes();
    assert_int_equal(tw_rank_init(&r, m, NULL, &o, &err), 0);
    const struct mallinfo2 heap = mallinfo2();
    const uint64_t by_heap = heap.uordblks + heap.hblkhd - heap0.uordblks - heap0.hblkhd;
    const uint64_t by_map =
        mapped_bytes() - mapped0 - (heap.arena + heap.hblkhd - heap0.arena - heap0.hblkhd);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    near(b.ranks[0].total, by_heap + by_map);
#else
    printf("# skipped: a sanitizer's allocator keeps no such books (%llu)\n",
           (unsigned long long)(by_heap + by_map));
#endif
    tw_rank_done(&r);
    tw_model_close(m);
}

static void context_that_fits_is_the_largest(void **state)
{
    (void)state;
    char path[512];
    tw_model *m;
    tw_err err = {0};
    path_of("qwen3", path);
    assert_int_equal(tw_model_open(path, &m, &err), 0);
    const uint32_t most = tw_model_get_config(m)->max_ctx / 64 * 64;
    tw_engine_opts o = example_opts();
    uint32_t ctx = 0;
    assert_int_equal(tw_budget_max_ctx(m, &o, 1, 0, UINT64_MAX, &ctx, &err), 0);
    assert_int_equal(ctx, most);
    assert_int_equal(tw_budget_max_ctx(m, &o, 1, 0, 1000, &ctx, &err), 0);
    assert_int_equal(ctx, 0);
    for (uint32_t want = 64; want <= most; want += 64) {
        tw_budget b;
        o.ctx = want;
        assert_int_equal(tw_budget_make(m, &o, 1, &b, &err), 0);
        assert_int_equal(tw_budget_max_ctx(m, &o, 1, 0, b.ranks[0].total, &ctx, &err), 0);
        assert_true(ctx >= want); /* a page more may cost nothing that is counted */
        o.ctx = ctx;
        assert_int_equal(tw_budget_make(m, &o, 1, &b, &err), 0);
        const uint64_t exact = b.ranks[0].total;
        uint32_t less = 0;
        assert_int_equal(tw_budget_max_ctx(m, &o, 1, 0, exact - 1, &less, &err), 0);
        assert_true(less < ctx);
    }
    o.ctx = most + 64;
    tw_budget b;
    assert_int_equal(tw_budget_make(m, &o, 1, &b, &err), -EINVAL);
    tw_model_close(m);
}

/* By hand: what the formulas say of round numbers. */
static void speed_is_the_slower_of_its_parts(void **state)
{
    (void)state;
    tw_budget b = {.n_ranks = 2,
                   .allowed = true,
                   .n_layers = 10,
                   .d_model = 1000,
                   .n_heads = 8,
                   .head_dim = 64,
                   .chunk = 100};
    b.ranks[0] =
        (tw_budget_rank){.weights = 920000000, .flops_token = 7e8, .shard = {.n_heads = 4}};
    b.ranks[1] = (tw_budget_rank){.weights = 460000000, .flops_token = 1e8};
    const tw_budget_limits usual = {.read_gb_s = 10,
                                    .fma_gflops = 100,
                                    .n_sharing = 1,
                                    .n_threads = 1};
    tw_budget_limits l[2] = {usual, usual};
    const tw_budget_way w = {.latency_us = 100, .gbit_s = 1};
    tw_budget_speed s;
    tw_budget_predict(&b, l, &w, 0, &s);
    assert_true(s.decode_read_ms > 99.9 && s.decode_read_ms < 100.1); /* the larger shard */
    /* 21 exchanges of 4,000 bytes: 100 us and 32 us each */
    assert_true(s.decode_exchange_ms > 2.77 && s.decode_exchange_ms < 2.78);
    assert_true(s.decode_tok_s > 9.72 && s.decode_tok_s < 9.74);
    assert_true(s.prefill_compute_ms > 874 && s.prefill_compute_ms < 876);
    assert_true(s.prefill_exchange_ms > 65.9 && s.prefill_exchange_ms < 66.1);
    assert_int_equal(s.decode.i_slowest, 0);
    assert_int_equal(s.prefill.i_slowest, 0);
    assert_true(s.decode.least_ms > 49.9 && s.decode.least_ms < 50.1);
    l[0].n_sharing = l[1].n_sharing = 2;
    const double alone = s.decode_read_ms;
    tw_budget_predict(&b, l, &w, 0, &s);
    assert_true(s.decode_read_ms > 1.99 * alone);
    tw_budget_predict(&b, l, &w, 5000, &s);
    assert_true(s.prefill_compute_ms > 1977 && s.prefill_compute_ms < 1979);
    /* The smaller shard on a machine that reads a third as fast, and multiplies 10 times as fast. */
    l[0] = l[1] = usual;
    l[1].read_gb_s = 10.0 / 3;
    l[1].fma_gflops = 1000;
    tw_budget_predict(&b, l, &w, 0, &s);
    assert_int_equal(s.decode.i_slowest, 1);
    assert_true(s.decode_read_ms > 149.9 && s.decode_read_ms < 150.1);
    assert_int_equal(s.prefill.i_slowest, 0);
    /* Of four experts a token takes one: a third of the weights are others'. */
    b.ranks[1].idle_weights = 460000000 / 3;
    tw_budget_predict(&b, l, &w, 0, &s);
    assert_true(s.decode_read_ms > 99.9 && s.decode_read_ms < 100.1);
    /* In a cache that holds it, the products alone count: 7e8 flops at 40 % of the peak. */
    b.n_ranks = 1;
    l[0].cache_bytes = 1e9;
    tw_budget_predict(&b, l, &w, 0, &s);
    assert_true(s.decode_read_ms > 17.4 && s.decode_read_ms < 17.6);
    l[0].n_threads = 8; /* which wait for each other */
    tw_budget_predict(&b, l, &w, 0, &s);
    assert_true(s.decode_read_ms > 17.5 && s.decode_read_ms < 17.7);
    assert_true(s.decode_exchange_ms == 0.0 && s.prefill_exchange_ms == 0.0);
}

/* Every family's layers run without their weights. */
static void layers_are_tried(void **state)
{
    (void)state;
    for (size_t i = 0; i < TW_ARRAY_LEN(models); i++) {
        char path[512];
        tw_model *m;
        tw_err err = {0};
        tw_trial t = {.n_layers = 0};
        path_of(models[i], path);
        assert_int_equal(tw_model_open(path, &m, &err), 0);
        const tw_engine_opts o = example_opts();
        if (tw_trial_run(m, &o, 2, 64, &t, &err) != 0)
            fail_msg("%s: %s", models[i], err.msg);
        assert_int_equal(t.n_layers, tw_model_get_config(m)->n_layers); /* small ones: all */
        assert_int_equal(t.chunk, o.chunk);
        assert_true(t.weight_bytes > 0 && t.prefill_ms > 0 && t.decode_ms > 0);
        assert_int_equal(tw_trial_run(m, &o, 1, 0, &t, &err), 0);
        tw_model_close(m);
    }
}

static void trial_tunes_the_prediction(void **state)
{
    (void)state;
    char path[512];
    tw_model *m;
    tw_err err = {0};
    tw_budget b;
    tw_budget_speed plain, tuned;
    const tw_engine_opts o = example_opts();
    const tw_budget_way w = {.gbit_s = 1};
    path_of("qwen3", path);
    assert_int_equal(tw_model_open(path, &m, &err), 0);
    const tw_model_config *c = tw_model_get_config(m);
    assert_int_equal(tw_budget_make(m, &o, 1, &b, &err), 0);
    b.ranks[0].shard.n_vocab = 0; /* so that the trial says all of it */
    tw_budget_limits l = {.read_gb_s = 10, .fma_gflops = 100, .n_sharing = 1, .n_threads = 1};
    tw_budget_predict(&b, &l, &w, 32, &plain);
    tw_trial t = {.n_layers = c->n_layers,
                  .chunk = b.chunk,
                  .depth = 32,
                  .weight_bytes = (double)b.ranks[0].weights,
                  .prefill_ms = 3 * plain.prefill_compute_ms,
                  .decode_ms = 2 * plain.decode_read_ms};
    tw_budget_tune(c, &b, &t, &l);
    assert_true(l.decode_tune > 1.99 && l.decode_tune < 2.01);
    assert_true(l.prefill_tune > 2.99 && l.prefill_tune < 3.01);
    tw_budget_predict(&b, &l, &w, 32, &tuned);
    assert_true(tuned.decode_read_ms > 1.99 * plain.decode_read_ms);
    assert_true(tuned.prefill_compute_ms > 2.99 * plain.prefill_compute_ms);
    /* Half of the layers in half of the time: the same. */
    t.n_layers /= 2;
    t.weight_bytes /= 2;
    t.prefill_ms /= 2;
    t.decode_ms /= 2;
    tw_budget_tune(c, &b, &t, &l);
    assert_true(l.decode_tune > 1.9 && l.decode_tune < 2.1);
    assert_true(l.prefill_tune > 2.9 && l.prefill_tune < 3.1);
    tw_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_those_of_the_engine),
        cmocka_unit_test(bytes_are_those_of_the_process),
        cmocka_unit_test(context_that_fits_is_the_largest),
        cmocka_unit_test(speed_is_the_slower_of_its_parts),
        cmocka_unit_test(layers_are_tried),
        cmocka_unit_test(trial_tunes_the_prediction),
    };
    return cmocka_run_group_tests_name("engine_plan", tests, NULL, NULL);
}
