/* SPDX-License-Identifier: Apache-2.0 */
/* Where requests and options meet their limits, and what one request may not do to the others. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../model/tiny.h"
#include "base/scope.h"
#include "world.h"

enum { V = 512, N_PROMPT = 150 };

static char dir[256];
static uint32_t prompt[N_PROMPT];

static int make_model(void **state)
{
    (void)state;
    const struct tw_tiny t = {.vocab = V, .seed = 11};
    for (unsigned i = 0; i < N_PROMPT; i++)
        prompt[i] = (i * 37 + 5) % V;
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

static tw_request request(size_t n_prompt, uint32_t max_tokens)
{
    return (tw_request){.prompt = prompt,
                        .n_prompt = n_prompt,
                        .max_tokens = max_tokens,
                        .ignore_eos = true,
                        .sampling = {.top_p = 1, .repetition_penalty = 1}};
}

static world a_world(unsigned n_ranks)
{
    return (world){.model_path = dir, .n_ranks = n_ranks, .opts = {.ctx = 256, .chunk = 64}};
}

static void open_or_fail(world *w)
{
    if (world_open(w) != 0)
        fail_msg("%u ranks: %s", w->n_ranks, w->ranks[0].err.msg);
}

static void start(world *w, const tw_request *r, world_result *res)
{
    tw_err err = {0};
    if (world_submit(w, r, res, &err) != 0)
        fail_msg("%s", err.msg);
}

static void generate(world *w, const tw_request *r, world_result *res)
{
    start(w, r, res);
    world_wait(res);
}

/* Contexts that end inside a page, prompts that leave room for one token, one token wanted. */
static void test_ends_of_the_context(void **state)
{
    (void)state;
    static const uint32_t ctxs[] = {100, 128, 129};
    static world_result res, one;
    for (unsigned n_ranks = 1; n_ranks <= 2; n_ranks++)
        for (unsigned i = 0; i < TW_ARRAY_LEN(ctxs); i++) {
            world w = a_world(n_ranks);
            w.opts.ctx = ctxs[i];
            w.opts.chunk = 1000; /* more than the context */
            open_or_fail(&w);
            tw_request r = request(ctxs[i] - 1, 0);
            generate(&w, &r, &res);
            assert_int_equal(res.finish, TW_FINISH_LENGTH);
            assert_int_equal(res.n_ids, 1);
            r.max_tokens = 1;
            generate(&w, &r, &one);
            assert_int_equal(one.n_ids, 1);
            assert_int_equal(one.ids[0], res.ids[0]);
            r = request(1, 5000); /* more than there is room for */
            generate(&w, &r, &res);
            assert_int_equal(res.n_ids, ctxs[i] - 1);
            assert_int_equal(res.finish, TW_FINISH_LENGTH);
            assert_int_equal(world_close(&w), 0);
        }
}

/* More sequences than prompt rows in a step: all wait for their prompt, none is lost or changed. */
static void test_more_sequences_than_chunk(void **state)
{
    (void)state;
    enum { N = 9, N_GEN = 12 };
    static world_result want, res[N];
    tw_request r = request(23, N_GEN);
    world w = a_world(1);
    open_or_fail(&w);
    generate(&w, &r, &want);
    assert_int_equal(world_close(&w), 0);
    w = a_world(2);
    w.opts.chunk = 2;
    w.opts.max_seqs = 7;
    open_or_fail(&w);
    for (unsigned i = 0; i < N; i++)
        start(&w, &r, &res[i]);
    for (unsigned i = 0; i < N; i++) {
        world_wait(&res[i]);
        assert_int_equal(res[i].n_ids, N_GEN);
        assert_memory_equal(res[i].ids, want.ids, N_GEN * sizeof(uint32_t));
    }
    assert_int_equal(world_close(&w), 0);
}

/* The first token's text holds a stop string: the slot is dropped and serves the next request. */
static void test_stop_in_the_first_token(void **state)
{
    (void)state;
    static world_result want, res;
    for (unsigned n_ranks = 1; n_ranks <= 2; n_ranks++) {
        world w = a_world(n_ranks);
        w.opts.max_seqs = 1;
        open_or_fail(&w);
        tw_request r = request(20, 8);
        generate(&w, &r, &want);
        assert_int_equal(want.n_text, 8 * 3);
        char letter[2] = {want.text[1], '\0'};
        r.stops = (const char *const[]){letter};
        r.n_stops = 1;
        for (unsigned i = 0; i < 3; i++) {
            r.max_tokens = i; /* to the end, one, two: the stop comes first in all */
            generate(&w, &r, &res);
            assert_int_equal(res.finish, TW_FINISH_STOP);
            assert_int_equal(res.n_generated, 1);
            assert_int_equal(res.n_text, 1);
            assert_int_equal(res.text[0], want.text[0]);
        }
        r = request(20, 8);
        generate(&w, &r, &res);
        assert_memory_equal(res.ids, want.ids, 8 * sizeof(uint32_t));
        assert_int_equal(world_close(&w), 0);
    }
}

