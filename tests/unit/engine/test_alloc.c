/* SPDX-License-Identifier: Apache-2.0 */
/* Decode allocates nothing, in no thread of any rank: the engine's guard sees only its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../model/tiny.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/scope.h"
#include "engine/session.h"
#include "os/file.h"
#include "world.h"

enum { V = 512, N_GEN = 300, FIRST = 1 };

static char dir[256];

static int make_model(void **state)
{
    (void)state;
    const struct tw_tiny t = {.vocab = V, .seed = 21};
    int rc = tw_tiny_dir(dir, sizeof(dir));
    rc = rc == 0 ? tw_tiny_write(dir, &t) : rc;
    return rc == 0 ? world_put_tokenizer(dir, V) : rc;
}

static int drop_model(void **state)
{
    (void)state;
    tw_tiny_remove(dir);
    return 0;
}

static uint64_t count_at[N_GEN];

static void note_count(world_result *r, const tw_event *ev)
{
    if (ev->kind == TW_EVENT_TOKEN && r->n_ids <= N_GEN)
        count_at[r->n_ids - 1] = tw_mem_count();
}

/* A group's heartbeats (two a second and rank, threads of their own) print into a buffer. Decode
 * itself has none: one a token would be hundreds. */
static void check_counts(unsigned n_ranks, unsigned kind)
{
    const uint64_t n_beats = n_ranks > 1 ? N_GEN / 5 : 0;
    for (unsigned k = FIRST; k < N_GEN; k++)
        if (count_at[k] > count_at[FIRST] + n_beats)
            fail_msg("%u ranks, kind %u: %llu allocations up to token %u", n_ranks, kind,
                     (unsigned long long)(count_at[k] - count_at[FIRST]), k);
}

/* From the first token on, over page borders, with every kind of sampling. */
static void test_decode_allocates_nothing(void **state)
{
    (void)state;
    static world_result res;
    static const uint32_t prompt[] = {1, 2, 3};
    static const tw_sampling kinds[] = {
        {.top_p = 1, .repetition_penalty = 1},
        {.temperature = 1, .top_p = 1, .repetition_penalty = 1.2f},
        {.temperature = 1.5f, .top_p = 0.999f, .repetition_penalty = 1}, /* needs all logits */
        {.temperature = 1, .top_p = 0.9f, .top_k = 20, .min_p = 0.01f, .repetition_penalty = 1},
    };
    const char *const stops[] = {"zzzzzzzzzzzzzzzz", "never"};
    for (unsigned n_ranks = 1; n_ranks <= 2; n_ranks++)
        for (unsigned i = 0; i < 2 * TW_ARRAY_LEN(kinds); i++) {
            world w = {.model_path = dir, .n_ranks = n_ranks, .opts = {.ctx = 400}};
            w.opts.n_threads = 2;
            if (world_open(&w) != 0)
                fail_msg("%s", w.ranks[0].err.msg);
            tw_err err;
            const tw_request r = {.prompt = prompt,
                                  .n_prompt = 3,
                                  .max_tokens = N_GEN,
                                  .ignore_eos = true,
                                  .sampling = kinds[i / 2],
                                  .stops = stops,
                                  .n_stops = i % 2 == 0 ? 0 : 2};
            res.watch = note_count;
            assert_int_equal(world_submit(&w, &r, &res, &err), 0);
            world_wait(&res);
            assert_int_equal(res.n_ids, N_GEN);
            assert_int_equal(world_close(&w), 0);
            check_counts(n_ranks, i);
        }
}

static void no_event(void *ctx, const tw_event *ev)
{
    (void)ctx;
    (void)ev;
}

/* Real tokenizers: buffers grow to the longest token and stay. */
static void check_tokenizer(const char *name)
{
    enum { N = 4000 };
    char path[512];
    snprintf(path, sizeof(path), "%s/tokenizers/%s/tokenizer.json", getenv("TW_TEST_DATA"), name);
    tw_map map TW_CLEANUP(tw_map_close) = {.p = NULL};
    tw_tokenizer *t;
    tw_session *s;
    tw_err err = {0};
    const uint32_t prompt[1] = {0};
    const char *const stops[] = {"never seen in any text"};
    const tw_request r = {
        .prompt = prompt, .n_prompt = 1, .stops = stops, .n_stops = 1, .on_event = no_event};
    if (tw_map_open(path, &map, &err) != 0 ||
        tw_tokenizer_new(name, (const char *)map.p, map.size_bytes, &t, &err) != 0 ||
        tw_session_new(&r, t, &s, &err) != 0)
        fail_msg("%s", err.msg);
    tw_rng rng = tw_rng_seed(1);
    uint64_t warm = 0, last = 0;
    for (unsigned i = 0; i < N; i++) {
        const uint32_t id = (uint32_t)tw_rng_below(&rng, tw_tokenizer_n(t));
        assert_int_equal(tw_session_token(s, id, i), 0);
        if (i == N / 2)
            warm = tw_mem_count();
    }
    last = tw_mem_count();
    tw_session_free(s);
    tw_tokenizer_free(t);
    print_message("# %s: %llu allocations in the last %d tokens\n", name,
                  (unsigned long long)(last - warm), N / 2);
    assert_int_equal(last, warm);
}

static void test_text_allocates_nothing(void **state)
{
    (void)state;
    static const char *const names[] = {"qwen", "llama2", "scripts", "metaspace-first"};
    for (unsigned i = 0; i < TW_ARRAY_LEN(names); i++)
        check_tokenizer(names[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode_allocates_nothing),
        cmocka_unit_test(test_text_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, make_model, drop_model);
}
