/* SPDX-License-Identifier: Apache-2.0 */
/* The raw exchange over the fake adapter: bytes arrive, a rank may be ahead, failures end both. */
#include <errno.h>

#include "../coll/group_fixture.h"
#include "../link/fake_verbs.h"

#include "base/scope.h"
#include "cmd/bench_floor_verbs.h"

enum { ROUNDS = 200 };
static const size_t sizes[] = {4, 8192, 65536, TW_FLOOR_VERBS_WRITE, TW_FLOOR_VERBS_WRITE + 4};

static int exchange_all(tw_coll *c, void *arg, tw_err *err)
{
    tw_floor_verbs *f = NULL;
    const uint8_t mine = (uint8_t)(1 + tw_coll_rank(c)), theirs = (uint8_t)(3 - mine);
    (void)arg;
    int rc = tw_floor_verbs_open(c, &f, err);
    if (rc != 0)
        return rc;
    uint8_t *in = tw_floor_verbs_in(f);
    for (size_t s = 0; s < TW_ARRAY_LEN(sizes) && rc == 0; s++) {
        const size_t n = TW_MIN(sizes[s], (size_t)TW_FLOOR_VERBS_WRITE);
        memset(tw_floor_verbs_out(f), mine, n);
        rc = tw_floor_verbs_exchange(f, sizes[s], err);
        if (rc == 0 && (in[0] != theirs || in[n - 1] != theirs))
            rc = tw_err_set(err, -EILSEQ, "%zu bytes: came %u .. %u", sizes[s], in[0], in[n - 1]);
        if (rc == 0) /* a peer that is ahead would write while we look */
            rc = tw_coll_barrier(c, err);
    }
    for (int i = 0; i < ROUNDS && rc == 0; i++)
        rc = tw_floor_verbs_exchange(f, 8, err);
    if (rc == 0)
        rc = tw_coll_barrier(c, err);
    tw_floor_verbs_close(f);
    return rc;
}

static void test_exchange(void **state)
{
    (void)state;
    fixture_rank r[2];
    fixture_init(r, 2, TW_TRANSPORT_RDMA, exchange_all);
    fixture_all_good(r, 2);
    assert_int_equal(fake_n_handles(), 0);
}

/* A library that knows no GID types has them from sysfs, and this machine has none of that name. */
static int open_without_gids(tw_coll *c, void *arg, tw_err *err)
{
    tw_floor_verbs *f = NULL;
    (void)arg;
    if (tw_coll_rank(c) == 0)
        fake.no_gid_query = true;
    int rc = tw_coll_barrier(c, err);
    return rc == 0 ? tw_floor_verbs_open(c, &f, err) : rc;
}

static void test_no_gid_is_said_by_both(void **state)
{
    (void)state;
    fixture_rank r[2];
    fixture_init(r, 2, TW_TRANSPORT_RDMA, open_without_gids);
    fixture_start(r, 2);
    fixture_join(r, 2);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(r[i].opened && r[i].rc == -ENOENT);
        assert_non_null(strstr(r[i].err.msg, "verbs floor: rank 0: fake0: GID"));
    }
    assert_int_equal(fake_n_handles(), 0);
}

static int fail_a_write(tw_coll *c, void *arg, tw_err *err)
{
    tw_floor_verbs *f = NULL;
    (void)arg;
    int rc = tw_floor_verbs_open(c, &f, err);
    if (rc == 0)
        rc = tw_coll_barrier(c, err);
    if (rc == 0 && tw_coll_rank(c) == 0) {
        fake_fail_write(1, TW_VERBS_RETRY_EXC_ERR);
        rc = tw_floor_verbs_exchange(f, 8, err);
    }
    tw_floor_verbs_close(f);
    return rc;
}

static void test_failed_write(void **state)
{
    (void)state;
    fixture_rank r[2];
    fixture_init(r, 2, TW_TRANSPORT_RDMA, fail_a_write);
    fixture_start(r, 2);
    fixture_join(r, 2);
    assert_int_equal(r[0].rc, -EIO);
    assert_non_null(strstr(r[0].err.msg, "verbs floor: a write failed, status 12"));
    assert_int_equal(fake_n_handles(), 0);
}

static int setup(void **state)
{
    (void)state;
    fake_reset();
    tw_verbs_lib_replace(&fake_verbs_api);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_exchange, setup),
        cmocka_unit_test_setup(test_no_gid_is_said_by_both, setup),
        cmocka_unit_test_setup(test_failed_write, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
