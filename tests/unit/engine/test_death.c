/* SPDX-License-Identifier: Apache-2.0 */
/* Rank 1 is a process that is killed: rank 0's requests and callers hear of it, by name and in
 * time. */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../base/limit.h"
#include "../model/tiny.h"
#include "base/clock.h"
#include "base/scope.h"
#include "world.h"

#define TOLD_NS (2 * TW_NS_PER_S) /* the promise */

enum { V = 512, KILL_AT = 20 };

static char dir[256];
static uint32_t prompt[300];
static pid_t victim;
static uint64_t killed_ns, told_ns;

static int make_model(void **state)
{
    (void)state;
    const struct tw_tiny t = {.vocab = V, .seed = 31};
    int rc = tw_tiny_dir(dir, sizeof(dir));
    return rc == 0 ? tw_tiny_write(dir, &t) : rc;
}

static int drop_model(void **state)
{
    (void)state;
    tw_tiny_remove(dir);
    return 0;
}

static void kill_victim(int sig)
{
    killed_ns = tw_clock_now_ns();
    kill(victim, sig);
}

static bool is_in_time(uint64_t took_ns)
{
    if (took_ns > scaled_limit(TOLD_NS))
        printf("# late: told after %.2f s\n", (double)took_ns * 1e-9);
    return took_ns <= scaled_limit(TOLD_NS);
}

static int signal_now; /* SIGKILL, SIGSTOP; 0: nobody is hurt */

static void kill_in_decode(world_result *r, const tw_event *ev)
{
    if (ev->kind == TW_EVENT_TOKEN && r->n_ids == KILL_AT)
        kill_victim(signal_now);
    if (ev->kind == TW_EVENT_DONE)
        told_ns = tw_clock_now_ns();
}

/* Rank 1 is a child; rank 0 has met it. */
static void start_pair(world *w, enum tw_transport transport)
{
    *w = (world){.model_path = dir,
                 .n_ranks = 2,
                 .transport = transport,
                 .opts = {.ctx = 4000, .chunk = 16, .max_seqs = 2}};
    assert_int_equal(world_prepare(w), 0);
    victim = fork();
    assert_true(victim >= 0);
    if (victim == 0) {
        close(w->listen_fd);
        alarm(60);
        world_rank_main(&w->ranks[1]);
        _exit(0);
    }
    if (world_meet(&w->ranks[0]) != 0)
        fail_msg("rank 0: %s", w->ranks[0].err.msg);
}

static void open_pair(world *w, enum tw_transport transport)
{
    start_pair(w, transport);
    world_rank *r = &w->ranks[0];
    const tw_engine_opts o = world_rank_opts(r);
    if (tw_engine_open(r->model, r->coll, &o, &r->engine, &r->err) != 0)
        fail_msg("rank 0: %s", r->err.msg);
}

static void close_pair(world *w)
{
    world_leave(&w->ranks[0]);
    kill(victim, SIGKILL);
    waitpid(victim, NULL, 0);
}

static tw_request long_request(void)
{
    return (tw_request){.prompt = prompt,
                        .n_prompt = 3,
                        .ignore_eos = true,
                        .sampling = {.top_p = 1, .repetition_penalty = 1}};
}

static void expect_named(const tw_err *err)
{
    if (err->code >= 0 || strstr(err->msg, "rank 1") == NULL)
        fail_msg("code %d, \"%s\"", err->code, err->msg);
}

/* True when rank 0's callers were told in time; what they are told must be right every time. */
static bool run_killed_in_decode(enum tw_transport transport, int sig)
{
    static world_result res, other;
    world w;
    tw_err err = {0};
    open_pair(&w, transport);
    signal_now = sig;
    res.watch = kill_in_decode;
    tw_request r = long_request();
    assert_int_equal(world_submit(&w, &r, &res, &err), 0);
    r.n_prompt = TW_ARRAY_LEN(prompt);
    assert_int_equal(world_submit(&w, &r, &other, &err), 0);
    world_wait(&res);
    world_wait(&other);
    assert_int_equal(res.finish, TW_FINISH_ERROR);
    assert_int_equal(other.finish, TW_FINISH_ERROR); /* the others too, once */
    assert_int_equal(other.n_done, 1);
    assert_true(res.n_generated >= KILL_AT);
    expect_named(&res.err);
    expect_named(&other.err);
    uint64_t took_ns = told_ns - killed_ns;
    err.code = tw_engine_health(w.ranks[0].engine, &err);
    expect_named(&err);
    tw_err late = {0};
    assert_int_equal(world_submit(&w, &r, &res, &late), err.code);
    assert_string_equal(late.msg, err.msg);
    close_pair(&w);
    return is_in_time(took_ns);
}

