/* SPDX-License-Identifier: Apache-2.0 */
/* Thousands of seeded schedules of 2, 4 and 8 ranks in one thread and virtual time: bytes in
 * pieces, late, lost, connections cut in mid-message, ranks that die or are slow. Every rank ends
 * by the deadline, with the right bits or with an error that names a rank that really failed it.
 * TW_PROP=N for more schedules; TW_SEED=S replays (the first schedule's seed). */
#include "group_fixture.h"

#include <errno.h>

#include "base/mem.h"
#include "base/scope.h"
#include "coll/group.h"
#include "kern/half.h"
#include "link/sim.h"

/* One thread: nothing for the thread sanitizer to find, which makes it very slow. */
#if defined(__SANITIZE_THREAD__)
enum { SCHEDULES = 100 };
#else
enum { SCHEDULES = 10000 };
#endif
enum { ROUNDS = 6, FLOATS_MAX = 140000 };
#define STEP_NS (2 * TW_NS_PER_S) /* virtual */

enum fault_kind {
    FAULT_NONE,
    FAULT_CUT,
    FAULT_SILENT,
    FAULT_KILL,
    FAULT_STUCK,
    FAULT_SLOW,
    N_FAULTS
};

enum round_kind {
    ROUND_REDUCE,
    ROUND_GATHER,
    ROUND_BROADCAST,
    ROUND_REDUCE16,
    ROUND_BARRIER,
    N_ROUND_KINDS
};

typedef struct player {
    tw_coll *c;
    float *x;         /* [FLOATS_MAX], room for gathers too */
    unsigned i_round; /* == ROUNDS: finished */
    bool started, dead, stuck;
    tw_err err; /* code 0: none */
    uint64_t begun_ns, ended_ns;
} player;

typedef struct game {
    tw_rng rng;
    uint64_t seed;
    unsigned n_ranks, a, b; /* the fault's rank and its peer */
    enum fault_kind fault;
    uint64_t fault_ns;
    bool fault_done;
    struct {
        enum round_kind kind;
        unsigned root;
        size_t n;
    } rounds[ROUNDS];
    tw_sim *sim;
    player p[TW_RANKS_MAX];
} game;

static float *storage[TW_RANKS_MAX];

static float value_at(const game *g, unsigned rank, unsigned i_round, size_t i)
{
    uint64_t h = (g->seed + rank * 77 + i_round * 1311 + i) * UINT64_C(0x9e3779b97f4a7c15);
    return ((float)(h >> 40) - 8388608.0F) * (float)(1U << (h & 15));
}

static float tree(const game *g, unsigned rank, unsigned n, unsigned i_round, size_t i)
{
    if (n == 1)
        return value_at(g, rank, i_round, i);
    return tree(g, rank, n / 2, i_round, i) + tree(g, rank + n / 2, n / 2, i_round, i);
}

static float round16(float x)
{
    return tw_bf16_to_f32(tw_bf16_from_f32(x));
}

static float tree16(const game *g, unsigned i_round, size_t i)
{
    unsigned half = g->n_ranks / 2;
    return round16(tree(g, 0, half, i_round, i)) + round16(tree(g, half, half, i_round, i));
}

static size_t choose_size(tw_rng *rng)
{
    static const size_t bounds[] = {2, 50, 3000, 20000};
    if (tw_rng_below(rng, 25) == 0)
        return (size_t)tw_rng_below(rng, FLOATS_MAX);
    return (size_t)tw_rng_below(rng, bounds[tw_rng_below(rng, TW_ARRAY_LEN(bounds))]);
}

