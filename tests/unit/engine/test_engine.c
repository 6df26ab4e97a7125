/* SPDX-License-Identifier: Apache-2.0 */
/* Same bits whatever the split, the chunk, the threads, the company; and what requests may do. */
#include <errno.h>
#include <semaphore.h>
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

enum { V = 512, N_PROMPT = 150, N_GEN = 24 };

static char dir[256];
static uint32_t prompt[N_PROMPT];

static int make_model(void **state)
{
    (void)state;
    /* 8 heads share 2 KV heads: with 4 and 8 ranks they are replicated; the window is passed */
    const struct tw_tiny t = {
        .family = "mistral", .n_kv_heads = 2, .ffn = 352, .vocab = V, .window = 70, .seed = 5};
    tw_rng rng = tw_rng_seed(9);
    for (unsigned i = 0; i < N_PROMPT; i++)
        prompt[i] = (uint32_t)tw_rng_below(&rng, V);
    int rc = tw_tiny_dir(dir, sizeof(dir));
    return rc == 0 ? tw_tiny_write(dir, &t) : rc;
}

static int drop_model(void **state)
{
    (void)state;
    tw_tiny_remove(dir);
    return 0;
}

static tw_request request(float temperature)
{
    return (tw_request){.prompt = prompt,
                        .n_prompt = N_PROMPT,
                        .max_tokens = N_GEN,
                        .ignore_eos = true,
                        .sampling = {.temperature = temperature,
                                     .top_p = 0.95f,
                                     .seed = 77,
                                     .repetition_penalty = 1.1f,
                                     .presence_penalty = 0.2f}};
}

struct output {
    float logits[V];
    uint32_t ids[N_GEN];
};

static void open_or_fail(world *w)
{
    if (world_open(w) != 0)
        fail_msg("%u ranks: %s", w->n_ranks, w->ranks[0].err.msg);
}

static void generate(world *w, float temperature, struct output *out)
{
    static world_result res;
    tw_err err = {0};
    tw_request r = request(temperature);
    r.ret_logits = out->logits;
    open_or_fail(w);
    if (world_submit(w, &r, &res, &err) != 0)
        fail_msg("%s", err.msg);
    world_wait(&res);
    assert_int_equal(res.finish, TW_FINISH_LENGTH);
    assert_int_equal(res.n_ids, N_GEN);
    memcpy(out->ids, res.ids, sizeof(out->ids));
    assert_int_equal(world_close(w), 0);
}

static world base_world(void)
{
    return (world){.model_path = dir, .n_ranks = 1, .opts = {.ctx = 256, .chunk = 64}};
}

static void expect_same(const char *what, const struct output *a, const struct output *b)
{
    if (memcmp(a->logits, b->logits, sizeof(a->logits)) != 0)
        fail_msg("%s: other logits", what);
    if (memcmp(a->ids, b->ids, sizeof(a->ids)) != 0)
        fail_msg("%s: other tokens", what);
}

/* In two halves or one, whatever the halves cut: a prompt, two prompts, prompts beside decode. */
static void test_same_bits_overlapped(void **state)
{
    (void)state;
    static struct output want, got;
    static const unsigned chunks[] = {64, 67, 100, 150, 256};
    world w = base_world();
    generate(&w, 0.9f, &want);
    for (unsigned i = 0; i < TW_ARRAY_LEN(chunks); i++)
        for (unsigned r = 2; r <= TW_RANKS_MAX; r *= 2) {
            w = base_world();
            w.n_ranks = r;
            w.transport = i % 2 == 0 ? TW_TRANSPORT_SHM : TW_TRANSPORT_TCP;
            w.opts.chunk = chunks[i];
            w.opts.n_threads = 1 + i % 3;
            w.opts.overlap = TW_OVERLAP_ON;
            generate(&w, 0.9f, &got);
            expect_same("overlapped", &want, &got);
        }
}

static void test_same_bits(void **state)
{
    (void)state;
    static struct output want, got;
    for (unsigned t = 0; t < 2; t++) {
        const float temp = t == 0 ? 0.0f : 0.9f;
        world w = base_world();
        generate(&w, temp, &want);
        for (unsigned r = 2; r <= TW_RANKS_MAX; r *= 2) {
            w = base_world();
            w.n_ranks = r;
            w.transport = r == 4 ? TW_TRANSPORT_SHM : TW_TRANSPORT_TCP;
            generate(&w, temp, &got);
            expect_same("ranks", &want, &got);
        }
        static const uint32_t chunks[] = {1, 7, 200};
        for (unsigned i = 0; i < TW_ARRAY_LEN(chunks); i++) {
            w = base_world();
            w.opts.chunk = chunks[i];
            generate(&w, temp, &got);
            expect_same("chunk", &want, &got);
        }
        for (unsigned n = 2; n <= 3; n++) {
            w = base_world();
            w.opts.n_threads = n;
            generate(&w, temp, &got);
            expect_same("threads", &want, &got);
        }
        w = base_world();
        w.opts.cpu = "ref";
        generate(&w, temp, &got);
        expect_same("ref", &want, &got);
    }
}

