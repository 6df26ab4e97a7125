/* SPDX-License-Identifier: Apache-2.0 */
/* From one thread to many more than there are cpus, and than there is work: the same bits, and an
 * end. A prompt of two spans of keys, so that threads share the keys of one row too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../model/tiny.h"
#include "base/rng.h"
#include "base/scope.h"
#include "world.h"

enum { V = 300, N_PROMPT = 1100, N_GEN = 6, N_COMPANY = 3 };

static const struct tw_tiny models[] = {
    {.n_kv_heads = 2, .ffn = 352, .vocab = V, .seed = 11},
    {.family = "qwen3_moe",
     .n_heads = 4,
     .n_kv_heads = 2,
     .vocab = V,
     .seed = 12,
     .extra = "\"num_experts\": 5, \"num_experts_per_tok\": 2, \"moe_intermediate_size\": 96,"
              "\"norm_topk_prob\": true"},
};

static char dir[256];
static uint32_t prompt[N_PROMPT];

struct output {
    float logits[N_COMPANY][V];
    uint32_t ids[N_COMPANY][N_GEN];
};

/* One long prompt and two short ones at once, so that steps have one row, few and many. */
static void generate(unsigned n_ranks, unsigned n_threads, enum tw_quant quant, struct output *out)
{
    static world_result res[N_COMPANY];
    tw_err err = {0};
    world w = {.model_path = dir,
               .n_ranks = n_ranks,
               .transport = TW_TRANSPORT_SHM,
               .opts = {.ctx = 1280,
                        .chunk = 256,
                        .max_seqs = N_COMPANY,
                        .n_threads = n_threads,
                        .quant = quant}};
    memset(out, 0, sizeof(*out));
    if (world_open(&w) != 0)
        fail_msg("%u ranks of %u threads: %s", n_ranks, n_threads, w.ranks[0].err.msg);
    for (unsigned i = 0; i < N_COMPANY; i++) {
        const tw_request r = {.prompt = prompt + 7 * i,
                              .n_prompt = i == 0 ? N_PROMPT : 5 * i,
                              .max_tokens = N_GEN,
                              .ignore_eos = true,
                              .ret_logits = out->logits[i],
                              .sampling = {.temperature = 0.8f,
                                           .top_p = 0.95f,
                                           .repetition_penalty = 1.0f,
                                           .seed = 5 + i}};
        if (world_submit(&w, &r, &res[i], &err) != 0)
            fail_msg("%s", err.msg);
    }
    for (unsigned i = 0; i < N_COMPANY; i++) {
        world_wait(&res[i]);
        if (res[i].n_ids != N_GEN)
            fail_msg("%u ranks of %u threads: %u tokens: %s", n_ranks, n_threads, res[i].n_ids,
                     res[i].err.msg);
        memcpy(out->ids[i], res[i].ids, sizeof(out->ids[i]));
    }
    assert_int_equal(world_close(&w), 0);
}

static void expect_same(const struct output *want, unsigned n_ranks, unsigned n_threads,
                        enum tw_quant quant)
{
    static struct output got;
    generate(n_ranks, n_threads, quant, &got);
    if (memcmp(want, &got, sizeof(got)) != 0)
        fail_msg("%u ranks of %u threads: other %s", n_ranks, n_threads,
                 memcmp(want->logits, got.logits, sizeof(got.logits)) ? "logits" : "tokens");
}

static void check_model(const struct tw_tiny *t, enum tw_quant quant)
{
    static const unsigned n_threads[] = {2, 3, 7, 64, 128};
    static struct output want;
    assert_int_equal(tw_tiny_dir(dir, sizeof(dir)), 0);
    assert_int_equal(tw_tiny_write(dir, t), 0);
    generate(1, 1, quant, &want);
    assert_true(want.logits[0][0] != 0.0f || want.logits[0][1] != 0.0f);
    for (size_t i = 0; i < TW_ARRAY_LEN(n_threads); i++)
        expect_same(&want, 1, n_threads[i], quant);
    expect_same(&want, 2, 7, quant);
    expect_same(&want, 2, 64, quant);
    tw_tiny_remove(dir);
}

static void test_same_bits(void **state)
{
    (void)state;
    tw_rng rng = tw_rng_seed(21);
    for (unsigned i = 0; i < N_PROMPT; i++)
        prompt[i] = (uint32_t)tw_rng_below(&rng, V);
    check_model(&models[0], TW_QUANT_NONE);
    check_model(&models[0], TW_QUANT_Q8);
    check_model(&models[1], TW_QUANT_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_bits)};
    return cmocka_run_group_tests_name("engine_threads", tests, NULL, NULL);
}