static void is_told_in_decode(enum tw_transport transport, int sig)
{
    bool in_time = false;
    for (int i = 0; i < TRIES_FOR_TIME && !in_time; i++)
        in_time = run_killed_in_decode(transport, sig);
    assert_true(in_time);
}

static void test_killed_in_decode(void **state)
{
    (void)state;
    is_told_in_decode(TW_TRANSPORT_TCP, SIGKILL);
    is_told_in_decode(TW_TRANSPORT_SHM, SIGKILL);
    is_told_in_decode(TW_TRANSPORT_TCP, SIGSTOP);
}

/* What ends a test that hangs. */
static bool is_patient(void)
{
    return tw_clock_now_ns() - killed_ns < 30 * TW_NS_PER_S;
}

static bool run_killed_while_idle(void)
{
    static world_result res;
    world w;
    tw_err err = {0};
    open_pair(&w, TW_TRANSPORT_TCP);
    tw_request r = long_request();
    r.max_tokens = 5;
    res.watch = NULL;
    assert_int_equal(world_submit(&w, &r, &res, &err), 0);
    world_wait(&res);
    assert_int_equal(res.finish, TW_FINISH_LENGTH);
    assert_int_equal(tw_engine_health(w.ranks[0].engine, &err), 0);
    kill_victim(SIGKILL);
    while ((err.code = tw_engine_health(w.ranks[0].engine, &err)) == 0 && is_patient())
        sched_yield();
    uint64_t took_ns = tw_clock_now_ns() - killed_ns;
    expect_named(&err);
    if (world_submit(&w, &r, &res, &err) == 0) {
        world_wait(&res);
        assert_int_equal(res.finish, TW_FINISH_ERROR);
        err = res.err;
    }
    expect_named(&err);
    close_pair(&w);
    return is_in_time(took_ns);
}

/* Nothing runs: health says it by itself, and the next request hears it in time. */
static void test_killed_while_idle(void **state)
{
    (void)state;
    bool in_time = false;
    for (int i = 0; i < TRIES_FOR_TIME && !in_time; i++)
        in_time = run_killed_while_idle();
    assert_true(in_time);
}

static unsigned n_progress;

/* The first piece is loaded: rank 1 dies, and rank 0 has heard of it. */
static void kill_in_load(void *ctx, uint64_t done_bytes, uint64_t total_bytes)
{
    const world_rank *r = ctx;
    tw_err ignored;
    (void)done_bytes;
    (void)total_bytes;
    if (n_progress++ > 0)
        return;
    kill_victim(SIGKILL);
    while (tw_coll_health(r->coll, &ignored) == 0 && is_patient())
        sched_yield();
}

/* Loading may take minutes: it ends when the group does. */
static void test_killed_while_loading(void **state)
{
    (void)state;
    world w;
    n_progress = 0;
    start_pair(&w, TW_TRANSPORT_TCP);
    world_rank *r = &w.ranks[0];
    tw_engine_opts o = world_rank_opts(r);
    o.n_threads = 1;
    o.progress = kill_in_load;
    o.progress_ctx = r;
    assert_int_not_equal(tw_engine_open(r->model, r->coll, &o, &r->engine, &r->err), 0);
    expect_named(&r->err);
    assert_int_equal(n_progress, 1);
    close_pair(&w);
}

static bool run_close_after_death(unsigned busy)
{
    static world_result res;
    world w;
    tw_err err = {0};
    open_pair(&w, TW_TRANSPORT_TCP);
    tw_request r = long_request();
    res = (world_result){0};
    if (busy != 0)
        assert_int_equal(world_submit(&w, &r, &res, &err), 0);
    kill_victim(SIGKILL);
    tw_engine_close(w.ranks[0].engine);
    w.ranks[0].engine = NULL;
    uint64_t took_ns = tw_clock_now_ns() - killed_ns;
    assert_int_equal(res.n_done, busy);
    close_pair(&w);
    return is_in_time(took_ns);
}

/* Dead before the last plan: closing waits for nobody. */
static void test_close_after_death(void **state)
{
    (void)state;
    for (unsigned busy = 0; busy < 2; busy++) {
        bool in_time = false;
        for (int i = 0; i < TRIES_FOR_TIME && !in_time; i++)
            in_time = run_close_after_death(busy);
        assert_true(in_time);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed_in_decode),
        cmocka_unit_test(test_killed_while_idle),
        cmocka_unit_test(test_killed_while_loading),
        cmocka_unit_test(test_close_after_death),
    };
    return cmocka_run_group_tests(tests, make_model, drop_model);
}
