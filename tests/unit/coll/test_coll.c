/* SPDX-License-Identifier: Apache-2.0 */
/* Groups over real sockets and shared memory: same bits on every rank, for every size. */
#include "group_fixture.h"

#include <errno.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "base/scope.h"
#include "kern/half.h"

enum { GATHER_BYTES = 4099 };
static const size_t sizes[] = {0, 1, 7, 64, 1000, 16 * 1024 + 3, 1024 * 1024};
static uint64_t seed;

/* The addend of one rank; rounding makes any other order of the sum visible. */
static float value_at(unsigned rank, size_t size, size_t i)
{
    uint32_t key[2] = {(uint32_t)seed, rank}, ctr[4] = {(uint32_t)i, (uint32_t)size, 0, 0}, v[4];
    tw_rng_philox(key, ctr, v);
    return (tw_rng_unit(v[0]) - 0.5F) * (float)(1U << (v[1] % 20));
}

static float tree(unsigned rank, unsigned n_ranks, size_t size, size_t i)
{
    if (n_ranks == 1)
        return value_at(rank, size, i);
    unsigned half = n_ranks / 2;
    return tree(rank, half, size, i) + tree(rank + half, half, size, i);
}

static float round16(float x)
{
    return tw_bf16_to_f32(tw_bf16_from_f32(x));
}

static float tree16(unsigned n_ranks, size_t size, size_t i)
{
    unsigned half = n_ranks / 2;
    return n_ranks == 1 ? value_at(0, size, i)
                        : round16(tree(0, half, size, i)) + round16(tree(half, half, size, i));
}

static int check_reduce(tw_coll *c, float *x, size_t n, bool wire16, tw_err *err)
{
    unsigned rank = tw_coll_rank(c), n_ranks = tw_coll_n_ranks(c);
    for (size_t i = 0; i < n; i++)
        x[i] = value_at(rank, n, i);
    tw_mem_guard_begin();
    int rc = wire16 ? tw_coll_all_reduce_wire16(c, x, n, err) : tw_coll_all_reduce(c, x, n, err);
    tw_mem_guard_end();
    size_t stride = n > 100000 ? 37 : 1; /* the oracle is slow */
    for (size_t i = 0; rc == 0 && i < n; i += stride) {
        float want = wire16 ? tree16(n_ranks, n, i) : tree(0, n_ranks, n, i);
        if (memcmp(&want, &x[i], sizeof want) != 0)
            rc = tw_err_set(err, -EILSEQ, "rank %u of %u, n %zu, [%zu]%s: %a, wanted %a", rank,
                            n_ranks, n, i, wire16 ? " wire16" : "", (double)x[i], (double)want);
    }
    return rc;
}

static uint8_t byte_at(unsigned rank, size_t i)
{
    return (uint8_t)(rank * 71 + i * 13 + (i >> 8));
}

static int check_gather(tw_coll *c, uint8_t *out, size_t bytes, bool in_place, tw_err *err)
{
    unsigned rank = tw_coll_rank(c), n_ranks = tw_coll_n_ranks(c);
    uint8_t own[GATHER_BYTES];
    uint8_t *in = in_place ? out + rank * bytes : own;
    memset(out, 0, n_ranks * bytes);
    for (size_t i = 0; i < bytes; i++)
        in[i] = byte_at(rank, i);
    int rc = tw_coll_all_gather(c, in, bytes, out, err);
    for (size_t i = 0; rc == 0 && i < n_ranks * bytes; i++)
        if (out[i] != byte_at((unsigned)(i / bytes), i % bytes))
            rc = tw_err_set(err, -EILSEQ, "gather: rank %u, byte %zu", rank, i);
    return rc;
}

static int check_broadcast(tw_coll *c, uint8_t *p, unsigned root, tw_err *err)
{
    for (size_t i = 0; i < GATHER_BYTES; i++)
        p[i] = tw_coll_rank(c) == root ? byte_at(root, i) : 0;
    int rc = tw_coll_broadcast(c, root, p, GATHER_BYTES, err);
    for (size_t i = 0; rc == 0 && i < GATHER_BYTES; i++)
        if (p[i] != byte_at(root, i))
            rc = tw_err_set(err, -EILSEQ, "broadcast from %u: byte %zu", root, i);
    return rc;
}

static int check_plan(tw_coll *c, size_t bytes, tw_err *err)
{
    uint8_t plan[300];
    size_t got = bytes;
    for (size_t i = 0; i < sizeof plan; i++)
        plan[i] = (uint8_t)(tw_coll_rank(c) == 0 ? i + bytes : 0);
    int rc = tw_coll_rank(c) == 0 ? tw_coll_plan_send(c, plan, bytes, err)
                                  : tw_coll_plan_recv(c, plan, sizeof plan, &got, err);
    if (rc == 0 && got != bytes)
        rc = tw_err_set(err, -EILSEQ, "plan of %zu bytes, got %zu", bytes, got);
    for (size_t i = 0; rc == 0 && i < bytes; i++)
        if (plan[i] != (uint8_t)(i + bytes))
            rc = tw_err_set(err, -EILSEQ, "plan: byte %zu", i);
    return rc;
}

