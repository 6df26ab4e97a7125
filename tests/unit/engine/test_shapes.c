/* SPDX-License-Identifier: Apache-2.0 */
/* Same bits for shapes that no border divides: head sizes off 16, KV heads cut between ranks, empty
 * segments, odd widths, a vocabulary that ends inside a block. */
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
#include "model/model.h"
#include "world.h"

enum { V_MAX = 1024, N_PROMPT = 90, N_GEN = 8 };

static const struct tw_tiny shapes[] = {
    {.family = "qwen2",
     .n_heads = 14,
     .n_kv_heads = 2,
     .head_dim = 24,
     .d_model = 72,
     .vocab = 1000},
    {.n_heads = 6, .n_kv_heads = 3, .head_dim = 8, .ffn = 100, .d_model = 40, .vocab = 513},
    {.family = "qwen3", .n_heads = 9, .n_kv_heads = 3, .head_dim = 80, .ffn = 288, .vocab = 577},
    {.n_heads = 4, .n_kv_heads = 1, .head_dim = 96, .ffn = 130, .f16 = true, .vocab = 600},
    {.n_heads = 2, .n_kv_heads = 1, .head_dim = 256, .ffn = 70, .f32 = true, .vocab = 130},
    {.n_heads = 1, .n_kv_heads = 1, .head_dim = 2, .d_model = 33, .ffn = 31, .vocab = 40},
    {.family = "qwen3_moe",
     .n_heads = 8,
     .n_kv_heads = 2,
     .head_dim = 12,
     .d_model = 72,
     .ffn = 260,
     .vocab = 520,
     .n_layers = 3,
     .extra = "\"num_experts\": 7, \"num_experts_per_tok\": 3, \"moe_intermediate_size\": 258,"
              "\"norm_topk_prob\": true, \"mlp_only_layers\": [1]"},
    {.family = "qwen3_moe",
     .n_heads = 4,
     .n_kv_heads = 4,
     .d_model = 200,
     .vocab = 300,
     .f32 = true,
     .extra = "\"num_experts\": 40, \"num_experts_per_tok\": 2, \"moe_intermediate_size\": 100"},
    {.family = "mistral",
     .n_heads = 8,
     .n_kv_heads = 8,
     .head_dim = 18,
     .d_model = 36,
     .ffn = 257,
     .window = 33,
     .vocab = 1023,
     .mixed = true,
     .attention_bias = true,
     .mlp_bias = true},
};

struct output {
    float logits[V_MAX];
    uint32_t ids[N_GEN];
};

static char dir[256];
static uint32_t prompt[N_PROMPT];

static void generate(world *w, float temperature, struct output *out)
{
    static world_result res;
    tw_err err = {0};
    memset(out, 0, sizeof(*out));
    const tw_request r = {.prompt = prompt,
                          .n_prompt = N_PROMPT,
                          .max_tokens = N_GEN,
                          .ignore_eos = true,
                          .ret_logits = out->logits,
                          .sampling = {.temperature = temperature,
                                       .top_p = 0.98f,
                                       .seed = 3,
                                       .repetition_penalty = 1.1f}};
    if (world_open(w) != 0)
        fail_msg("%u ranks: %s", w->n_ranks, w->ranks[0].err.msg);
    if (world_submit(w, &r, &res, &err) != 0)
        fail_msg("%s", err.msg);
    world_wait(&res);
    if (res.finish != TW_FINISH_LENGTH)
        fail_msg("%u ranks: %s", w->n_ranks, res.err.msg);
    memcpy(out->ids, res.ids, sizeof(out->ids));
    assert_int_equal(world_close(w), 0);
}

static unsigned allowed_ranks(uint32_t *ret_vocab)
{
    tw_model *m = NULL;
    tw_err err = {0};
    if (tw_model_open(dir, &m, &err) != 0)
        fail_msg("%s", err.msg);
    unsigned mask = tw_shard_allowed(tw_model_get_config(m));
    *ret_vocab = tw_model_get_config(m)->vocab;
    tw_model_close(m);
    return mask;
}

static unsigned n_split; /* runs of more than one rank */

static void check_shape(const struct tw_tiny *t, enum tw_arith arith)
{
    static struct output want, got;
    static const struct {
        unsigned n_ranks, n_threads;
        uint32_t chunk;
        const char *cpu;
    } ways[] = {{1, 3, 7, NULL},  {1, 1, 90, "ref"}, {2, 1, 1, NULL},
                {2, 2, 90, NULL}, {4, 1, 31, NULL},  {8, 1, 64, NULL}};
    uint32_t vocab;
    const unsigned mask = allowed_ranks(&vocab);
    tw_rng rng = tw_rng_seed(vocab);
    for (unsigned i = 0; i < N_PROMPT; i++)
        prompt[i] = (uint32_t)tw_rng_below(&rng, vocab);
    for (unsigned hot = 0; hot < 2; hot++) {
        const float temp = hot ? 1.3f : 0.0f;
        world w = {.model_path = dir,
                   .n_ranks = 1,
                   .opts = {.ctx = 128, .chunk = 64, .n_threads = 1, .arith = arith}};
        generate(&w, temp, &want);
        assert_true(want.logits[0] != 0.0f || want.logits[1] != 0.0f);
        for (unsigned i = 0; i < TW_ARRAY_LEN(ways); i++) {
            if ((mask & ways[i].n_ranks) == 0)
                continue;
            w = (world){.model_path = dir,
                        .n_ranks = ways[i].n_ranks,
                        .transport = i % 2 ? TW_TRANSPORT_SHM : TW_TRANSPORT_TCP,
                        .opts = {.ctx = 128,
                                 .chunk = ways[i].chunk,
                                 .n_threads = ways[i].n_threads,
                                 .cpu = ways[i].cpu,
                                 .overlap = hot ? TW_OVERLAP_ON : TW_OVERLAP_OFF,
                                 .arith = arith}};
            generate(&w, temp, &got);
            n_split += ways[i].n_ranks > 1;
            if (memcmp(&want, &got, sizeof(want)) != 0)
                fail_msg("%u heads of %u, way %u, arith %d, temperature %g: other %s", t->n_heads,
                         t->head_dim, i, (int)arith, (double)temp,
                         memcmp(want.logits, got.logits, sizeof(want.logits)) ? "logits"
                                                                              : "tokens");
        }
    }
}

static void test_shapes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < TW_ARRAY_LEN(shapes); i++) {
        struct tw_tiny t = shapes[i];
        t.seed = 20 + i;
        assert_int_equal(tw_tiny_dir(dir, sizeof(dir)), 0);
        assert_int_equal(tw_tiny_write(dir, &t), 0);
        check_shape(&t, TW_ARITH_EXACT);
        check_shape(&t, TW_ARITH_WIRE16);
        tw_tiny_remove(dir);
    }
    assert_true(n_split >= 4 * TW_ARRAY_LEN(shapes)); /* most of them may be split */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shapes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