static int start_round(game *g, unsigned rank, tw_err *err)
{
    player *p = &g->p[rank];
    unsigned r = p->i_round;
    enum round_kind kind = g->rounds[r].kind;
    size_t n = g->rounds[r].n;
    if (kind == ROUND_BARRIER)
        return tw_coll_barrier_start(p->c, err);
    if (kind == ROUND_REDUCE || kind == ROUND_REDUCE16) {
        for (size_t i = 0; i < n; i++)
            p->x[i] = value_at(g, rank, r, i);
        return kind == ROUND_REDUCE ? tw_coll_all_reduce_start(p->c, p->x, n, err)
                                    : tw_coll_all_reduce_wire16_start(p->c, p->x, n, err);
    }
    if (kind == ROUND_GATHER) {
        n /= TW_RANKS_MAX;
        for (size_t i = 0; i < n; i++)
            p->x[rank * n + i] = value_at(g, rank, r, i);
        return tw_coll_all_gather_start(p->c, p->x + rank * n, n * sizeof(float), p->x, err);
    }
    for (size_t i = 0; i < n && rank == g->rounds[r].root; i++)
        p->x[i] = value_at(g, rank, r, i);
    return tw_coll_broadcast_start(p->c, g->rounds[r].root, p->x, n * sizeof(float), err);
}

static bool right_result(const game *g, unsigned rank)
{
    const player *p = &g->p[rank];
    unsigned r = p->i_round;
    enum round_kind kind = g->rounds[r].kind;
    size_t n = kind == ROUND_BARRIER ? 0 : g->rounds[r].n, per = TW_MAX(n / TW_RANKS_MAX, 1);
    size_t all = kind == ROUND_GATHER ? n / TW_RANKS_MAX * g->n_ranks : n,
           stride = all > 5000 ? 61 : 1;
    for (size_t i = 0; i < all; i += stride) {
        float want = kind == ROUND_GATHER      ? value_at(g, (unsigned)(i / per), r, i % per)
                     : kind == ROUND_BROADCAST ? value_at(g, g->rounds[r].root, r, i)
                     : kind == ROUND_REDUCE16  ? tree16(g, r, i)
                                               : tree(g, 0, g->n_ranks, r, i);
        if (memcmp(&want, &p->x[i], sizeof want) != 0)
            return false;
    }
    return true;
}

static void end_player(game *g, unsigned rank)
{
    /* As a process would: its connections close. */
    g->p[rank].ended_ns = tw_sim_now_ns(g->sim);
    tw_sim_kill(g->sim, rank);
}

static void poll_player(game *g, unsigned rank)
{
    player *p = &g->p[rank];
    int rc = 0;
    if (!p->started) {
        p->started = true;
        p->begun_ns = tw_sim_now_ns(g->sim);
        rc = start_round(g, rank, &p->err);
    }
    tw_mem_guard_begin();
    if (rc == 0)
        rc = tw_coll_poll(p->c, tw_sim_now_ns(g->sim), &p->err);
    tw_mem_guard_end();
    if (rc == -EAGAIN) {
        if (tw_sim_now_ns(g->sim) > p->begun_ns + STEP_NS)
            fail_msg("seed %llu: rank %u waits past its deadline", (unsigned long long)g->seed,
                     rank);
        p->err.code = 0;
        return;
    }
    if (rc != 0) {
        end_player(g, rank);
        return;
    }
    if (!right_result(g, rank))
        fail_msg("seed %llu: rank %u has wrong bits in round %u", (unsigned long long)g->seed, rank,
                 p->i_round);
    p->started = false;
    if (++p->i_round == ROUNDS)
        p->ended_ns = tw_sim_now_ns(g->sim);
}

static bool is_over(const player *p)
{
    return p->dead || p->stuck || p->err.code != 0 || p->i_round == ROUNDS;
}

static void strike(game *g)
{
    if (g->fault_done || tw_sim_now_ns(g->sim) < g->fault_ns)
        return;
    g->fault_done = true;
    if (g->fault == FAULT_CUT || g->fault == FAULT_SILENT)
        tw_sim_cut(g->sim, g->a, g->b, tw_rng_below(&g->rng, 4000), g->fault == FAULT_SILENT);
    if (g->fault == FAULT_KILL && !is_over(&g->p[g->a])) {
        g->p[g->a].dead = true;
        tw_sim_kill(g->sim, g->a);
    }
    if (g->fault == FAULT_STUCK && !is_over(&g->p[g->a]))
        g->p[g->a].stuck = true;
}

