/* SPDX-License-Identifier: Apache-2.0 */
/* Arrivals by a flag polled in memory: who may, that both ends agree, order, wrap-around, flags that
 * are never seen, and sleep. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/scope.h"
#include "link/verbs_inside.h"
#include "verbs_pair.h"

enum { ROOM = SLOT_BYTES - VERBS_SLOT_HEAD };

static char sysfs[] = "/tmp/twinax-sysfs-XXXXXX";

static void make_dir(const char *name)
{
    char path[96];
    snprintf(path, sizeof path, "%s/%s", sysfs, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

/* fake0 looks like rxe; mlx0 and siw0 have or lack a driver in the table. */
static int make_sysfs(void **state)
{
    (void)state;
    char path[96];
    assert_non_null(mkdtemp(sysfs));
    make_dir("fake0");
    make_dir("mlx0");
    make_dir("mlx0/device");
    make_dir("siw0");
    make_dir("siw0/device");
    snprintf(path, sizeof path, "%s/fake0/parent", sysfs);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("eth0\n", f);
    fclose(f);
    snprintf(path, sizeof path, "%s/mlx0/device/driver", sysfs);
    assert_int_equal(symlink("../../../bus/pci/drivers/mlx5_core", path), 0);
    snprintf(path, sizeof path, "%s/siw0/device/driver", sysfs);
    assert_int_equal(symlink("../../../bus/pci/drivers/siw", path), 0);
    return 0;
}

static int remove_sysfs(void **state)
{
    static const char *const names[] = {"/mlx0/device/driver",
                                        "/siw0/device/driver",
                                        "/fake0/parent",
                                        "/mlx0/device",
                                        "/siw0/device",
                                        "/fake0",
                                        "/mlx0",
                                        "/siw0",
                                        ""};
    (void)state;
    for (size_t i = 0; i < TW_ARRAY_LEN(names); i++) {
        char path[96];
        snprintf(path, sizeof path, "%s%s", sysfs, names[i]);
        assert_int_equal(remove(path), 0);
    }
    return 0;
}

static int setup(void **state)
{
    (void)state;
    fake_reset();
    return 0;
}

static void flag_open(tw_link *ret[2], bool verify, bool other_can)
{
    pair_end e[2];
    pair_init(e, verify);
    e[0].opts.sysfs = e[1].opts.sysfs = sysfs;
    e[1].opts.no_flag = !other_can;
    pair_link(e, ret);
}

/* n bytes each way, n_rounds times. */
static void both_ways(tw_link *l[2], size_t n, unsigned n_rounds)
{
    uint8_t *out[2], *in[2];
    tw_err err = {0};
    for (int i = 0; i < 2; i++) {
        out[i] = tw_mem_alloc(n + 1);
        in[i] = tw_mem_alloc(n + 1);
    }
    for (unsigned round = 0; round < n_rounds; round++) {
        for (int i = 0; i < 2; i++) {
            for (size_t k = 0; k < n; k++)
                out[i][k] = (uint8_t)(k * 7 + (unsigned)i + round + (k >> 9));
            memset(in[i], 0xee, n);
            tw_link_send(l[i], 1, out[i], n);
            tw_link_recv(l[i], 1, in[i], n, round % 2 == 0);
        }
        if (pair_carry(l, &err) != 0)
            fail_msg("%zu bytes, round %u: %s", n, round, err.msg);
        for (int i = 0; i < 2; i++)
            assert_memory_equal(in[i], out[i ^ 1], n);
    }
    for (int i = 0; i < 2; i++) {
        tw_mem_free(out[i]);
        tw_mem_free(in[i]);
    }
}

static void test_table(void **state)
{
    (void)state;
    assert_true(tw_verbs_flag_is_tested(sysfs, "fake0"));
    assert_true(tw_verbs_flag_is_tested(sysfs, "mlx0"));
    assert_false(tw_verbs_flag_is_tested(sysfs, "siw0"));
    assert_false(tw_verbs_flag_is_tested(sysfs, "none0"));
}