/* --arith wire16: other bits than exact, the same for every split. */
static void test_wire16(void **state)
{
    (void)state;
    static struct output exact, want, got;
    world w = base_world();
    generate(&w, 0.0f, &exact);
    for (unsigned r = 1; r <= TW_RANKS_MAX; r *= 2) {
        w = base_world();
        w.n_ranks = r;
        w.transport = r == 4 ? TW_TRANSPORT_SHM : TW_TRANSPORT_TCP;
        w.opts.arith = TW_ARITH_WIRE16;
        w.opts.cpu = r == 8 ? "ref" : NULL;
        w.opts.chunk = r == 2 ? 7 : 64;
        generate(&w, 0.0f, r == 1 ? &want : &got);
        if (r > 1)
            expect_same("ranks, wire16", &want, &got);
    }
    assert_memory_not_equal(exact.logits, want.logits, sizeof(want.logits));
}

/* The same request among others that come and go, more of them than slots. */
static void test_same_bits_in_company(void **state)
{
    (void)state;
    enum { N = 7 };
    static struct output want;
    static world_result res[N];
    world w = base_world();
    generate(&w, 0.9f, &want);
    w = base_world();
    w.n_ranks = 2;
    w.opts.max_seqs = 3;
    open_or_fail(&w);
    tw_err err;
    for (unsigned i = 0; i < N; i++) {
        tw_request r = request(0.9f);
        r.sampling.seed = i == 3 ? 77 : i;
        r.n_prompt = i == 3 ? N_PROMPT : 5 + 20 * i;
        res[i].cancel_after = i == 1 ? 4 : 0;
        assert_int_equal(world_submit(&w, &r, &res[i], &err), 0);
    }
    for (unsigned i = 0; i < N; i++)
        world_wait(&res[i]);
    assert_int_equal(world_close(&w), 0);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(res[i].n_done, 1);
        assert_int_equal(res[i].finish, i == 1 ? TW_FINISH_CANCELLED : TW_FINISH_LENGTH);
        assert_int_equal(res[i].n_ids, i == 1 ? 4 : N_GEN);
    }
    assert_memory_equal(res[3].ids, want.ids, sizeof(want.ids));
}

/* A queue deeper than the slots while all slots are free again: nothing may be forgotten. */
static void test_many_short_requests(void **state)
{
    (void)state;
    enum { N = 40 };
    static world_result res[N];
    world w = base_world();
    w.n_ranks = 2;
    w.opts.max_seqs = 2;
    open_or_fail(&w);
    tw_err err;
    for (unsigned i = 0; i < N; i++) {
        tw_request r = request(0);
        r.n_prompt = 1 + i % 9;
        r.max_tokens = 1 + i % 3;
        assert_int_equal(world_submit(&w, &r, &res[i], &err), 0);
    }
    for (unsigned i = 0; i < N; i++) {
        world_wait(&res[i]);
        assert_int_equal(res[i].n_ids, 1 + i % 3);
    }
    assert_int_equal(world_close(&w), 0);
}

static void test_closing_cancels(void **state)
{
    (void)state;
    static world_result res[2];
    world w = base_world();
    w.n_ranks = 2;
    open_or_fail(&w);
    tw_err err;
    for (unsigned i = 0; i < 2; i++) {
        tw_request r = request(0);
        r.max_tokens = 0; /* to the end of the context */
        assert_int_equal(world_submit(&w, &r, &res[i], &err), 0);
    }
    assert_int_equal(world_close(&w), 0);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(res[i].n_done, 1);
}

static void test_limits(void **state)
{
    (void)state;
    static world_result res;
    world w = base_world();
    w.opts.ctx = 160;
    open_or_fail(&w);
    tw_err err = {0};
    tw_request r = request(0);
    r.max_tokens = 0;
    assert_int_equal(world_submit(&w, &r, &res, &err), 0);
    world_wait(&res);
    assert_int_equal(res.finish, TW_FINISH_LENGTH);
    assert_int_equal(res.n_ids, 160 - N_PROMPT);
    static uint32_t too_long[160];
    r.prompt = too_long;
    r.n_prompt = 160;
    assert_int_equal(world_submit(&w, &r, &res, &err), -E2BIG);
    assert_non_null(strstr(err.msg, "160"));
    r.n_prompt = 0;
    assert_int_equal(world_submit(&w, &r, &res, &err), -EINVAL);
    too_long[0] = V;
    r.n_prompt = 1;
    assert_int_equal(world_submit(&w, &r, &res, &err), -EINVAL);
    assert_int_equal(world_close(&w), 0);
}

