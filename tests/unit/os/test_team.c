/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <dirent.h>
#include <float.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "os/sys.h"
#include "os/team.h"

enum { N_MAX = 128 };
static const unsigned team_sizes[] = {1, 2, 3, 7, 16, 64, 128};

typedef struct job {
    tw_team *team;
    unsigned n_threads;
    unsigned count[N_MAX]; /* plain: the team alone orders the accesses (tsan looks on) */
    atomic_uint n_wrong;
} job;

static tw_team *new_team(unsigned n)
{
    tw_team *t = NULL;
    tw_err err = {0};
    if (tw_team_new(n, NULL, &t, &err) != 0)
        fail_msg("%s", err.msg);
    assert_int_equal(tw_team_size(t), n);
    return t;
}

static void count_thread(void *ctx, unsigned i_thread, unsigned n_threads)
{
    job *j = ctx;
    atomic_fetch_add(&j->n_wrong, n_threads != j->n_threads || i_thread >= n_threads);
    j->count[i_thread]++;
}

/* Memory that nobody may read, told by each thread: it is fetched, never touched. */
static void expect_nothing(void *ctx, unsigned i_thread, unsigned n_threads)
{
    job *j = ctx;
    count_thread(ctx, i_thread, n_threads);
    tw_team_expect(j->team, i_thread, (const void *)(uintptr_t)(4096 + 100 * i_thread),
                   i_thread % 2 == 0 ? SIZE_MAX / 2 : 1);
}

static void test_expects_what_is_not_there(void **state)
{
    (void)state;
    for (size_t i = 0; i < TW_ARRAY_LEN(team_sizes); i++) {
        const unsigned n = team_sizes[i];
        job j = {.team = new_team(n), .n_threads = n};
        for (unsigned k = 1; k <= 20; k++) {
            tw_team_run(j.team, expect_nothing, &j);
            tw_team_fetch(j.team);
            for (unsigned t = 0; t < n; t++)
                assert_int_equal(j.count[t], k);
        }
        assert_int_equal(atomic_load(&j.n_wrong), 0);
        tw_team_free(j.team);
    }
}

static void test_each_thread_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < TW_ARRAY_LEN(team_sizes); i++) {
        unsigned n = team_sizes[i], n_jobs = 20000 / (n * n) + 20;
        tw_team *t = new_team(n);
        job j = {.n_threads = n};
        for (unsigned k = 1; k <= n_jobs; k++) {
            tw_team_run(t, count_thread, &j);
            for (unsigned i_thread = 0; i_thread < n; i_thread++)
                if (j.count[i_thread] != k)
                    fail_msg("job %u: thread %u of %u has run %u times", k, i_thread, n,
                             j.count[i_thread]);
        }
        assert_int_equal(atomic_load(&j.n_wrong), 0);
        tw_team_free(t);
    }
}

static void test_born_and_gone(void **state)
{
    (void)state;
    for (unsigned k = 0; k < 50; k++)
        tw_team_free(new_team(1 + k % 9)); /* freed before the threads have begun */
    tw_team_free(NULL);
}

static void test_two_teams_take_turns(void **state)
{
    (void)state;
    job a = {.n_threads = 3}, b = {.n_threads = 2};
    tw_team *ta = new_team(3), *tb = new_team(2);
    for (unsigned k = 1; k <= 300; k++) {
        tw_team_run(ta, count_thread, &a);
        tw_team_run(tb, count_thread, &b);
        assert_true(a.count[2] == k && b.count[1] == k);
    }
    tw_team_free(ta);
    tw_team_free(tb);
}

static void test_no_allocation(void **state)
{
    (void)state;
    job j = {.team = new_team(4), .n_threads = 4};
    uint64_t before = tw_mem_count();
    tw_mem_guard_begin();
    for (unsigned k = 0; k < 100; k++)
        tw_team_run(j.team, count_thread, &j);
    tw_mem_guard_end();
    assert_int_equal(tw_mem_count(), before);
    tw_team_free(j.team);
}