static world_result second;

/* The only slot is busy: who waits goes at once when cancelled, and the first goes on. */
static void cancel_other(world_result *r, const tw_event *ev)
{
    if (ev->kind == TW_EVENT_TOKEN && r->n_ids == 3)
        tw_engine_cancel(r->engine, second.id);
    if (ev->kind == TW_EVENT_TOKEN && r->n_ids == 6) {
        assert_int_equal(second.n_done, 1);
        tw_engine_info info;
        tw_engine_get_info(r->engine, &info);
        assert_int_equal(info.n_running, 1);
        assert_int_equal(info.n_waiting, 0);
    }
}

static void test_cancel_while_waiting(void **state)
{
    (void)state;
    static world_result first;
    for (unsigned n_ranks = 1; n_ranks <= 2; n_ranks++) {
        world w = a_world(n_ranks);
        w.opts.max_seqs = 1;
        open_or_fail(&w);
        /* The first may not end before the second is there: it takes its time by a long prompt
         * and is let go by the event alone. */
        tw_request r = request(N_PROMPT, 60);
        first.watch = cancel_other;
        second.watch = NULL;
        tw_err err;
        second.id = UINT64_MAX;
        pthread_mutex_init(&first.lock, NULL);
        start(&w, &r, &first);
        pthread_mutex_lock(&first.lock); /* holds the engine at its next event */
        assert_int_equal(world_submit(&w, &r, &second, &err), 0);
        const bool in_time = first.n_ids < 3;
        pthread_mutex_unlock(&first.lock);
        assert_true(in_time);
        world_wait(&first);
        world_wait(&second);
        assert_int_equal(first.n_ids, 60);
        assert_int_equal(second.finish, TW_FINISH_CANCELLED);
        assert_int_equal(second.n_ids, 0);
        assert_int_equal(world_close(&w), 0);
    }
}

static void test_sampling_cannot_end_the_engine(void **state)
{
    (void)state;
    static world_result want, res;
    tw_err err = {0};
    const tw_sampling bad[] = {
        {.top_p = 1, .repetition_penalty = 1e-38f},
        {.top_p = 1, .repetition_penalty = 1e38f},
        {.top_p = 1, .repetition_penalty = NAN},
        {.top_p = 1, .repetition_penalty = 1, .presence_penalty = INFINITY},
        {.top_p = 1, .repetition_penalty = 1, .frequency_penalty = NAN},
        {.top_p = 1, .repetition_penalty = 1, .frequency_penalty = -1e38f},
        {.top_p = NAN, .repetition_penalty = 1},
        {.top_p = 1, .repetition_penalty = 1, .temperature = NAN},
        {.top_p = 1, .repetition_penalty = 1, .min_p = 2},
    };
    world w = a_world(2);
    open_or_fail(&w);
    tw_request r = request(20, 8);
    generate(&w, &r, &want);
    for (unsigned i = 0; i < TW_ARRAY_LEN(bad); i++) {
        r.sampling = bad[i];
        assert_int_equal(world_submit(&w, &r, &res, &err), -EINVAL);
        assert_non_null(strstr(err.msg, "penalties"));
    }
    r = request(20, 8);
    for (float t = 1e-40f; t > 0.0f && t < 1e-8f; t *= 1000) { /* as good as greedy */
        r.sampling.temperature = t;
        generate(&w, &r, &res);
        assert_int_equal(res.finish, TW_FINISH_LENGTH);
        assert_memory_equal(res.ids, want.ids, 8 * sizeof(uint32_t));
    }
    static const tw_sampling wild = {.temperature = 1e-5f,
                                     .top_p = 0.5f,
                                     .repetition_penalty = 1000,
                                     .presence_penalty = -1000,
                                     .frequency_penalty = 1000};
    r.sampling = wild;
    generate(&w, &r, &res);
    assert_int_equal(res.finish, TW_FINISH_LENGTH);
    assert_int_equal(tw_engine_health(w.ranks[0].engine, &err), 0);
    assert_int_equal(world_close(&w), 0);
}

static void test_requests_nobody_can_serve(void **state)
{
    (void)state;
    tw_err err = {0};
    uint64_t id;
    world w = a_world(1);
    open_or_fail(&w);
    tw_request r = request(20, 8);
    assert_int_equal(tw_engine_submit(w.ranks[0].engine, &r, &id, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "on_event"));
    assert_int_equal(world_close(&w), 0);
}

