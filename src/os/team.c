/* SPDX-License-Identifier: Apache-2.0 */
#include "os/team.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "os/futex.h"
#include "os/sys.h"

enum {
    TEAM_THREADS_MAX = 1024,
    LINE_BYTES = 64,
    SPINS_FIRST = 32,         /* looks before the clock is read at all */
    SPIN_MAX_NS = 100 * 1000, /* longer than the gaps within a token, far below a scheduler tick */
    SPIN_MIN_NS = 2 * 1000,
    AHEAD_LINES = 2, /* fetched between two looks at a gate */
};

/* A word that changes once per event. Waiters spin as long as waits of late were short enough for
 * that to pay, then sleep; who opens the gate makes a system call only when somebody sleeps. */
typedef struct team_gate {
    alignas(LINE_BYTES) _Atomic uint32_t word;
    _Atomic uint32_t n_sleep;
    _Atomic uint32_t spin_ns; /* a guess; races only make it a worse one */
} team_gate;

/* Memory that a thread will read: of that thread alone. */
typedef struct team_ahead {
    alignas(LINE_BYTES) uintptr_t at;
    uintptr_t end;
} team_ahead;

typedef struct team_worker {
    struct tw_team *team;
    unsigned i_thread;
    pthread_t thread;
} team_worker;

struct tw_team {
    unsigned n_threads, n_started; /* n_started: without the caller */
    uint32_t spin_max_ns;          /* 0: more threads than cpus, who spins is in the way */
    bool stop, pinned;
    cpu_set_t caller_cpus; /* before it was pinned */
    pthread_t caller;
    tw_team_fn *fn;
    void *ctx;
    team_worker *workers; /* [n_threads - 1] */
    team_ahead *ahead;    /* [n_threads] */
    team_gate start, done;
    alignas(LINE_BYTES) _Atomic uint32_t n_left; /* of the job */
};

/* n_sleep and word form a Dekker pair: the opener stores word, then looks at n_sleep; the sleeper
 * raises n_sleep, then looks (in the kernel) at word. Both in one total order, so one sees the
 * other. */
static void open_gate(team_gate *g, uint32_t value)
{
    atomic_store(&g->word, value);
    if (atomic_load(&g->n_sleep) > 0)
        tw_futex_wake(&g->word, INT32_MAX, false);
}

static void sleep_at_gate(team_gate *g, uint32_t seen)
{
    atomic_fetch_add(&g->n_sleep, 1);
    while (atomic_load(&g->word) == seen)
        tw_futex_wait(&g->word, seen, UINT64_MAX, false);
    atomic_fetch_sub(&g->n_sleep, 1);
}

/* Into the second level: the first one is small. False: nothing is left. */
static bool fetch_ahead(team_ahead *a, size_t n_lines)
{
    for (size_t i = 0; i < n_lines && a->at < a->end; i++, a->at += LINE_BYTES)
        __builtin_prefetch((const void *)a->at, 0, 2);
    return a->at < a->end;
}

static bool spin_at_gate(team_gate *g, uint32_t seen, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (atomic_load_explicit(&g->word, memory_order_acquire) != seen)
            return true;
        tw_cpu_relax();
    }
    return false;
}

static bool fetch_at_gate(team_gate *g, uint32_t seen, team_ahead *a)
{
    do {
        if (atomic_load_explicit(&g->word, memory_order_acquire) != seen)
            return true;
    } while (fetch_ahead(a, AHEAD_LINES));
    return false;
}

static void wait_at_gate(const tw_team *t, team_gate *g, uint32_t seen, team_ahead *a)
{
    if (t->spin_max_ns == 0) {
        if (!spin_at_gate(g, seen, 2))
            sleep_at_gate(g, seen);
        return;
    }
    if (fetch_at_gate(g, seen, a))
        return;
    if (spin_at_gate(g, seen, SPINS_FIRST))
        return;

    uint32_t spin_ns = atomic_load_explicit(&g->spin_ns, memory_order_relaxed);
    uint64_t t0 = tw_clock_now_ns(), waited_ns = 0;
    bool open = false;
    while (!open && waited_ns < spin_ns) {
        open = spin_at_gate(g, seen, 16);
        waited_ns = tw_clock_now_ns() - t0;
    }
    if (!open) {
        sleep_at_gate(g, seen);
        waited_ns = tw_clock_now_ns() - t0;
    }

    /* Would the longest spin have been enough? Then it is worth it; else halve it. */
    uint32_t next_ns =
        waited_ns <= t->spin_max_ns ? t->spin_max_ns : TW_MAX(spin_ns / 2, (uint32_t)SPIN_MIN_NS);
    if (next_ns != spin_ns)
        atomic_store_explicit(&g->spin_ns, next_ns, memory_order_relaxed);
}

