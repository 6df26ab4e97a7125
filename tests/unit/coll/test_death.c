/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks as processes that are killed or stopped: the others learn who, in time. And a rank that
 * waits for a plan costs nothing. */
#include "group_fixture.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/scope.h"

enum { BIG_FLOATS = 16 * 1024 * 1024 };
#define TOLD_NS (2 * TW_NS_PER_S) /* P7 */

static fixture_rank ranks[TW_RANKS_MAX];
static uint64_t *killed_at_ns; /* shared with the children: when the victim went */

/* A child that runs fn as this rank and ends with its code (0: good). */
static pid_t fork_rank(fixture_rank *r)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    if (r->opts.rank != 0 && ranks[0].opts.listen_fd >= 0)
        close(ranks[0].opts.listen_fd);
    alarm(60);
    fixture_run(r);
    if (r->rc != 0)
        fprintf(stderr, "# rank %u: %s\n", r->opts.rank, r->err.msg);
    _exit(r->rc == 0 ? 0 : 1);
}

static void sum_rounds(tw_coll *c, int n, float *x)
{
    tw_err err = {0};
    for (int i = 0; i < n; i++)
        if (tw_coll_all_reduce(c, x, 1000, &err) != 0)
            _exit(2);
}

/* In the middle of a message: part of it is out, the rest never comes. */
static int die_in_collective(tw_coll *c, void *arg, tw_err *err)
{
    float *x = tw_coll_alloc(c, BIG_FLOATS * sizeof *x);
    if (x == NULL)
        return -ENOMEM;
    sum_rounds(c, 10, x);
    int rc = tw_coll_all_reduce_start(c, x, BIG_FLOATS, err);
    for (int i = 0; rc == 0 && i < 3; i++)
        (void)!tw_coll_poll(c, tw_clock_now_ns(), err);
    __atomic_store_n(killed_at_ns, tw_clock_now_ns(), __ATOMIC_SEQ_CST);
    raise(*(int *)arg);
    return -EILSEQ;
}

static int die_idle(tw_coll *c, void *arg, tw_err *err)
{
    float x[1000] = {0};
    (void)err;
    sum_rounds(c, 10, x);
    __atomic_store_n(killed_at_ns, tw_clock_now_ns(), __ATOMIC_SEQ_CST);
    raise(*(int *)arg);
    return -EILSEQ;
}

/* 0 when err names the victim, in time. */
static int check_told(int rc, const tw_err *told, const char *want, tw_err *err)
{
    uint64_t took = tw_clock_now_ns() - __atomic_load_n(killed_at_ns, __ATOMIC_SEQ_CST);
    if (rc == 0 || strstr(told->msg, want) == NULL)
        return tw_err_set(err, -EILSEQ, "told: %d %s", rc, told->msg);
    if (took > TOLD_NS)
        return tw_err_set(err, -EILSEQ, "told after %.2f s", (double)took * 1e-9);
    return 0;
}

static int survive_collective(tw_coll *c, void *arg, tw_err *err)
{
    tw_err told = {0}, again = {0};
    float *x = tw_coll_alloc(c, BIG_FLOATS * sizeof *x);
    if (x == NULL)
        return -ENOMEM;
    sum_rounds(c, 10, x);
    int rc = tw_coll_all_reduce(c, x, BIG_FLOATS, &told);
    int ret = check_told(rc, &told, arg, err);
    /* The group stays closed. */
    if (ret == 0 && (tw_coll_all_reduce(c, x, 1, &again) != rc || strcmp(again.msg, told.msg) != 0))
        ret = tw_err_set(err, -EILSEQ, "a dead group went on: %s", again.msg);
    return ret;
}

static int survive_plan(tw_coll *c, void *arg, tw_err *err)
{
    tw_err told = {0};
    float x[1000] = {0};
    char plan[16];
    size_t n;
    sum_rounds(c, 10, x);
    int rc = tw_coll_plan_recv(c, plan, sizeof plan, &n, &told);
    return check_told(rc, &told, arg, err);
}

static int survive_idle(tw_coll *c, void *arg, tw_err *err)
{
    tw_err told = {0};
    float x[1000] = {0};
    sum_rounds(c, 10, x);
    uint64_t until = tw_clock_now_ns() + 5 * TW_NS_PER_S;
    int rc;
    while ((rc = tw_coll_health(c, &told)) == 0 && tw_clock_now_ns() < until)
        sched_yield();
    return check_told(rc, &told, arg, err);
}