static int run_all(tw_coll *c, void *arg, tw_err *err)
{
    (void)arg;
    float *x = tw_coll_alloc(c, sizes[TW_ARRAY_LEN(sizes) - 1] * sizeof *x);
    uint8_t *out = tw_coll_alloc(c, (size_t)TW_RANKS_MAX * GATHER_BYTES);
    if (x == NULL || out == NULL)
        return tw_err_set(err, -ENOMEM, "no memory");
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < TW_ARRAY_LEN(sizes); i++)
        rc = check_reduce(c, x, sizes[i], false, err);
    for (size_t i = 0; rc == 0 && i < TW_ARRAY_LEN(sizes); i++)
        rc = check_reduce(c, x, sizes[i], true, err);
    for (int i = 0; rc == 0 && i < 3; i++)
        rc = tw_coll_barrier(c, err);
    for (int i = 0; rc == 0 && i < 4; i++)
        rc = check_gather(c, out, i < 2 ? GATHER_BYTES : (size_t)(i - 2), (i & 1) != 0, err);
    for (unsigned i = 0; rc == 0 && i < tw_coll_n_ranks(c); i++)
        rc = check_broadcast(c, out, i, err);
    for (size_t i = 0; rc == 0 && i < 300; i += 60)
        rc = tw_coll_n_ranks(c) > 1 ? check_plan(c, i, err) : 0;
    return rc;
}

static void run_group(unsigned n_ranks, enum tw_transport transport, bool verify)
{
    fixture_rank r[TW_RANKS_MAX];
    fixture_init(r, n_ranks, transport, run_all);
    for (unsigned i = 0; i < n_ranks; i++)
        r[i].opts.verify = verify;
    fixture_all_good(r, n_ranks);
}

static void test_tcp(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= TW_RANKS_MAX; n *= 2)
        run_group(n, TW_TRANSPORT_TCP, false);
}

static void test_shm(void **state)
{
    (void)state;
    for (unsigned n = 2; n <= TW_RANKS_MAX; n *= 2)
        run_group(n, TW_TRANSPORT_SHM, false);
}

static void test_verify(void **state)
{
    (void)state;
    run_group(2, TW_TRANSPORT_TCP, true);
    run_group(4, TW_TRANSPORT_SHM, true);
}

static int check_proof(tw_coll *c, void *arg, tw_err *err)
{
    const char *want = arg;
    tw_coll_stats s;
    float x[5] = {1, 2, 3, 4, 5};
    int rc = tw_coll_all_reduce(c, x, 5, err);
    if (rc != 0)
        return rc;
    tw_coll_get_stats(c, &s);
    const tw_coll_peer_stats *p = &s.peer[tw_coll_rank(c) ^ 1];
    bool tcp = strcmp(want, "tcp") == 0;
    bool good = strcmp(p->transport, want) == 0 && s.n_collectives == 1 && p->tx_msgs == 1 &&
                p->rx_msgs == 1 && p->tx_bytes == 32 + 20 && p->rx_bytes == 32 + 20 &&
                strcmp(p->device, tcp ? "lo" : "memfd") == 0 && (p->mtu > 0) == tcp &&
                (!tcp || strncmp(p->peer, "127.0.0.1:", 10) == 0);
    return good ? 0
                : tw_err_set(err, -EILSEQ, "proof: %s %s mtu %u peer %s", p->transport, p->device,
                             p->mtu, p->peer);
}

static void test_proof(void **state)
{
    (void)state;
    static const struct {
        enum tw_transport ask;
        char name[4];
    } cases[] = {{TW_TRANSPORT_TCP, "tcp"}, {TW_TRANSPORT_SHM, "shm"}, {TW_TRANSPORT_AUTO, "shm"}};
    for (size_t i = 0; i < TW_ARRAY_LEN(cases); i++) {
        fixture_rank r[2];
        char name[4];
        memcpy(name, cases[i].name, sizeof name);
        fixture_init(r, 2, cases[i].ask, check_proof);
        r[0].arg = r[1].arg = name;
        fixture_all_good(r, 2);
    }
}

static uint64_t sent_to_all(tw_coll *c)
{
    tw_coll_stats s;
    uint64_t bytes = 0;
    tw_coll_get_stats(c, &s);
    for (unsigned i = 0; i < TW_RANKS_MAX; i++)
        bytes += s.peer[i].tx_bytes;
    return bytes;
}

/* Half the bytes between two ranks; of more, half of what the last level sends. */
static int count_bytes(tw_coll *c, void *arg, tw_err *err)
{
    enum { N = 200000 };
    (void)arg;
    float *x = tw_coll_alloc(c, N * sizeof *x);
    int rc = tw_coll_all_reduce(c, x, N, err);
    uint64_t full = sent_to_all(c);
    if (rc == 0)
        rc = tw_coll_all_reduce_wire16(c, x, N, err);
    uint64_t half = sent_to_all(c) - full;
    const double share[] = {[2] = 0.5, [4] = 5.0 / 6};
    const double want = share[tw_coll_n_ranks(c)], got = (double)half / (double)full;
    if (rc == 0 && (got < want * 0.99 || got > want * 1.01))
        rc = tw_err_set(err, -EILSEQ, "wire16 sends %.3f of the bytes, wanted %.3f", got, want);
    return rc;
}