static void finish_job(tw_team *t, uint32_t epoch)
{
    if (atomic_fetch_sub_explicit(&t->n_left, 1, memory_order_acq_rel) == 1)
        open_gate(&t->done, epoch);
}

static void *run_worker(void *arg)
{
    const team_worker *w = arg;
    tw_team *t = w->team;
    char name[16];
    snprintf(name, sizeof(name), "team-%u", w->i_thread);
    pthread_setname_np(pthread_self(), name);
    tw_sys_fp_strict();
    for (uint32_t epoch = 0;;) {
        wait_at_gate(t, &t->start, epoch, &t->ahead[w->i_thread]);
        epoch++;
        if (t->stop)
            return NULL;
        t->fn(t->ctx, w->i_thread, t->n_threads);
        finish_job(t, epoch);
    }
}

static int start_worker(tw_team *t, unsigned i_thread, const int *cpus, tw_err *err)
{
    pthread_attr_t attr;
    int rc = pthread_attr_init(&attr);
    if (rc != 0)
        return tw_err_set(err, -rc, "thread %u: no attributes: %s", i_thread, strerror(rc));
    if (cpus != NULL) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET((unsigned)cpus[i_thread], &set);
        rc = pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
    }
    team_worker *w = &t->workers[i_thread - 1];
    *w = (team_worker){.team = t, .i_thread = i_thread};
    if (rc == 0)
        rc = pthread_create(&w->thread, &attr, run_worker, w);
    pthread_attr_destroy(&attr);
    if (rc != 0 && cpus != NULL)
        return tw_err_set(err, -rc, "thread %u of %u: cannot start on cpu %d: %s", i_thread,
                          t->n_threads, cpus[i_thread], strerror(rc));
    if (rc != 0)
        return tw_err_set(err, -rc, "thread %u of %u: cannot start: %s", i_thread, t->n_threads,
                          strerror(rc));
    t->n_started++;
    return 0;
}

