/* SPDX-License-Identifier: Apache-2.0 */
/* A whole group over the fake adapter: rendezvous with transport rdma, the same bits as over tcp,
 * the proof, and what a machine without RDMA is told. */
#include <errno.h>

#include "../coll/group_fixture.h"

#include "base/mem.h"
#include "base/scope.h"
#include "fake_verbs.h"
#include "link/verbs.h"

static const size_t sizes[] = {1, 7, 2048, 12288, 16384, 17000, 65536, 300001};

/* Every rank's input is known to all, so each checks the tree's own sum. */
static float value(unsigned rank, size_t n, size_t i)
{
    uint32_t h = (uint32_t)(i * 2654435761U + n * 97 + rank * 40503U);
    return (float)(int32_t)(h ^ h >> 13) * 1.0e-5f;
}

static float tree(unsigned n_ranks, unsigned first, size_t n, size_t i)
{
    if (n_ranks == 1)
        return value(first, n, i);
    return tree(n_ranks / 2, first, n, i) + tree(n_ranks / 2, first + n_ranks / 2, n, i);
}

static int reduce_all(tw_coll *c, void *arg, tw_err *err)
{
    unsigned rank = tw_coll_rank(c), n_ranks = tw_coll_n_ranks(c);
    float *x = tw_coll_alloc(c, 300001 * sizeof *x);
    (void)arg;
    for (size_t s = 0; s < TW_ARRAY_LEN(sizes); s++) {
        size_t n = sizes[s];
        for (size_t i = 0; i < n; i++)
            x[i] = value(rank, n, i);
        int rc = tw_coll_all_reduce(c, x, n, err);
        if (rc != 0)
            return rc;
        for (size_t i = 0; i < n; i++) {
            float want = tree(n_ranks, 0, n, i);
            if (memcmp(&x[i], &want, sizeof want) != 0)
                return tw_err_set(err, -EILSEQ, "n %zu at %zu: %a, wanted %a", n, i, (double)x[i],
                                  (double)want);
        }
    }
    tw_coll_stats st;
    tw_coll_get_stats(c, &st);
    for (unsigned i = 0; i < n_ranks; i++) {
        const tw_coll_peer_stats *p = &st.peer[i];
        if (i == rank)
            continue;
        if (strcmp(p->transport, "rdma") != 0 || strcmp(p->device, "fake0") != 0 || p->qpn == 0 ||
            p->mtu != 4096 || strcmp(p->gid, "127.0.0.1") != 0 || p->gid_index != 3 ||
            p->port != 1 || p->refused[0].transport[0] != '\0')
            return tw_err_set(err, -EILSEQ, "no proof: %s %s", p->transport, p->device);
    }
    return 0;
}

static void group_of(unsigned n_ranks)
{
    fixture_rank r[TW_RANKS_MAX];
    fixture_init(r, n_ranks, TW_TRANSPORT_RDMA, reduce_all);
    fake.n_regs = fake.n_reg_bytes = 0;
    fixture_all_good(r, n_ranks);
    assert_int_equal(fake.n_regs, n_ranks); /* once a rank, for all its links */
    assert_int_equal(fake.n_reg_bytes, n_ranks * tw_link_verbs_pin_bytes(n_ranks - 1));
    assert_int_equal(fake_n_handles(), 0);
}

static void test_all_reduce(void **state)
{
    (void)state;
    for (unsigned n = 2; n <= 4; n *= 2)
        group_of(n);
}

/* Asked for and not to be had: refused by both with the reason, never another transport. */
static void test_no_fallback(void **state)
{
    (void)state;
    fixture_rank r[2];
    fake.dev[0].n_gids = 3;
    fixture_init(r, 2, TW_TRANSPORT_RDMA, NULL);
    fixture_start(r, 2);
    fixture_join(r, 2);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(r[i].rc < 0);
        if (strstr(r[i].err.msg, "transport rdma: rank ") == NULL ||
            strstr(r[i].err.msg, "only as RoCE v1") == NULL)
            fail_msg("%s", r[i].err.msg);
    }
    assert_int_equal(fake_n_handles(), 0);
}

static int show_auto(tw_coll *c, void *arg, tw_err *err)
{
    tw_coll_stats st;
    (void)arg;
    tw_coll_get_stats(c, &st);
    const tw_coll_peer_stats *p = &st.peer[tw_coll_rank(c) ^ 1];
    bool good = strcmp(p->transport, "shm") == 0 && strcmp(p->refused[0].transport, "rdma") == 0 &&
                strstr(p->refused[0].reason, "same machine") != NULL &&
                strcmp(p->refused[1].transport, "tcp") == 0;
    return good ? 0 : tw_err_set(err, -EILSEQ, "%s, %s", p->transport, p->refused[0].reason);
}

static void test_auto_is_shm_here(void **state)
{
    (void)state;
    fixture_rank r[2];
    fixture_init(r, 2, TW_TRANSPORT_AUTO, show_auto);
    fixture_all_good(r, 2);
}

static int reduce_until_error(tw_coll *c, void *arg, tw_err *err)
{
    float x[1000] = {0};
    (void)arg;
    int rc = 0;
    for (int i = 0; rc == 0; i++) {
        if (i == 20 && tw_coll_rank(c) == 0)
            fake_fail_write(1, TW_VERBS_RETRY_EXC_ERR);
        rc = tw_coll_all_reduce(c, x, TW_ARRAY_LEN(x), err);
    }
    return rc;
}

/* The path dies in the middle: every rank ends, soon, and one of them knows the cause. */
static void test_path_dies(void **state)
{
    (void)state;
    fixture_rank r[2];
    fixture_init(r, 2, TW_TRANSPORT_RDMA, reduce_until_error);
    uint64_t begin = tw_clock_now_ns();
    r[0].opts.step_ns = r[1].opts.step_ns = 120 * TW_NS_PER_S;
    fixture_start(r, 2);
    fixture_join(r, 2);
    bool told = false;
    for (unsigned i = 0; i < 2; i++) {
        assert_true(r[i].rc < 0);
        told |= strstr(r[i].err.msg, "transport retry exceeded") != NULL;
    }
    if (!told)
        fail_msg("%s / %s", r[0].err.msg, r[1].err.msg);
    assert_true(tw_clock_now_ns() - begin < 60 * TW_NS_PER_S); /* not the step's deadline */
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
        cmocka_unit_test_setup(test_all_reduce, setup),
        cmocka_unit_test_setup(test_no_fallback, setup),
        cmocka_unit_test_setup(test_auto_is_shm_here, setup),
        cmocka_unit_test_setup(test_path_dies, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