static void compute_subnormal(void *ctx, unsigned i_thread, unsigned n_threads)
{
    (void)n_threads;
    float *out = ctx;
    volatile float small = FLT_MIN, two = 2.0f;
    out[i_thread] = small / two;
}

/* Threads inherit the creator's flags; a library may have left them on (-ffast-math does). */
static void test_subnormals_live(void **state)
{
    (void)state;
    float out[4] = {0};
#if defined(__x86_64__)
    unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040);
#endif
    tw_team *t = new_team(4);
#if defined(__x86_64__)
    _mm_setcsr(before | 0x8040);
#endif
    tw_team_run(t, compute_subnormal, out);
    tw_team_free(t);
#if defined(__x86_64__)
    _mm_setcsr(before);
#endif
    for (int i = 0; i < 4; i++)
        assert_true(out[i] == 0x1p-127f);
}

typedef struct pin_job {
    int cpu[8], n_allowed[8];
} pin_job;

static void find_own_cpu(void *ctx, unsigned i_thread, unsigned n_threads)
{
    (void)n_threads;
    pin_job *j = ctx;
    cpu_set_t set;
    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof(set), &set);
    j->n_allowed[i_thread] = CPU_COUNT(&set);
    j->cpu[i_thread] = sched_getcpu();
}

static void test_pinned(void **state)
{
    (void)state;
    int have[TW_CPU_MAX], cpus[8];
    unsigned n_have = TW_MIN(tw_sys_cpus(have, TW_CPU_MAX), (unsigned)TW_CPU_MAX);
    for (unsigned i = 0; i < 8; i++)
        cpus[i] = have[(i + 1) % n_have];
    tw_team *t = NULL;
    tw_err err = {0};
    if (tw_team_new(8, cpus, &t, &err) != 0)
        fail_msg("%s", err.msg);
    pin_job j = {0};
    tw_team_run(t, find_own_cpu, &j);
    tw_team_free(t);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(j.cpu[i], cpus[i]);
        assert_int_equal(j.n_allowed[i], 1);
    }
    assert_int_equal(tw_sys_cpus(NULL, 0), n_have); /* the caller is free again */
}

static unsigned count_own_threads(void)
{
    unsigned n = 0;
    DIR *d = opendir("/proc/self/task");
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void test_refusals(void **state)
{
    (void)state;
    tw_team *t = NULL;
    tw_err err = {0};
    int have[1], bad[3];
    unsigned n_cpus = tw_sys_cpus(have, 1);
    assert_int_equal(tw_team_new(0, NULL, &t, &err), -EINVAL);
    assert_int_equal(tw_team_new(1025, NULL, &t, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "1025"));
    bad[0] = bad[1] = have[0];
    bad[2] = -1;
    assert_int_equal(tw_team_new(3, bad, &t, &err), -EINVAL);
    bad[2] = CPU_SETSIZE;
    assert_int_equal(tw_team_new(3, bad, &t, &err), -EINVAL);

    unsigned n_threads = count_own_threads();
    bad[2] = CPU_SETSIZE - 1;
    assert_int_equal(tw_team_new(3, bad, &t, &err), -EINVAL); /* a cpu that is not there */
    assert_non_null(strstr(err.msg, "1023"));
    assert_int_equal(count_own_threads(), n_threads);
    bad[0] = CPU_SETSIZE - 1;
    assert_int_equal(tw_team_new(1, bad, &t, &err), -EINVAL);
    assert_int_equal(tw_sys_cpus(NULL, 0), n_cpus);

    for (unsigned n = 1; n <= 2; n++) {
        tw_mem_fail_at(n);
        int rc = tw_team_new(4, NULL, &t, &err);
        tw_mem_fail_at(0);
        assert_int_equal(rc, -ENOMEM);
    }
    assert_null(t);
}

/* How many of the team's own threads (by name) and its caller are asleep. */
static unsigned count_asleep(void)
{
    unsigned n = 0;
    DIR *d = opendir("/proc/self/task");
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        char path[300], text[64] = "";
        snprintf(path, sizeof(path), "/proc/self/task/%s/stat", e->d_name);
        FILE *f = e->d_name[0] != '.' ? fopen(path, "r") : NULL;
        if (f == NULL)
            continue;
        const bool is_caller = atoi(e->d_name) == getpid();
        n += fgets(text, sizeof(text), f) != NULL && strstr(text, ") S ") != NULL &&
             (is_caller || strstr(text, "(team-") != NULL);
        fclose(f);
    }
    closedir(d);
    return n;
}