static void test_sizes(void **state)
{
    (void)state;
    static const size_t sizes[] = {
        0, 1, 31, 8192, ROOM - TW_FRAME_DATA_BYTES, ROOM, SLOT_BYTES, 2 * 1024 * 1024 + 17};
    for (int k = 0; k < 4; k++) {
        tw_link *l[2];
        flag_open(l, (k & 1) != 0, true);
        assert_true(l[0]->proof.by_flag && l[1]->proof.by_flag);
        fake.lazy = (k & 2) != 0;
        for (size_t i = 0; i < TW_ARRAY_LEN(sizes); i++)
            both_ways(l, sizes[i], 3);
        assert_true(l[0]->proof.rx_by_flag > 0 && l[1]->proof.rx_by_flag > 0);
        pair_close(l);
        fake.lazy = false;
    }
}

/* Awake, every message is taken by its flag, and is one write of the link's. */
static void test_ping_pong(void **state)
{
    (void)state;
    tw_link *l[2];
    tw_err err = {0};
    static uint8_t out[64 * 1024], in[64 * 1024];
    flag_open(l, false, true);
    fake.n_writes = 0;
    for (int i = 0; i < 1000; i++) {
        tw_link_send(l[i & 1], 1, out, sizeof out);
        tw_link_recv(l[(i & 1) ^ 1], 1, in, sizeof in, true);
        assert_int_equal(pair_carry(l, &err), 0);
    }
    assert_int_equal(fake.n_writes, 1000);
    assert_int_equal(l[0]->proof.rx_by_flag, 500);
    assert_int_equal(l[1]->proof.rx_by_flag, 500);
    /* One direction alone: slots still come back. */
    for (int i = 0; i < 1000; i++) {
        tw_link_send(l[0], 1, out, 100);
        tw_link_recv(l[1], 1, in, 100, true);
        assert_int_equal(pair_carry(l, &err), 0);
    }
    pair_close(l);
}

/* One end that may not: none does, and all works. */
static void test_mixed(void **state)
{
    (void)state;
    tw_link *l[2];
    flag_open(l, true, false);
    assert_false(l[0]->proof.by_flag || l[1]->proof.by_flag);
    both_ways(l, 200000, 5);
    assert_int_equal(l[0]->proof.rx_by_flag + l[1]->proof.rx_by_flag, 0);
    pair_close(l);
}

/* Message numbers pass 2^32 in mid-stream. */
static void test_wrap_around(void **state)
{
    (void)state;
    tw_link *l[2];
    flag_open(l, true, true);
    for (int i = 0; i < 2; i++) {
        tw_verbs_link *v = (tw_verbs_link *)l[i];
        v->tx_data += UINT32_MAX - 8 * SLOTS + 1; /* as many slots on: none is skipped */
        v->rx_data += UINT32_MAX - 8 * SLOTS + 1;
    }
    both_ways(l, 1000, 20 * SLOTS);
    for (int i = 0; i < 2; i++) {
        assert_true(((tw_verbs_link *)l[i])->rx_data < 100 * SLOTS);
        assert_int_equal(l[i]->proof.rx_by_flag, 20 * SLOTS);
    }
    pair_close(l);
}

/* A flag that is never seen costs time, not data: the immediate brings the message. */
static void test_lost_flags(void **state)
{
    (void)state;
    const char *s = getenv("TW_SEED");
    uint64_t seed = s != NULL ? strtoull(s, NULL, 0) : tw_clock_now_ns();
    printf("# TW_SEED=%llu\n", (unsigned long long)seed);
    tw_rng r = tw_rng_seed(seed);
    tw_link *l[2];
    flag_open(l, true, true);
    fake.lose_flags = true;
    both_ways(l, 5000, 100);
    assert_int_equal(l[0]->proof.rx_by_flag + l[1]->proof.rx_by_flag, 0);
    for (int i = 0; i < 500; i++) {
        fake.lose_flags = tw_rng_below(&r, 2) == 0;
        fake.lazy = tw_rng_below(&r, 2) == 0;
        both_ways(l, (size_t)tw_rng_below(&r, i % 10 == 0 ? 300000 : 9000), 1);
    }
    assert_true(l[0]->proof.rx_by_flag > 0);
    fake.lazy = false;
    pair_close(l);
}