static void test_wire16_bytes(void **state)
{
    (void)state;
    for (unsigned n = 2; n <= 4; n *= 2) {
        fixture_rank r[4];
        fixture_init(r, n, TW_TRANSPORT_SHM, count_bytes);
        fixture_all_good(r, n);
    }
}

/* Nobody passes before the last one has come. */
static int meet_late(tw_coll *c, void *arg, tw_err *err)
{
    atomic_uint *n_come = arg;
    for (unsigned i = 1; i <= 100; i++) {
        atomic_fetch_add(n_come, 1);
        int rc = tw_coll_barrier(c, err);
        if (rc != 0)
            return rc;
        if (atomic_load(n_come) < i * tw_coll_n_ranks(c))
            return tw_err_set(err, -EILSEQ, "barrier %u let us through early", i);
    }
    return 0;
}

static void test_barrier(void **state)
{
    (void)state;
    for (unsigned n = 2; n <= TW_RANKS_MAX; n *= 2) {
        fixture_rank r[TW_RANKS_MAX];
        atomic_uint n_come = 0;
        fixture_init(r, n, TW_TRANSPORT_AUTO, meet_late);
        for (unsigned i = 0; i < n; i++)
            r[i].arg = &n_come;
        fixture_all_good(r, n);
    }
}

static int disagree(tw_coll *c, void *arg, tw_err *err)
{
    (void)arg;
    float x[8] = {0};
    return tw_coll_all_reduce(c, x, tw_coll_rank(c) == 0 ? 8 : 7, err);
}

static void test_different_calls(void **state)
{
    (void)state;
    fixture_rank r[2];
    fixture_init(r, 2, TW_TRANSPORT_TCP, disagree);
    fixture_start(r, 2);
    fixture_join(r, 2);
    bool named = false;
    for (unsigned i = 0; i < 2; i++) {
        assert_true(r[i].opened);
        assert_true(r[i].rc < 0);
        named |= strstr(r[i].err.msg, "expected all-reduce of") != NULL;
    }
    assert_true(named);
}

static int overflow_plan(tw_coll *c, void *arg, tw_err *err)
{
    (void)arg;
    char plan[100] = {0};
    size_t n = 0;
    return tw_coll_rank(c) == 0 ? tw_coll_plan_send(c, plan, 100, err)
                                : tw_coll_plan_recv(c, plan, 99, &n, err);
}

static void test_plan_too_long(void **state)
{
    (void)state;
    fixture_rank r[2];
    fixture_init(r, 2, TW_TRANSPORT_TCP, overflow_plan);
    fixture_start(r, 2);
    fixture_join(r, 2);
    assert_int_equal(r[1].rc, -EMSGSIZE);
}

static void test_bad_options(void **state)
{
    (void)state;
    tw_err err;
    tw_coll *c = NULL;
    tw_coll_opts o = fixture_opts(0, 3, 0);
    assert_int_equal(tw_coll_open(&o, &c, &err), -EINVAL);
    o = fixture_opts(2, 2, 0);
    assert_int_equal(tw_coll_open(&o, &c, &err), -EINVAL);
    o = fixture_opts(0, 2, 0);
    o.address = "0.0.0.0";
    assert_int_equal(tw_coll_open(&o, &c, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "all interfaces"));
    o = fixture_opts(0, 2, 0);
    o.address = "::ffff:0.0.0.0";
    assert_int_equal(tw_coll_open(&o, &c, &err), -EINVAL);
    static tw_coll_fact many[100];
    for (unsigned i = 0; i < 100; i++)
        many[i] = (tw_coll_fact){.name = "n", .value = "v"};
    o = fixture_opts(0, 2, 0);
    o.facts = many;
    o.n_facts = 100;
    assert_int_equal(tw_coll_open(&o, &c, &err), -E2BIG);
}

/* More elements than one poll moves between ranks: with one rank there is nothing to move. */
static void test_one_rank_is_done_at_once(void **state)
{
    (void)state;
    enum { N = (2 << 20) + 1 };
    tw_err err;
    tw_coll *c = NULL;
    const tw_coll_opts o = {.n_ranks = 1, .listen_fd = -1};
    assert_int_equal(tw_coll_open(&o, &c, &err), 0);
    float *x = tw_coll_alloc(c, N * sizeof *x);
    x[N - 1] = 3.0f;
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(tw_coll_all_reduce(c, x, N, &err), 0);
    assert_true(x[N - 1] == 3.0f);
    tw_coll_close(c);
}

int main(void)
{
    seed = fixture_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tcp),
        cmocka_unit_test(test_shm),
        cmocka_unit_test(test_verify),
        cmocka_unit_test(test_proof),
        cmocka_unit_test(test_wire16_bytes),
        cmocka_unit_test(test_barrier),
        cmocka_unit_test(test_different_calls),
        cmocka_unit_test(test_plan_too_long),
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_one_rank_is_done_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
