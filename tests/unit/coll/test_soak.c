/* SPDX-License-Identifier: Apache-2.0 */
/* Many exchanges over real transports: right at the end, no allocation on the way, memory and open
 * files as they were. TW_SOAK=N for another number (10000000 for the long form). */
#include "group_fixture.h"
#include "../os/count_fds.h"

#include <errno.h>
#include <sys/prctl.h>

#include "base/mem.h"
#include "base/scope.h"
#include "os/sys.h"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { EXCHANGES = 5000, HAS_SHADOW = 1 }; /* shadow memory grows with what was ever touched */
#else
enum { EXCHANGES = 200000, HAS_SHADOW = 0 };
#endif
enum { FLOATS = 256, WARM_UP = 1000, GROWTH_BYTES = 1 << 20 };

static uint64_t n_exchanges;

static float value_at(unsigned rank, uint64_t i_exchange, size_t i)
{
    return (float)((i_exchange * 7 + rank * 3 + i) % 1009);
}

/* The first bytes of each rank's part tell whose they are. */
static int gather(tw_coll *c, uint64_t i, const float *x, size_t bytes, float *all, tw_err *err)
{
    int rc = tw_coll_all_gather(c, x, bytes, all, err);
    for (unsigned r = 0; rc == 0 && r < tw_coll_n_ranks(c); r++) {
        const float want = value_at(r, i, 0);
        if (memcmp((const char *)all + r * bytes, &want, TW_MIN(bytes, sizeof want)) != 0)
            rc = tw_err_set(err, -EILSEQ, "exchange %llu: not rank %u's bytes",
                            (unsigned long long)i, r);
    }
    return rc;
}

/* What kinds come in turn; sizes that leave the ring at every offset. */
static int exchange(tw_coll *c, uint64_t i, float *x, float *all, tw_err *err)
{
    const unsigned rank = tw_coll_rank(c), n_ranks = tw_coll_n_ranks(c);
    const size_t n = 1 + (size_t)(i % FLOATS);
    for (size_t k = 0; k < n; k++)
        x[k] = value_at(rank, i, k);
    const unsigned kind = (unsigned)(i % 8);
    if (kind == 7)
        return gather(c, i, x, n * sizeof(*x) - 1, all, err);
    int rc = kind == 6 ? tw_coll_all_reduce_wire16(c, x, n, err) : tw_coll_all_reduce(c, x, n, err);
    float want = 0;
    for (unsigned r = 0; r < n_ranks && kind != 6; r++)
        want += value_at(r, i, n - 1);
    if (rc == 0 && kind != 6 && x[n - 1] != want) /* small whole numbers: exact in any order */
        rc = tw_err_set(err, -EILSEQ, "exchange %llu: %g, wanted %g", (unsigned long long)i,
                        (double)x[n - 1], (double)want);
    return rc;
}

static int soak(tw_coll *c, void *arg, tw_err *err)
{
    (void)arg;
    float *x = tw_coll_alloc(c, FLOATS * sizeof(*x));
    float *all = tw_coll_alloc(c, (size_t)TW_RANKS_MAX * FLOATS * sizeof(*x));
    int rc = x == NULL || all == NULL ? -ENOMEM : 0;
    uint64_t rss = 0;
    tw_mem_guard_begin();
    for (uint64_t i = 0; rc == 0 && i < n_exchanges; i++) {
        if (i == WARM_UP)
            rss = tw_sys_rss_bytes();
        rc = exchange(c, i, x, all, err);
    }
    tw_mem_guard_end();
    uint64_t now = tw_sys_rss_bytes();
    if (rc == 0 && !HAS_SHADOW && n_exchanges > WARM_UP && now > rss + GROWTH_BYTES)
        rc = tw_err_set(err, -EILSEQ, "memory grew from %llu to %llu KiB",
                        (unsigned long long)rss >> 10, (unsigned long long)now >> 10);
    tw_coll_stats s;
    tw_coll_get_stats(c, &s);
    if (rc == 0 && s.n_collectives != n_exchanges)
        rc = tw_err_set(err, -EILSEQ, "counted %llu", (unsigned long long)s.n_collectives);
    return rc;
}

static void run_soak(unsigned n_ranks, enum tw_transport transport)
{
    fixture_rank r[TW_RANKS_MAX];
    unsigned n_fds = count_fds();
    fixture_init(r, n_ranks, transport, soak);
    for (unsigned i = 0; i < n_ranks; i++)
        r[i].opts.step_ns = 60 * TW_NS_PER_S;
    fixture_all_good(r, n_ranks);
    assert_int_equal(count_fds(), n_fds);
}

static void test_tcp(void **state)
{
    (void)state;
    run_soak(2, TW_TRANSPORT_TCP);
}

static void test_shm(void **state)
{
    (void)state;
    run_soak(2, TW_TRANSPORT_SHM);
}

/* Groups that come and go leave nothing behind. */
static void test_groups(void **state)
{
    (void)state;
    uint64_t all = n_exchanges;
    n_exchanges = 10;
    for (int i = 0; i < 20; i++)
        run_soak(i % 4 == 0 ? 4 : 2, (i & 1) != 0 ? TW_TRANSPORT_SHM : TW_TRANSPORT_TCP);
    n_exchanges = all;
}

int main(void)
{
    const char *more = getenv("TW_SOAK");
    /* In a long run the kernel may make one huge page of a region that is hardly used: 2 MiB more that
     * nobody took. */
    (void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    n_exchanges = more != NULL ? strtoull(more, NULL, 0) : EXCHANGES;
    printf("# %llu exchanges; TW_SOAK=N for another number\n", (unsigned long long)n_exchanges);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tcp),
        cmocka_unit_test(test_shm),
        cmocka_unit_test(test_groups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
