/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks as processes that are killed or stopped: the others learn who, in time. And a rank that
 * waits for a plan costs nothing. */
#include "../base/limit.h"
#include "group_fixture.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/scope.h"

enum { BIG_FLOATS = 16 * 1024 * 1024 };
#define TOLD_NS (2 * TW_NS_PER_S) /* P7 */

static fixture_rank ranks[TW_RANKS_MAX];

/* What a survivor was told, and when. */
typedef struct heard {
    uint64_t at_ns; /* 0: it did not come so far */
    int rc;         /* of the call that told it */
    char said[sizeof((tw_err *)0)->msg];
    char wrong[200]; /* else than who died; empty: nothing */
} heard;

/* Shared with the children. */
typedef struct tale {
    atomic_uint n_ready;   /* survivors that are through with what comes before */
    uint64_t killed_at_ns; /* when the victim went */
    heard heard[TW_RANKS_MAX];
} tale;

static tale *told;

/* A child that runs fn as this rank and ends with its code (0: good). */
static pid_t fork_rank(fixture_rank *r)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    if (r->opts.rank != 0 && ranks[0].opts.listen_fd >= 0)
        close(ranks[0].opts.listen_fd);
    alarm((unsigned)(scaled_limit(60 * TW_NS_PER_S) / TW_NS_PER_S));
    fixture_run(r);
    heard *h = &told->heard[r->opts.rank];
    if (r->rc != 0 && h->wrong[0] == '\0')
        snprintf(h->wrong, sizeof h->wrong, "%d %.190s", r->rc, r->err.msg);
    _exit(r->rc == 0 ? 0 : 1);
}

static void fork_all(unsigned n, pid_t *ret_pids)
{
    for (unsigned i = 0; i < n; i++)
        ret_pids[i] = fork_rank(&ranks[i]);
    close(ranks[0].opts.listen_fd);
}

/* Waits for all; each that did not end well is told. */
static bool all_well(unsigned n, const pid_t *pids)
{
    bool well = true;
    for (unsigned i = 0; i < n; i++) {
        int status = -1;
        waitpid(pids[i], &status, 0);
        well = well && status == 0;
        if (status != 0)
            printf("# rank %u: wait status %#x: %s\n", i, (unsigned)status, told->heard[i].wrong);
    }
    return well;
}

static int sum_rounds(tw_coll *c, int n, float *x, tw_err *err)
{
    int rc = 0;
    for (int i = 0; rc == 0 && i < n; i++)
        rc = tw_coll_all_reduce(c, x, 1000, err);
    return rc;
}

/* All others have to be where they are to survive: one that still waits in the last round for a
 * third rank would hear of the death there. (What hangs ends by alarm.) */
static int go(tw_coll *c, int sig)
{
    while (atomic_load(&told->n_ready) + 1 < tw_coll_n_ranks(c))
        sched_yield();
    __atomic_store_n(&told->killed_at_ns, tw_clock_now_ns(), __ATOMIC_SEQ_CST);
    raise(sig);
    return -EILSEQ;
}

