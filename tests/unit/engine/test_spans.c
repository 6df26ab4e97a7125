/* SPDX-License-Identifier: Apache-2.0 */
/* Threads share the keys of long sequences: same bits for any number of them, for sequences of unlike
 * lengths, with and without a window. */
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

enum { V = 96, N_GEN = 6, N_SEQS = 3, LONGEST = 2600 };

static const uint32_t lengths[N_SEQS] = {LONGEST, 1600, 40};

static const struct tw_tiny shapes[] = {
    {.n_heads = 4, .n_kv_heads = 1, .head_dim = 16, .ffn = 64, .vocab = V, .n_layers = 2},
    {.n_heads = 6, .n_kv_heads = 3, .head_dim = 8, .ffn = 64, .vocab = V, .n_layers = 2},
    {.family = "mistral",
     .n_heads = 4,
     .n_kv_heads = 2,
     .head_dim = 32,
     .ffn = 64,
     .window = 2100,
     .vocab = V,
     .n_layers = 2},
};

struct output {
    float logits[N_SEQS][V];
    uint32_t ids[N_SEQS][N_GEN];
};

static char dir[256];
static uint32_t prompt[LONGEST];

static void generate(unsigned n_threads, struct output *out)
{
    static world_result res[N_SEQS];
    tw_err err = {0};
    world w = {.model_path = dir,
               .n_ranks = 1,
               .opts = {.ctx = 4096, .chunk = 512, .n_threads = n_threads, .max_seqs = N_SEQS}};
    memset(out, 0, sizeof(*out));
    if (world_open(&w) != 0)
        fail_msg("%u threads: %s", n_threads, w.ranks[0].err.msg);
    for (unsigned i = 0; i < N_SEQS; i++) {
        const tw_request r = {
            .prompt = prompt,
            .n_prompt = lengths[i],
            .max_tokens = N_GEN,
            .ignore_eos = true,
            .ret_logits = out->logits[i],
            .sampling = {.temperature = 1.2f, .top_p = 1, .seed = i, .repetition_penalty = 1}};
        if (world_submit(&w, &r, &res[i], &err) != 0)
            fail_msg("%s", err.msg);
    }
    for (unsigned i = 0; i < N_SEQS; i++) {
        world_wait(&res[i]);
        if (res[i].finish != TW_FINISH_LENGTH)
            fail_msg("%u threads: %s", n_threads, res[i].err.msg);
        memcpy(out->ids[i], res[i].ids, sizeof(out->ids[i]));
    }
    assert_int_equal(world_close(&w), 0);
}

static void test_threads(void **state)
{
    (void)state;
    static struct output want, got;
    static const unsigned threads[] = {2, 3};
    for (unsigned i = 0; i < TW_ARRAY_LEN(shapes); i++) {
        struct tw_tiny t = shapes[i];
        tw_rng rng = tw_rng_seed(i);
        t.seed = 50 + i;
        for (unsigned k = 0; k < LONGEST; k++)
            prompt[k] = (uint32_t)tw_rng_below(&rng, V);
        assert_int_equal(tw_tiny_dir(dir, sizeof(dir)), 0);
        assert_int_equal(tw_tiny_write(dir, &t), 0);
        generate(1, &want);
        assert_true(want.logits[0][0] != 0.0f || want.logits[0][1] != 0.0f);
        for (unsigned k = 0; k < TW_ARRAY_LEN(threads); k++) {
            generate(threads[k], &got);
            if (memcmp(&want, &got, sizeof(want)) != 0)
                fail_msg("shape %u: %u threads: other %s", i, threads[k],
                         memcmp(want.logits, got.logits, sizeof(want.logits)) ? "logits"
                                                                              : "tokens");
        }
        tw_tiny_remove(dir);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