static uint64_t prefill_ns;

static void take_time(world_result *r, const tw_event *ev)
{
    (void)r;
    if (ev->kind == TW_EVENT_DONE)
        prefill_ns = ev->prefill_ns;
}

/* Only the end of a prompt is timed: the same tokens, in no more time than all of it takes. */
static void test_timed_from(void **state)
{
    (void)state;
    static world_result res;
    static const size_t from[] = {0, 1, 64, 149};
    uint32_t want[N_GEN];
    uint64_t best[TW_ARRAY_LEN(from)];
    tw_err err = {0};
    world w = base_world();
    open_or_fail(&w);
    tw_request r = request(0);
    for (unsigned i = 0; i < TW_ARRAY_LEN(from); i++) {
        best[i] = UINT64_MAX;
        for (unsigned k = 0; k < 5; k++) {
            r.timed_from = from[i];
            memset(&res, 0, sizeof(res));
            res.watch = take_time;
            assert_int_equal(world_submit(&w, &r, &res, &err), 0);
            world_wait(&res);
            if (i == 0)
                memcpy(want, res.ids, sizeof(want));
            assert_memory_equal(res.ids, want, sizeof(want));
            best[i] = TW_MIN(best[i], prefill_ns);
        }
    }
    assert_true(best[3] > 0 && best[3] < best[0] / 2);
    r.timed_from = N_PROMPT;
    assert_int_equal(world_submit(&w, &r, &res, &err), -EINVAL);
    assert_int_equal(world_close(&w), 0);
}

static sem_t token_came;

static void tell_token(world_result *r, const tw_event *ev)
{
    (void)r;
    (void)ev;
    sem_post(&token_came);
}

/* It is told once nothing is generated, whenever it was asked for. */
static void test_profile_while_generating(void **state)
{
    (void)state;
    static world_result res;
    world w = base_world();
    w.n_ranks = 2;
    w.opts.profile = true;
    open_or_fail(&w);
    tw_err err = {0};
    tw_profile profile;
    tw_request r = request(0);
    res.watch = tell_token;
    sem_init(&token_came, 0, 0);
    assert_int_equal(world_submit(&w, &r, &res, &err), 0);
    sem_wait(&token_came);
    if (tw_engine_profile(w.ranks[0].engine, &profile, &err) != 0)
        fail_msg("%s", err.msg);
    assert_int_equal(res.n_done, 1);
    assert_int_equal(profile.n_ranks, 2);
    assert_true(profile.decode.n_steps > 0);
    assert_int_equal(world_close(&w), 0);
    sem_destroy(&token_came);
}

/* What would be another plan or other bits: the hello refuses and names it. */
static void differ_in(const char *name, const tw_engine_opts *other)
{
    world w = base_world();
    w.n_ranks = 2;
    tw_model *m;
    tw_err err = {0};
    tw_coll_fact *a, *b;
    size_t n_a, n_b;
    assert_int_equal(tw_model_open(dir, &m, &err), 0);
    assert_int_equal(tw_engine_facts(m, &w.opts, 2, &a, &n_a, &err), 0);
    assert_int_equal(tw_engine_facts(m, other, 2, &b, &n_b, &err), 0);
    assert_int_equal(n_a, n_b);
    unsigned n_differ = 0;
    for (size_t i = 0; i < n_a; i++)
        if (strcmp(a[i].value, b[i].value) != 0) {
            assert_string_equal(a[i].name, name);
            n_differ++;
        }
    assert_int_equal(n_differ, 1);
    tw_engine_facts_free(a, n_a);
    tw_engine_facts_free(b, n_b);
    tw_model_close(m);
}

static void test_hello_compares(void **state)
{
    (void)state;
    tw_engine_opts other = base_world().opts;
    other.ctx = 128;
    differ_in("context", &other);
    other = base_world().opts;
    other.arith = TW_ARITH_WIRE16;
    differ_in("arithmetic mode", &other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_same_bits_overlapped),
        cmocka_unit_test(test_wire16),
        cmocka_unit_test(test_timed_from),
        cmocka_unit_test(test_same_bits_in_company),
        cmocka_unit_test(test_many_short_requests),
        cmocka_unit_test(test_closing_cancels),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_profile_while_generating),
        cmocka_unit_test(test_hello_compares),
    };
    return cmocka_run_group_tests(tests, make_model, drop_model);
}