static void test_options_that_cannot_be(void **state)
{
    (void)state;
    world w = a_world(1);
    w.opts.ctx = UINT32_MAX; /* pages of all sequences together pass 32 bits */
    w.opts.max_seqs = 65;
    assert_int_equal(world_open(&w), -EINVAL);
    assert_non_null(strstr(w.ranks[0].err.msg, "--ctx"));
    world_close(&w);
    tw_engine *e;
    tw_model *m;
    tw_err err = {0};
    assert_int_equal(tw_model_open(dir, &m, &err), 0);
    const tw_engine_opts o = {.n_threads = 1, .i_local = 2, .n_local = 2, .ctx = 64};
    assert_int_equal(tw_engine_open(m, NULL, &o, &e, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "local rank 2"));
    tw_model_close(m);
}

static tw_engine_info seen;

static void look_at_info(world_result *r, const tw_event *ev)
{
    if (ev->kind == TW_EVENT_TOKEN)
        tw_engine_get_info(r->engine, &seen);
}

/* What the metrics say is what was fed and given out. A step is counted after its events. */
static void test_counts(void **state)
{
    (void)state;
    enum { N = 5, N_GEN = 11 };
    static world_result res[N], last;
    world w = a_world(2);
    w.opts.max_seqs = 2;
    open_or_fail(&w);
    uint64_t n_prompt = 0, n_made = 0;
    for (unsigned i = 0; i < N; i++) {
        tw_request r = request(70 + i, N_GEN);
        res[i].cancel_after = i == 2 ? 4 : 0;
        start(&w, &r, &res[i]);
        n_prompt += r.n_prompt;
    }
    for (unsigned i = 0; i < N; i++) {
        world_wait(&res[i]);
        n_made += res[i].n_generated;
    }
    tw_request r = request(1, 1);
    last.watch = look_at_info;
    generate(&w, &r, &last);
    assert_int_equal(seen.n_prompt_tokens, n_prompt);
    assert_int_equal(seen.n_generated_tokens, n_made);
    assert_int_equal(n_made, (N - 1) * N_GEN + 4);
    assert_int_equal(seen.n_running, 1);
    assert_int_equal(seen.n_waiting, 0);
    assert_int_equal(world_close(&w), 0);
}

/* Finite weights, overflow in the arithmetic: an error that names the rank, not a token. */
static void test_not_finite(void **state)
{
    (void)state;
    static world_result res;
    static const uint16_t huge = 0x7f61; /* 3e38 as bf16 */
    char damaged[256], path[300];
    const struct tw_tiny t = {.vocab = V, .seed = 11};
    assert_int_equal(tw_tiny_dir(damaged, sizeof(damaged)), 0);
    assert_int_equal(tw_tiny_write(damaged, &t), 0);
    /* The final norm [64] stands just before the lm head [V][64] at the end of the file. */
    snprintf(path, sizeof(path), "%s/model.safetensors", damaged);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, -(V + 1) * 64 * 2, SEEK_END), 0);
    for (unsigned i = 0; i < 64; i++)
        assert_int_equal(fwrite(&huge, 2, 1, f), 1);
    fclose(f);
    for (unsigned n_ranks = 1; n_ranks <= 2; n_ranks++)
        for (unsigned t100 = 0; t100 <= 80; t100 += 80) {
            world w = a_world(n_ranks);
            w.model_path = damaged;
            open_or_fail(&w);
            tw_request r = request(30, 8);
            r.sampling.temperature = (float)t100 / 100;
            generate(&w, &r, &res);
            assert_int_equal(res.finish, TW_FINISH_ERROR);
            assert_int_equal(res.err.code, -EDOM);
            if (strstr(res.err.msg, "rank 0: logits of position 29 are not finite") == NULL)
                fail_msg("%s", res.err.msg);
            assert_int_equal(res.n_ids, 0);
            tw_err err = {0};
            assert_int_equal(tw_engine_health(w.ranks[0].engine, &err), -EDOM);
            assert_int_equal(world_submit(&w, &r, &res, &err), -EDOM);
            assert_non_null(strstr(err.msg, "not finite"));
            const int rc = world_close(&w);
            assert_int_equal(rc, n_ranks == 1 ? 0 : -EDOM); /* rank 1 came to the same end */
        }
    tw_tiny_remove(damaged);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends_of_the_context),
        cmocka_unit_test(test_more_sequences_than_chunk),
        cmocka_unit_test(test_stop_in_the_first_token),
        cmocka_unit_test(test_cancel_while_waiting),
        cmocka_unit_test(test_sampling_cannot_end_the_engine),
        cmocka_unit_test(test_requests_nobody_can_serve),
        cmocka_unit_test(test_options_that_cannot_be),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_not_finite),
    };
    return cmocka_run_group_tests(tests, make_model, drop_model);
}