/* Both directions out of step, some flags lost, everything late. */
static void test_random_traffic(void **state)
{
    (void)state;
    enum { N = 1500, MAX = 150000 };
    const char *s = getenv("TW_SEED");
    uint64_t seed = s != NULL ? strtoull(s, NULL, 0) : tw_clock_now_ns();
    printf("# TW_SEED=%llu\n", (unsigned long long)seed);
    tw_rng r = tw_rng_seed(seed);
    tw_link *l[2];
    tw_err err = {0};
    static uint8_t out[2][MAX], in[2][MAX];
    static size_t size[2][N];
    unsigned sent[2] = {0}, got[2] = {0};
    flag_open(l, true, true);
    fake.lazy = true;
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < N; k++)
            size[i][k] = (size_t)tw_rng_below(&r, k % 20 == 0 ? MAX : 3000);
    while (got[0] < N || got[1] < N) {
        unsigned i = (unsigned)tw_rng_below(&r, 2);
        fake.lose_flags = tw_rng_below(&r, 8) == 0;
        if (tw_link_tx_idle(l[i]) && sent[i] < N) {
            memset(out[i], (int)(sent[i] + i), size[i][sent[i]]);
            tw_link_send(l[i], 3, out[i], size[i][sent[i]]);
            sent[i]++;
        }
        if (tw_link_rx_idle(l[i]) && got[i] < N)
            tw_link_recv(l[i], 3, in[i], MAX, false);
        bool was = !tw_link_rx_idle(l[i]);
        if (tw_link_poll(l[i], &err) < 0)
            fail_msg("%s", err.msg);
        if (!was || !tw_link_rx_idle(l[i]))
            continue;
        size_t n = size[i ^ 1][got[i]];
        assert_int_equal(tw_link_rx_bytes(l[i]), n);
        for (size_t k = 0; k < n; k++)
            assert_int_equal(in[i][k], (uint8_t)(got[i] + (i ^ 1)));
        got[i]++;
    }
    assert_true(l[0]->proof.rx_by_flag > N / 4 && l[1]->proof.rx_by_flag > N / 4);
    pair_close(l);
}

/* The bytes are here before the flag: nothing is taken, nor is it before the immediate is. */
static void test_order(void **state)
{
    (void)state;
    tw_link *l[2];
    tw_err err = {0};
    uint8_t out[500], in[500];
    memset(out, 5, sizeof out);
    flag_open(l, false, true);
    fake.lazy = true;
    for (unsigned step = 0; step < 20; step++) {
        tw_verbs_link *v = (tw_verbs_link *)l[1];
        unsigned i = v->rx_data % SLOTS;
        uint32_t flag = 0;
        tw_link_send(l[0], 1, out, sizeof out);
        tw_link_recv(l[1], 1, in, sizeof in, true);
        while (!tw_link_rx_idle(l[1])) {
            memcpy(&flag, tw_verbs_flag_in(v, i), sizeof flag);
            bool came = flag == v->rx_data;
            bool was_due = v->n_arrived == 0 && (v->n_looks + 1) % VERBS_LOOKS == 0;
            assert_true(tw_link_poll(l[1], &err) >= 0);
            if (came)
                assert_true(tw_link_rx_idle(l[1])); /* at once */
            else if (!was_due)
                assert_false(tw_link_rx_idle(l[1]));
            if (!tw_link_tx_idle(l[0]) || !came)
                assert_true(tw_link_poll(l[0], &err) >= 0);
            (void)v->api->poll_cq(v->cq, NULL, 0); /* time passes */
        }
        assert_memory_equal(in, out, sizeof in);
    }
    fake.lazy = false;
    pair_close(l);
}