static void set_up(game *g, uint64_t seed)
{
    tw_err err = {0};
    memset(g, 0, sizeof *g);
    g->seed = seed;
    g->rng = tw_rng_seed(seed);
    g->n_ranks = 2U << tw_rng_below(&g->rng, 3);
    g->fault = (enum fault_kind)tw_rng_below(&g->rng, N_FAULTS);
    g->a = (unsigned)tw_rng_below(&g->rng, g->n_ranks);
    g->b = (g->a + 1 + (unsigned)tw_rng_below(&g->rng, g->n_ranks - 1)) % g->n_ranks;
    g->fault_ns = tw_rng_below(&g->rng, UINT64_C(1) << tw_rng_below(&g->rng, 22));
    for (unsigned i = 0; i < ROUNDS; i++) {
        g->rounds[i].kind = (enum round_kind)tw_rng_below(&g->rng, N_ROUND_KINDS);
        g->rounds[i].root = (unsigned)tw_rng_below(&g->rng, g->n_ranks);
        g->rounds[i].n = choose_size(&g->rng);
    }
    tw_sim_opts o = {.seed = seed,
                     .n_ranks = g->n_ranks,
                     .delay_max_ns = tw_rng_below(&g->rng, 100 * TW_NS_PER_US),
                     .buffer_bytes = 2000 + (size_t)tw_rng_below(&g->rng, 300000),
                     .percent_nothing = (unsigned)tw_rng_below(&g->rng, 50)};
    bool verify = tw_rng_below(&g->rng, 8) == 0;
    assert_int_equal(tw_sim_new(&o, &g->sim, &err), 0);
    for (unsigned i = 0; i < g->n_ranks; i++) {
        tw_link *links[TW_RANKS_MAX] = {0};
        for (unsigned k = 0; k < g->n_ranks; k++)
            if (k != i)
                assert_int_equal(tw_sim_link(g->sim, i, k, verify, &links[k], &err), 0);
        assert_int_equal(tw_coll_new(i, g->n_ranks, links, NULL, STEP_NS, 0, &g->p[i].c, &err), 0);
        g->p[i].x = storage[i];
    }
}

static void play(game *g)
{
    unsigned n_quiet = 0;
    uint64_t moved = 0;
    for (;;) {
        unsigned n_on = 0;
        for (unsigned i = 0; i < g->n_ranks; i++)
            n_on += !is_over(&g->p[i]);
        if (n_on == 0)
            return;
        strike(g);
        for (unsigned k = 0; k < g->n_ranks; k++) {
            unsigned i = (unsigned)tw_rng_below(&g->rng, g->n_ranks);
            bool slow = g->fault == FAULT_SLOW && i == g->a && tw_rng_below(&g->rng, 50) != 0;
            if (!slow && !is_over(&g->p[i]))
                poll_player(g, i);
        }
        /* Slowly while something happens; when nothing has for long, on towards the deadlines. */
        bool quiet = tw_sim_next_ns(g->sim) == TW_NEVER_NS && tw_sim_moved_bytes(g->sim) == moved;
        moved = tw_sim_moved_bytes(g->sim);
        n_quiet = quiet ? n_quiet + 1 : 0;
        tw_sim_advance(g->sim, 1 + tw_rng_below(&g->rng, n_quiet > 4000 ? STEP_NS / 300 : 5000));
    }
}

/* The rank that the message begins with. */
static unsigned named_rank(const char *msg)
{
    unsigned r = 99;
    return sscanf(msg, "rank %u (", &r) == 1 ? r : 99;
}

static void judge(const game *g)
{
    bool harmless = g->fault == FAULT_NONE || g->fault == FAULT_SLOW;
    for (unsigned i = 0; i < g->n_ranks; i++) {
        const player *p = &g->p[i];
        if (p->err.code == 0)
            continue;
        unsigned who = named_rank(p->err.msg);
        bool cut_pair = (g->fault == FAULT_CUT || g->fault == FAULT_SILENT) &&
                        ((i == g->a && who == g->b) || (i == g->b && who == g->a));
        /* He was struck, or gave up himself and before us. */
        bool guilty = who < g->n_ranks && who != i &&
                      (g->p[who].dead || g->p[who].stuck || cut_pair || g->p[who].err.code != 0);
        if (harmless || !guilty)
            for (unsigned k = 0; k < g->n_ranks; k++)
                printf("# rank %u: round %u, ended at %.6f: %s\n", k, g->p[k].i_round,
                       (double)g->p[k].ended_ns * 1e-9,
                       g->p[k].err.code != 0 ? g->p[k].err.msg : "");
        if (harmless || !guilty) /* nobody fails for being slow within the deadline */
            fail_msg("seed %llu: %u ranks, fault %d of %u (%u): rank %u says: %s",
                     (unsigned long long)g->seed, g->n_ranks, (int)g->fault, g->a, g->b, i,
                     p->err.msg);
    }
}