/* victim runs die, all others survive; all are processes. */
static void run_death(unsigned n_ranks, enum tw_transport transport, unsigned victim, int sig,
                      fixture_fn *die, fixture_fn *survive)
{
    char want[32];
    pid_t pids[TW_RANKS_MAX];
    snprintf(want, sizeof want, "rank %u (", victim);
    fixture_init(ranks, n_ranks, transport, survive);
    ranks[victim].fn = die;
    for (unsigned i = 0; i < n_ranks; i++) {
        ranks[i].arg = i == victim ? (void *)&sig : (void *)want;
        pids[i] = fork_rank(&ranks[i]);
    }
    close(ranks[0].opts.listen_fd);
    unsigned bad = 0;
    for (unsigned i = 0; i < n_ranks; i++) {
        int status = 0;
        if (i == victim)
            continue;
        waitpid(pids[i], &status, 0);
        bad += !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    }
    kill(pids[victim], SIGKILL);
    waitpid(pids[victim], NULL, 0);
    assert_int_equal(bad, 0);
}

static void test_killed_in_collective(void **state)
{
    (void)state;
    run_death(2, TW_TRANSPORT_TCP, 1, SIGKILL, die_in_collective, survive_collective);
    run_death(2, TW_TRANSPORT_SHM, 1, SIGKILL, die_in_collective, survive_collective);
    run_death(2, TW_TRANSPORT_SHM, 0, SIGKILL, die_in_collective, survive_collective);
    run_death(4, TW_TRANSPORT_TCP, 3, SIGKILL, die_in_collective, survive_collective);
    run_death(4, TW_TRANSPORT_SHM, 2, SIGKILL, die_in_collective, survive_collective);
}

static void test_stopped(void **state)
{
    (void)state;
    run_death(2, TW_TRANSPORT_TCP, 1, SIGSTOP, die_in_collective, survive_collective);
    run_death(2, TW_TRANSPORT_SHM, 0, SIGSTOP, die_in_collective, survive_collective);
    run_death(2, TW_TRANSPORT_TCP, 0, SIGSTOP, die_idle, survive_plan);
}

static void test_killed_while_idle(void **state)
{
    (void)state;
    run_death(2, TW_TRANSPORT_TCP, 0, SIGKILL, die_idle, survive_plan);
    run_death(2, TW_TRANSPORT_SHM, 0, SIGKILL, die_idle, survive_plan);
    run_death(2, TW_TRANSPORT_SHM, 1, SIGKILL, die_idle, survive_idle);
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static int idle_receiver(tw_coll *c, void *arg, tw_err *err)
{
    (void)arg;
    char plan[16];
    size_t n;
    double cpu = cpu_seconds();
    uint64_t begin = tw_clock_now_ns();
    int rc = tw_coll_plan_recv(c, plan, sizeof plan, &n, err);
    double share = (cpu_seconds() - cpu) / ((double)(tw_clock_now_ns() - begin) * 1e-9);
    fprintf(stderr, "# idle receiver: %.3f %% of a core\n", share * 100);
    if (rc == 0 && share > 0.01)
        rc = tw_err_set(err, -EILSEQ, "an idle receiver takes %.2f %% of a core", share * 100);
    return rc;
}

static int idle_sender(tw_coll *c, void *arg, tw_err *err)
{
    (void)arg;
    /* The time is the subject here, not a synchronisation. */
    struct timespec ts = {.tv_sec = 3};
    nanosleep(&ts, NULL);
    return tw_coll_plan_send(c, "go", 2, err);
}

static void run_idle(enum tw_transport transport)
{
    int status[2];
    pid_t pids[2];
    fixture_init(ranks, 2, transport, idle_sender);
    ranks[1].fn = idle_receiver;
    for (unsigned i = 0; i < 2; i++)
        pids[i] = fork_rank(&ranks[i]);
    close(ranks[0].opts.listen_fd);
    for (unsigned i = 0; i < 2; i++)
        waitpid(pids[i], &status[i], 0);
    for (unsigned i = 0; i < 2; i++)
        assert_true(WIFEXITED(status[i]) && WEXITSTATUS(status[i]) == 0);
}

static void test_idle_costs_nothing(void **state)
{
    (void)state;
    run_idle(TW_TRANSPORT_TCP);
    run_idle(TW_TRANSPORT_SHM);
}

int main(void)
{
    killed_at_ns =
        mmap(NULL, sizeof *killed_at_ns, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed_in_collective),
        cmocka_unit_test(test_stopped),
        cmocka_unit_test(test_killed_while_idle),
        cmocka_unit_test(test_idle_costs_nothing),
    };
    return killed_at_ns == MAP_FAILED ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