/* An adapter that writes the flag first hands out what was there before: why there is a table. The
 * message's own number and its checksum tell. */
static void test_wrong_order_is_found(void **state)
{
    (void)state;
    tw_link *l[2];
    tw_err err = {0};
    uint8_t out[500] = {1}, in[500];
    flag_open(l, true, true);
    both_ways(l, sizeof out, 2 * SLOTS);
    fake.lazy = true;
    fake.flag_first = true;
    int rc = 0;
    for (int i = 0; rc == 0 && i < 100; i++) {
        out[0]++;
        tw_link_send(l[0], 1, out, sizeof out);
        tw_link_recv(l[1], 1, in, sizeof in, true);
        rc = pair_carry(l, &err);
    }
    assert_true(rc == -EPROTO || rc == -EBADMSG);
    fake.lazy = false;
    pair_close(l);
}

/* A rank that sleeps is woken though nobody looks at its flags; one that is never woken sleeps
 * to its limit. */
static void test_sleep(void **state)
{
    (void)state;
    tw_link *l[2];
    tw_err err = {0};
    uint8_t out[100] = {42};
    flag_open(l, false, true);
    for (int i = 0; i < 200; i++) {
        sleeper s = {.l = l[1]};
        pthread_t t;
        assert_int_equal(pthread_create(&t, NULL, sleep_for_message, &s), 0);
        if (i % 4 == 0)
            usleep(1000); /* asleep by now, mostly; either way must work */
        out[1] = (uint8_t)i;
        tw_link_send(l[0], 1, out, sizeof out);
        while (!tw_link_tx_idle(l[0]))
            assert_true(tw_link_poll(l[0], &err) >= 0);
        pthread_join(t, NULL);
        assert_true(s.rc >= 0);
        assert_memory_equal(s.in, out, sizeof out);
        assert_int_equal(s.n_unwoken, 0);
    }
    pair_close(l);
}

/* Failures are still found, though the queue is asked less often. */
static void test_failures(void **state)
{
    (void)state;
    static const unsigned statuses[] = {TW_VERBS_REM_ACCESS_ERR, TW_VERBS_RETRY_EXC_ERR,
                                        TW_VERBS_RNR_RETRY_EXC_ERR};
    for (size_t k = 0; k < TW_ARRAY_LEN(statuses); k++) {
        tw_link *l[2];
        tw_err err = {0};
        uint8_t out[100] = {1}, in[100];
        flag_open(l, false, true);
        both_ways(l, 100, 5);
        fake_fail_write(1, statuses[k]);
        tw_link_send(l[0], 1, out, sizeof out);
        tw_link_recv(l[0], 1, in, sizeof in, true);
        int rc = 0;
        for (int i = 0; rc >= 0 && i < 2 * VERBS_LOOKS; i++)
            rc = tw_link_poll(l[0], &err);
        assert_int_equal(rc, tw_verbs_status_code(statuses[k]));
        assert_non_null(strstr(err.msg, "rank 1 ("));
        pair_close(l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_table, setup),
        cmocka_unit_test_setup(test_sizes, setup),
        cmocka_unit_test_setup(test_ping_pong, setup),
        cmocka_unit_test_setup(test_mixed, setup),
        cmocka_unit_test_setup(test_wrap_around, setup),
        cmocka_unit_test_setup(test_lost_flags, setup),
        cmocka_unit_test_setup(test_random_traffic, setup),
        cmocka_unit_test_setup(test_order, setup),
        cmocka_unit_test_setup(test_wrong_order_is_found, setup),
        cmocka_unit_test_setup(test_sleep, setup),
        cmocka_unit_test_setup(test_failures, setup),
    };
    return cmocka_run_group_tests(tests, make_sysfs, remove_sysfs);
}