/* Signals meant for the process go to the thread that waits for them, never to a worker. */
static int start_workers(tw_team *t, const int *cpus, tw_err *err)
{
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
    sigset_t blocked, before;
    sigfillset(&blocked);
    for (size_t i = 0; i < TW_ARRAY_LEN(own); i++)
        sigdelset(&blocked, own[i]);
    pthread_sigmask(SIG_BLOCK, &blocked, &before);
    int rc = 0;
    for (unsigned i = 1; i < t->n_threads && rc == 0; i++)
        rc = start_worker(t, i, cpus, err);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

static int pin_caller(tw_team *t, int cpu, tw_err *err)
{
    int rc = pthread_getaffinity_np(t->caller, sizeof(t->caller_cpus), &t->caller_cpus);
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    if (rc == 0)
        rc = pthread_setaffinity_np(t->caller, sizeof(set), &set);
    if (rc != 0)
        return tw_err_set(err, -rc, "thread 0: cannot be pinned to cpu %d: %s", cpu, strerror(rc));
    t->pinned = true;
    return 0;
}

/* How many different cpus the team can use at once. */
static unsigned count_cpus(unsigned n_threads, const int *cpus)
{
    if (cpus == NULL)
        return tw_sys_cpus(NULL, 0);
    cpu_set_t set;
    CPU_ZERO(&set);
    for (unsigned i = 0; i < n_threads; i++)
        CPU_SET((unsigned)cpus[i], &set);
    return (unsigned)CPU_COUNT(&set);
}

static int check_shape(unsigned n_threads, const int *cpus, tw_err *err)
{
    if (n_threads < 1 || n_threads > TEAM_THREADS_MAX)
        return tw_err_set(err, -EINVAL, "%u threads asked for, 1 to %d are possible", n_threads,
                          (int)TEAM_THREADS_MAX);
    for (unsigned i = 0; cpus != NULL && i < n_threads; i++)
        if (cpus[i] < 0 || cpus[i] >= CPU_SETSIZE)
            return tw_err_set(err, -EINVAL, "cpu %d: not in 0 to %d", cpus[i], CPU_SETSIZE - 1);
    return 0;
}

int tw_team_new(unsigned n_threads, const int *cpus, tw_team **ret, tw_err *err)
{
    int rc = check_shape(n_threads, cpus, err);
    if (rc < 0)
        return rc;
    tw_team *t = tw_mem_align(alignof(tw_team), sizeof(*t));
    team_worker *workers = tw_mem_calloc(n_threads, sizeof(*workers));
    team_ahead *ahead = tw_mem_align(alignof(team_ahead), n_threads * sizeof(*ahead));
    if (t == NULL || workers == NULL || ahead == NULL) {
        tw_mem_free(t);
        tw_mem_free(workers);
        tw_mem_free(ahead);
        return tw_err_set(err, -ENOMEM, "no memory for a team of %u threads", n_threads);
    }
    memset(t, 0, sizeof(*t));
    t->n_threads = n_threads;
    t->workers = workers;
    t->ahead = ahead;
    memset(ahead, 0, n_threads * sizeof(*ahead));
    t->caller = pthread_self();
    t->spin_max_ns = n_threads <= count_cpus(n_threads, cpus) ? SPIN_MAX_NS : 0;
    atomic_init(&t->start.spin_ns, t->spin_max_ns);
    atomic_init(&t->done.spin_ns, t->spin_max_ns);

    rc = start_workers(t, cpus, err);
    if (rc == 0 && cpus != NULL)
        rc = pin_caller(t, cpus[0], err);
    if (rc < 0) {
        tw_team_free(t);
        return rc;
    }
    *ret = t;
    return 0;
}

unsigned tw_team_size(const tw_team *t)
{
    return t->n_threads;
}

void tw_team_run(tw_team *t, tw_team_fn *fn, void *ctx)
{
    tw_sys_fp_strict();
    if (t->n_threads == 1) {
        fn(ctx, 0, 1);
        return;
    }
    uint32_t epoch = atomic_load_explicit(&t->start.word, memory_order_relaxed);
    t->fn = fn;
    t->ctx = ctx;
    atomic_store_explicit(&t->n_left, t->n_threads - 1, memory_order_relaxed);
    open_gate(&t->start, epoch + 1);
    fn(ctx, 0, t->n_threads);
    wait_at_gate(t, &t->done, epoch, &t->ahead[0]);
}

void tw_team_expect(tw_team *t, unsigned i_thread, const void *at, size_t bytes)
{
    team_ahead *a = &t->ahead[i_thread];
    a->at = (uintptr_t)at / LINE_BYTES * LINE_BYTES;
    a->end = (uintptr_t)at + TW_MIN(bytes, (size_t)TW_TEAM_AHEAD_BYTES);
}

void tw_team_fetch(tw_team *t)
{
    (void)fetch_ahead(&t->ahead[0], TW_TEAM_AHEAD_BYTES / LINE_BYTES);
}

void tw_team_unpin(const tw_team *t)
{
    if (t->pinned)
        (void)pthread_setaffinity_np(pthread_self(), sizeof(t->caller_cpus), &t->caller_cpus);
}

void tw_team_free(tw_team *t)
{
    if (t == NULL)
        return;
    t->stop = true;
    open_gate(&t->start, atomic_load(&t->start.word) + 1);
    for (unsigned i = 0; i < t->n_started; i++)
        pthread_join(t->workers[i].thread, NULL);
    if (t->pinned && pthread_equal(t->caller, pthread_self()))
        pthread_setaffinity_np(t->caller, sizeof(t->caller_cpus), &t->caller_cpus);
    tw_mem_free(t->workers);
    tw_mem_free(t->ahead);
    tw_mem_free(t);
}