/* In the middle of a message: part of it is out, the rest never comes. */
static int die_in_collective(tw_coll *c, void *arg, tw_err *err)
{
    float *x = tw_coll_alloc(c, BIG_FLOATS * sizeof *x);
    if (x == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for %d floats", BIG_FLOATS);
    int rc = sum_rounds(c, 10, x, err);
    if (rc == 0)
        rc = tw_coll_all_reduce_start(c, x, BIG_FLOATS, err);
    for (int i = 0; rc == 0 && i < 3; i++)
        (void)!tw_coll_poll(c, tw_clock_now_ns(), err);
    return rc != 0 ? rc : go(c, *(int *)arg);
}

static int die_idle(tw_coll *c, void *arg, tw_err *err)
{
    float x[1000] = {0};
    int rc = sum_rounds(c, 10, x, err);
    return rc != 0 ? rc : go(c, *(int *)arg);
}

/* Notes what this rank was told by the call that gave rc. */
static int note(tw_coll *c, int rc, const tw_err *why)
{
    heard *h = &told->heard[tw_coll_rank(c)];
    h->at_ns = tw_clock_now_ns();
    h->rc = rc;
    snprintf(h->said, sizeof h->said, "%s", rc != 0 ? why->msg : "nothing");
    return 0;
}

static int survive_collective(tw_coll *c, void *arg, tw_err *err)
{
    (void)arg;
    tw_err why = {0}, again = {0};
    float *x = tw_coll_alloc(c, BIG_FLOATS * sizeof *x);
    if (x == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for %d floats", BIG_FLOATS);
    int rc = sum_rounds(c, 10, x, err);
    if (rc != 0)
        return rc;
    atomic_fetch_add(&told->n_ready, 1);
    rc = tw_coll_all_reduce(c, x, BIG_FLOATS, &why);
    int ret = note(c, rc, &why);
    /* The group stays closed. */
    if (rc != 0 && (tw_coll_all_reduce(c, x, 1, &again) != rc || strcmp(again.msg, why.msg) != 0))
        ret = tw_err_set(err, -EILSEQ, "a dead group went on: %s", again.msg);
    return ret;
}

static int survive_plan(tw_coll *c, void *arg, tw_err *err)
{
    (void)arg;
    tw_err why = {0};
    float x[1000] = {0};
    char plan[16];
    size_t n;
    int rc = sum_rounds(c, 10, x, err);
    if (rc != 0)
        return rc;
    atomic_fetch_add(&told->n_ready, 1);
    rc = tw_coll_plan_recv(c, plan, sizeof plan, &n, &why);
    return note(c, rc, &why);
}

static int survive_idle(tw_coll *c, void *arg, tw_err *err)
{
    (void)arg;
    tw_err why = {0};
    float x[1000] = {0};
    int rc = sum_rounds(c, 10, x, err);
    if (rc != 0)
        return rc;
    atomic_fetch_add(&told->n_ready, 1);
    uint64_t until = tw_clock_now_ns() + scaled_limit(20 * TW_NS_PER_S);
    while ((rc = tw_coll_health(c, &why)) == 0 && tw_clock_now_ns() < until)
        sched_yield();
    return note(c, rc, &why);
}

typedef struct death {
    unsigned n_ranks;
    enum tw_transport transport;
    unsigned victim;
    int sig;
    fixture_fn *die, *survive;
} death;

/* "2 ranks by tcp, rank 1 signal 9" and a line for each rank: what it said, and after what time. */
static void tell_all(const death *d, const int *status, char *out, size_t out_bytes)
{
    static const char *const transports[] = {"auto", "tcp", "shm", "rdma"};
    int n = snprintf(out, out_bytes, "%u ranks by %s, rank %u got signal %d:", d->n_ranks,
                     transports[d->transport], d->victim, d->sig);
    for (unsigned i = 0; i < d->n_ranks; i++) {
        const heard *h = &told->heard[i];
        double s = h->at_ns > 0 ? ((double)h->at_ns - (double)told->killed_at_ns) * 1e-9 : 0;
        if (n < 0 || (size_t)n >= out_bytes || i == d->victim)
            continue;
        n += snprintf(out + n, out_bytes - (size_t)n, "\n# rank %u (wait status %#x)", i,
                      (unsigned)status[i]);
        if (h->at_ns > 0 && (size_t)n < out_bytes)
            n +=
                snprintf(out + n, out_bytes - (size_t)n, " after %.2f s: %d %s", s, h->rc, h->said);
        if (h->wrong[0] != '\0' && (size_t)n < out_bytes)
            n += snprintf(out + n, out_bytes - (size_t)n, "; wrong: %s", h->wrong);
    }
}

/* The victim dies, all others survive; all are processes. How long the last one took to hear of
 * it; what each says must be right. */
static uint64_t run_once(const death *d)
{
    char want[32], all[1000];
    pid_t pids[TW_RANKS_MAX];
    int status[TW_RANKS_MAX] = {0};
    bool bad = false;
    uint64_t took_ns = 0;
    memset(told, 0, sizeof *told);
    snprintf(want, sizeof want, "rank %u (", d->victim);
    fixture_init(ranks, d->n_ranks, d->transport, d->survive);
    ranks[d->victim].fn = d->die;
    ranks[d->victim].arg = (void *)(uintptr_t)&d->sig;
    fork_all(d->n_ranks, pids);
    for (unsigned i = 0; i < d->n_ranks; i++) {
        const heard *h = &told->heard[i];
        if (i == d->victim)
            continue;
        waitpid(pids[i], &status[i], 0);
        bad |= status[i] != 0 || h->rc == 0 || strstr(h->said, want) == NULL;
        took_ns = TW_MAX(took_ns, h->at_ns - told->killed_at_ns);
    }
    kill(pids[d->victim], SIGKILL);
    waitpid(pids[d->victim], NULL, 0);
    tell_all(d, status, all, sizeof all);
    if (bad)
        fail_msg("%s", all);
    if (took_ns > scaled_limit(TOLD_NS))
        printf("# late, %s\n", all);
    return took_ns;
}

static void run_death(unsigned n_ranks, enum tw_transport transport, unsigned victim, int sig,
                      fixture_fn *die, fixture_fn *survive)
{
    const death d = {n_ranks, transport, victim, sig, die, survive};
    uint64_t took_ns = UINT64_MAX, limit_ns = scaled_limit(TOLD_NS);
    for (int i = 0; i < TRIES_FOR_TIME && took_ns > limit_ns; i++)
        took_ns = run_once(&d);
    if (took_ns > limit_ns)
        fail_msg("late every time, see above: %.2f s, promised are %.2f s", (double)took_ns * 1e-9,
                 (double)limit_ns * 1e-9);
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

/* Whether the call that gave rc told of the loss, in these words. */
static int check_words(int rc, const tw_err *why, const char *words, tw_err *err)
{
    if (rc != 0 && strstr(why->msg, words) != NULL)
        return 0;
    return tw_err_set(err, -EILSEQ, "told '%s' (%d), wanted '%s'", rc != 0 ? why->msg : "nothing",
                      rc, words);
}

/* What was under way may still end well. */
static int hear_lost(tw_coll *c, void *arg, tw_err *err)
{
    tw_err why = {0};
    float x[1000] = {0};
    int rc = sum_rounds(c, 10, x, err);
    if (rc != 0)
        return rc;
    if (tw_coll_rank(c) != 0)
        atomic_fetch_add(&told->n_ready, 1);
    while (tw_coll_rank(c) == 0 && atomic_load(&told->n_ready) + 1 < tw_coll_n_ranks(c))
        sched_yield();
    if (tw_coll_rank(c) == 0)
        tw_coll_lost(c, 2, "its agent hangs");
    const uint64_t until = tw_clock_now_ns() + scaled_limit(5 * TW_NS_PER_S);
    while (rc == 0 && tw_clock_now_ns() < until)
        rc = tw_coll_all_reduce(c, x, 1000, &why);
    return check_words(rc, &why, arg, err);
}

/* Rank 0 learns by another way that rank 2 is lost, which itself is well. */
static void test_lost_by_another_way(void **state)
{
    static char words[4][40] = {"rank 2 is lost: its agent hangs",
                                "rank 2 is lost: its agent hangs", "rank 0 (", "rank 2 is lost"};
    pid_t pids[4];
    (void)state;
    memset(told, 0, sizeof *told);
    fixture_init(ranks, 4, TW_TRANSPORT_TCP, hear_lost);
    for (unsigned i = 0; i < 4; i++)
        ranks[i].arg = words[i];
    fork_all(4, pids);
    assert_true(all_well(4, pids));
}

static int stop_and_go_on(tw_coll *c, void *arg, tw_err *err)
{
    (void)arg;
    tw_err why = {0};
    float x[1000] = {0};
    int rc = sum_rounds(c, 10, x, err);
    if (rc != 0)
        return rc;
    raise(SIGSTOP);
    const uint64_t until = tw_clock_now_ns() + scaled_limit(5 * TW_NS_PER_S);
    while (rc == 0 && tw_clock_now_ns() < until)
        rc = tw_coll_health(c, &why);
    return check_words(rc, &why, "gave up: it heard nothing of rank 1 for", err);
}

/* One who comes back after the others gave him up is told why. */
static void test_back_too_late(void **state)
{
    (void)state;
    pid_t pids[2];
    siginfo_t ended;
    memset(told, 0, sizeof *told);
    fixture_init(ranks, 2, TW_TRANSPORT_TCP, survive_idle);
    ranks[1].fn = stop_and_go_on;
    fork_all(2, pids);
    assert_int_equal(waitid(P_PID, (id_t)pids[0], &ended, WEXITED | WNOWAIT), 0);
    kill(pids[1], SIGCONT);
    assert_true(all_well(2, pids));
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
    /* What an emulator loses to its host's other work counts as work there. */
    if (rc == 0 && share > 0.01 * (double)scaled_limit(1000) / 1000)
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

static bool run_idle(enum tw_transport transport)
{
    pid_t pids[2];
    memset(told, 0, sizeof *told);
    fixture_init(ranks, 2, transport, idle_sender);
    ranks[1].fn = idle_receiver;
    fork_all(2, pids);
    return all_well(2, pids);
}

/* One quiet time in three is proof enough: others' work beside us can only make it more. */
static void is_idle_for_free(enum tw_transport transport)
{
    bool good = false;
    for (int i = 0; i < TRIES_FOR_TIME && !good; i++)
        good = run_idle(transport);
    assert_true(good);
}

static void test_idle_costs_nothing(void **state)
{
    (void)state;
    is_idle_for_free(TW_TRANSPORT_TCP);
    is_idle_for_free(TW_TRANSPORT_SHM);
}

int main(void)
{
    told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed_in_collective), cmocka_unit_test(test_stopped),
        cmocka_unit_test(test_killed_while_idle),    cmocka_unit_test(test_lost_by_another_way),
        cmocka_unit_test(test_back_too_late),        cmocka_unit_test(test_idle_costs_nothing),
    };
    return told == MAP_FAILED ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