/* Left alone, every worker goes to sleep; and wakes for the next job. */
static void test_idle_team_sleeps(void **state)
{
    (void)state;
    static const unsigned sizes[] = {2, 3, 4, 5, 64, N_MAX};
    for (unsigned i = 0; i < TW_ARRAY_LEN(sizes); i++) {
        const unsigned n = sizes[i];
        job j = {.team = new_team(n), .n_threads = n};
        for (unsigned round = 1; round <= 3; round++) {
            tw_team_run(j.team, count_thread, &j);
            uint64_t end = tw_clock_now_ns() + 60 * TW_NS_PER_S;
            while (count_asleep() != n - 1)
                if (tw_clock_now_ns() > end)
                    fail_msg("%u of %u workers are asleep after a minute", count_asleep(), n - 1);
            assert_int_equal(j.count[n - 1], round);
        }
        tw_team_free(j.team);
    }
}

/* The last thread works on until all others, the caller too, sleep. */
static void work_while_others_wait(void *ctx, unsigned i_thread, unsigned n_threads)
{
    job *j = ctx;
    const uint64_t end = tw_clock_now_ns() + 60 * TW_NS_PER_S;
    if (i_thread == n_threads - 1)
        while (count_asleep() != n_threads - 1 && tw_clock_now_ns() < end)
            sched_yield();
    atomic_fetch_add(&j->n_wrong, tw_clock_now_ns() >= end);
    j->count[i_thread]++;
}

/* Who waits for the slowest thread of a job is out of its way, whoever has a cpu of his own and when
 * all of them share two. */
static void test_waiting_team_sleeps(void **state)
{
    (void)state;
    static const unsigned sizes[] = {2, 3, 7, 64, N_MAX};
    int have[TW_CPU_MAX], cpus[N_MAX];
    const unsigned n_have = TW_MIN(tw_sys_cpus(have, TW_CPU_MAX), (unsigned)TW_CPU_MAX);
    for (unsigned i = 0; i < N_MAX; i++)
        cpus[i] = have[i % n_have];
    for (unsigned i = 0; i < 2 * TW_ARRAY_LEN(sizes); i++) {
        const unsigned n = sizes[i / 2];
        job j = {.n_threads = n};
        tw_err err = {0};
        if (tw_team_new(n, i % 2 == 0 ? NULL : cpus, &j.team, &err) != 0)
            fail_msg("%s", err.msg);
        for (unsigned k = 1; k <= 2; k++) {
            tw_team_run(j.team, work_while_others_wait, &j);
            assert_int_equal(atomic_load(&j.n_wrong), 0);
            for (unsigned i_thread = 0; i_thread < n; i_thread++)
                assert_int_equal(j.count[i_thread], k);
        }
        tw_team_free(j.team);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_thread_once), cmocka_unit_test(test_expects_what_is_not_there),
        cmocka_unit_test(test_born_and_gone),    cmocka_unit_test(test_two_teams_take_turns),
        cmocka_unit_test(test_no_allocation),    cmocka_unit_test(test_subnormals_live),
        cmocka_unit_test(test_pinned),           cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_idle_team_sleeps), cmocka_unit_test(test_waiting_team_sleeps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