static void tear_down(game *g)
{
    for (unsigned i = 0; i < g->n_ranks; i++)
        tw_coll_close(g->p[i].c);
    tw_sim_free(g->sim);
}

static void test_schedules(void **state)
{
    (void)state;
    const char *more = getenv("TW_PROP");
    uint64_t seed = fixture_seed(), n = more != NULL ? strtoull(more, NULL, 0) : SCHEDULES;
    unsigned n_failed = 0, n_good = 0;
    static game g;
    for (uint64_t i = 0; i < n; i++) {
        set_up(&g, seed + i);
        play(&g);
        judge(&g);
        bool failed = false;
        for (unsigned k = 0; k < g.n_ranks; k++)
            failed |= g.p[k].err.code != 0;
        n_failed += failed;
        n_good += !failed;
        tear_down(&g);
    }
    printf("# %llu schedules: %u to the end, %u with an error\n", (unsigned long long)n, n_good,
           n_failed);
    assert_true(n < 100 || (n_failed > n / 10 && n_good > n / 10));
}

/* When rank 0, whose peer never comes, says so: virtual time. */
static uint64_t gives_up_after(uint64_t predicted_ns)
{
    tw_sim *sim;
    tw_coll *c[2];
    tw_err err = {0};
    float x[3] = {1, 2, 3};
    const tw_sim_opts o = {.seed = 1, .n_ranks = 2, .buffer_bytes = 4096};
    assert_int_equal(tw_sim_new(&o, &sim, &err), 0);
    for (unsigned i = 0; i < 2; i++) {
        tw_link *links[TW_RANKS_MAX] = {0};
        assert_int_equal(tw_sim_link(sim, i, 1 - i, false, &links[1 - i], &err), 0);
        assert_int_equal(tw_coll_new(i, 2, links, NULL, STEP_NS, 0, &c[i], &err), 0);
    }
    tw_coll_expect(c[0], predicted_ns);
    assert_int_equal(tw_coll_all_reduce_start(c[0], x, 3, &err), 0);
    int rc;
    const uint64_t begin_ns = tw_sim_now_ns(sim);
    while ((rc = tw_coll_poll(c[0], tw_sim_now_ns(sim), &err)) == -EAGAIN)
        tw_sim_advance(sim, TW_NS_PER_S / 10);
    const uint64_t took_ns = tw_sim_now_ns(sim) - begin_ns;
    assert_int_equal(rc, -ETIMEDOUT);
    assert_non_null(strstr(err.msg, "rank 1 (sim"));
    for (unsigned i = 0; i < 2; i++)
        tw_coll_close(c[i]);
    tw_sim_free(sim);
    return took_ns;
}

/* The longer of the group's own limit and ten times what was predicted. */
static void test_deadline_follows_the_prediction(void **state)
{
    (void)state;
    assert_int_equal(gives_up_after(0), STEP_NS);
    assert_int_equal(gives_up_after(STEP_NS / 100), STEP_NS);
    assert_int_equal(gives_up_after(3 * TW_NS_PER_S), 30 * TW_NS_PER_S);
    assert_int_equal(gives_up_after(TW_NEVER_NS), 24 * 3600 * TW_NS_PER_S);
}

int main(void)
{
    for (unsigned i = 0; i < TW_RANKS_MAX; i++) {
        storage[i] = tw_mem_alloc(FLOATS_MAX * sizeof(float));
        if (storage[i] == NULL)
            return 1;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_schedules),
                                       cmocka_unit_test(test_deadline_follows_the_prediction)};
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    for (unsigned i = 0; i < TW_RANKS_MAX; i++)
        tw_mem_free(storage[i]);
    return rc;
}
