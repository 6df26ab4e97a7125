/* SPDX-License-Identifier: Apache-2.0 */
/* Many threads submit, cancel and ask at random moments: every request ends once, and the answers
 * of those that nobody cancels are what they are alone. */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../model/tiny.h"
#include "base/rng.h"
#include "base/scope.h"
#include "world.h"

enum { V = 512, N_THREADS = 4, N_EACH = 24, N_PROMPT = 40, N_GEN = 16, N_KINDS = 4 };

static char dir[256];
static uint32_t prompt[N_PROMPT];
static world_result want[N_KINDS];

static int make_model(void **state)
{
    (void)state;
    const struct tw_tiny t = {.vocab = V, .seed = 41};
    for (unsigned i = 0; i < N_PROMPT; i++)
        prompt[i] = (i * 91 + 7) % V;
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

static tw_request request(unsigned kind)
{
    static const char *const stops[] = {"m", "cq"};
    return (tw_request){.prompt = prompt,
                        .n_prompt = 1 + kind * 13,
                        .max_tokens = N_GEN,
                        .ignore_eos = true,
                        .stops = stops,
                        .n_stops = kind == 3 ? 2 : 0,
                        .sampling = {.temperature = kind == 0 ? 0.0f : 1.0f,
                                     .top_p = kind == 2 ? 0.9f : 1.0f,
                                     .seed = kind,
                                     .repetition_penalty = kind == 1 ? 1.2f : 1.0f}};
}

struct user {
    world *w;
    tw_rng rng;
    unsigned n_bad, n_cancelled, n_whole;
    char said[200];
    world_result res[N_EACH];
    unsigned kind[N_EACH];
    bool maybe_cancelled[N_EACH];
};

static _Atomic bool stop;

static void check(struct user *u, unsigned i)
{
    const world_result *r = &u->res[i], *good = &want[u->kind[i]];
    const bool whole = r->finish == good->finish && r->n_ids == good->n_ids &&
                       r->n_text == good->n_text && memcmp(r->text, good->text, r->n_text) == 0;
    const bool part = r->finish == TW_FINISH_CANCELLED && r->n_ids <= good->n_ids;
    u->n_cancelled += part;
    u->n_whole += whole;
    if (r->n_done == 1 && memcmp(r->ids, good->ids, r->n_ids * sizeof(uint32_t)) == 0 &&
        (whole || (part && u->maybe_cancelled[i])))
        return;
    u->n_bad++;
    snprintf(u->said, sizeof(u->said), "request %u: kind %u, finish %d, %u ids, %u done", i,
             u->kind[i], (int)r->finish, r->n_ids, r->n_done);
}

static void *user_main(void *arg)
{
    struct user *u = arg;
    unsigned n_waited = 0;
    for (unsigned i = 0; i < N_EACH; i++) {
        tw_err err;
        u->kind[i] = (unsigned)tw_rng_below(&u->rng, N_KINDS);
        const unsigned how = (unsigned)tw_rng_below(&u->rng, 4);
        u->res[i].cancel_after = how == 1 ? 1 + (unsigned)tw_rng_below(&u->rng, N_GEN) : 0;
        u->maybe_cancelled[i] = how == 1 || how == 2;
        const tw_request r = request(u->kind[i]);
        if (world_submit(u->w, &r, &u->res[i], &err) != 0) {
            u->n_bad++;
            break;
        }
        for (uint64_t k = how == 2 ? tw_rng_below(&u->rng, 200) : 0; k > 0; k--)
            sched_yield();
        if (how == 2)
            tw_engine_cancel(u->res[i].engine, u->res[i].id);
        while (n_waited <= i && tw_rng_below(&u->rng, 3) == 0)
            world_wait(&u->res[n_waited++]);
    }
    for (; n_waited < N_EACH; n_waited++)
        world_wait(&u->res[n_waited]);
    for (unsigned i = 0; i < N_EACH; i++)
        check(u, i);
    return NULL;
}

/* Asks what one may ask at any time, and cancels what is long gone or never was. */
static void *asker_main(void *arg)
{
    world *w = arg;
    tw_engine *e = w->ranks[0].engine;
    uint64_t n = 0;
    while (!atomic_load(&stop)) {
        tw_engine_info info;
        tw_err err;
        tw_engine_get_info(e, &info);
        if (info.n_running > w->opts.max_seqs || tw_engine_health(e, &err) != 0)
            return w;
        tw_engine_cancel(e, UINT64_MAX - n++);
        sched_yield();
    }
    return NULL;
}

static void run_stress(unsigned n_ranks, uint64_t seed)
{
    static struct user users[N_THREADS];
    pthread_t threads[N_THREADS], asker;
    void *bad = NULL;
    memset(users, 0, sizeof(users));
    world w = {.model_path = dir,
               .n_ranks = n_ranks,
               .opts = {.ctx = 100, .chunk = 16, .max_seqs = 3}};
    if (world_open(&w) != 0)
        fail_msg("%s", w.ranks[0].err.msg);
    atomic_store(&stop, false);
    assert_int_equal(pthread_create(&asker, NULL, asker_main, &w), 0);
    for (unsigned i = 0; i < N_THREADS; i++) {
        users[i].w = &w;
        users[i].rng = tw_rng_seed(seed + i);
        assert_int_equal(pthread_create(&threads[i], NULL, user_main, &users[i]), 0);
    }
    unsigned n_cancelled = 0, n_whole = 0;
    for (unsigned i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&stop, true);
    pthread_join(asker, &bad);
    assert_null(bad);
    assert_int_equal(world_close(&w), 0);
    for (unsigned i = 0; i < N_THREADS; i++) {
        if (users[i].n_bad != 0)
            fail_msg("thread %u: %u bad, %s", i, users[i].n_bad, users[i].said);
        n_cancelled += users[i].n_cancelled;
        n_whole += users[i].n_whole;
    }
    print_message("# %u ranks: %u whole, %u cancelled\n", n_ranks, n_whole, n_cancelled);
    assert_true(n_cancelled > 0 && n_whole > N_THREADS * N_EACH / 4);
}

static void test_stress(void **state)
{
    (void)state;
    const char *env = getenv("TW_SEED");
    const uint64_t seed = env != NULL ? strtoull(env, NULL, 10) : 6;
    print_message("# TW_SEED=%llu\n", (unsigned long long)seed);
    world w = {.model_path = dir, .n_ranks = 1, .opts = {.ctx = 100}};
    if (world_open(&w) != 0)
        fail_msg("%s", w.ranks[0].err.msg);
    for (unsigned i = 0; i < N_KINDS; i++) {
        tw_err err;
        const tw_request r = request(i);
        assert_int_equal(world_submit(&w, &r, &want[i], &err), 0);
        world_wait(&want[i]);
    }
    assert_int_equal(want[3].finish, TW_FINISH_STOP); /* else the stop strings are for nothing */
    assert_int_equal(world_close(&w), 0);
    run_stress(1, seed);
    run_stress(2, seed);
}

/* Closed while threads' requests are waiting, in their prompt and in decode: each ends once. */
static void test_close_at_any_moment(void **state)
{
    (void)state;
    enum { N = 6, N_ROUNDS = 12 };
    static world_result res[N];
    for (unsigned round = 0; round < N_ROUNDS; round++) {
        world w = {.model_path = dir,
                   .n_ranks = 2,
                   .opts = {.ctx = 4000, .chunk = 8, .max_seqs = 2}};
        if (world_open(&w) != 0)
            fail_msg("%s", w.ranks[0].err.msg);
        for (unsigned i = 0; i < N; i++) {
            tw_err err;
            tw_request r = request(i % 3);
            r.max_tokens = i == 0 ? 1 + round : 0;
            assert_int_equal(world_submit(&w, &r, &res[i], &err), 0);
        }
        if (round % 3 != 0)
            world_wait(&res[0]);
        assert_int_equal(world_close(&w), 0);
        for (unsigned i = 0; i < N; i++)
            assert_int_equal(res[i].n_done, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stress),
        cmocka_unit_test(test_close_at_any_moment),
    };
    return cmocka_run_group_tests(tests, make_model, drop_model);
}
