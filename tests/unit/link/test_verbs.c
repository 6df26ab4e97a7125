/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs link's data path over a fake library: bytes, credits, sleep, each failure's words. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/scope.h"
#include "link/verbs_inside.h"
#include "verbs_pair.h"

enum { BIG = 3 * 1024 * 1024 + 17 };

static int setup(void **state)
{
    (void)state;
    fake_reset();
    return 0;
}

static void both_ways(bool verify, bool lazy, size_t n, int n_rounds)
{
    tw_link *l[2];
    tw_err err = {0};
    uint8_t *out[2], *in[2];
    pair_open(l, verify);
    fake.lazy = lazy;
    for (size_t i = 0; i < 2; i++) {
        out[i] = tw_mem_alloc(n);
        in[i] = tw_mem_alloc(n);
        for (size_t k = 0; k < n; k++)
            out[i][k] = (uint8_t)(k * 7 + i + (k >> 9));
    }
    tw_mem_guard_begin();
    for (int round = 0; round < n_rounds; round++) {
        for (int i = 0; i < 2; i++) {
            memset(in[i], 0xee, n);
            tw_link_send(l[i], 1, out[i], n);
            tw_link_recv(l[i], 1, in[i], n, round != 1);
        }
        int rc = pair_carry(l, &err);
        if (rc != 0)
            fail_msg("%zu bytes: %s", n, err.msg);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(tw_link_rx_bytes(l[i]), n);
            assert_memory_equal(in[i], out[i ^ 1], n);
        }
    }
    tw_mem_guard_end();
    assert_int_equal(l[0]->tx_bytes, (uint64_t)n_rounds * (n + TW_FRAME_DATA_BYTES));
    assert_int_equal(l[0]->rx_msgs, n_rounds);
    for (int i = 0; i < 2; i++) {
        tw_mem_free(out[i]);
        tw_mem_free(in[i]);
    }
    pair_close(l);
    fake.lazy = false;
}

static void test_both_ways(void **state)
{
    (void)state;
    static const size_t sizes[] = {0,          1,         31,
                                   4096,       64 * 1024, SLOT_BYTES - TW_FRAME_DATA_BYTES,
                                   SLOT_BYTES, BIG};
    for (size_t i = 0; i < TW_ARRAY_LEN(sizes); i++)
        for (int k = 0; k < 4; k++)
            both_ways((k & 1) != 0, (k & 2) != 0, sizes[i], 3);
}

static void test_one_shot(void **state)
{
    (void)state;
    tw_link *l[2];
    tw_err err = {0};
    static uint8_t out[64 * 1024], in[64 * 1024];
    pair_open(l, false);
    fake.n_writes = 0;
    /* A ping-pong: each message is one write, and gives its slot back by the next one. */
    for (int i = 0; i < 100; i++) {
        tw_link_send(l[i & 1], 1, out, sizeof out);
        tw_link_recv(l[(i & 1) ^ 1], 1, in, sizeof in, true);
        assert_int_equal(pair_carry(l, &err), 0);
    }
    assert_int_equal(fake.n_writes, 100);
    /* One direction alone: one empty write for each half of the ring. */
    for (int i = 0; i < 8 * VERBS_GIVE_BACK; i++) {
        tw_link_send(l[0], 1, out, 100);
        tw_link_recv(l[1], 1, in, 100, true);
        assert_int_equal(pair_carry(l, &err), 0);
    }
    assert_in_range(fake.n_writes, 100 + 8 * VERBS_GIVE_BACK + 7, 100 + 8 * VERBS_GIVE_BACK + 8);
    pair_close(l);
}

/* Random sizes, both directions out of step, lazily carried: slots must never be overwritten. */
static void test_random_traffic(void **state)
{
    (void)state;
    const char *s = getenv("TW_SEED");
    uint64_t seed = s != NULL ? strtoull(s, NULL, 0) : tw_clock_now_ns();
    printf("# TW_SEED=%llu\n", (unsigned long long)seed);
    tw_rng r = tw_rng_seed(seed);
    enum { MAX = 300 * 1024, N = 300 };
    tw_link *l[2];
    tw_err err = {0};
    uint8_t *out[2], *in[2];
    unsigned sent[2] = {0}, got[2] = {0};
    size_t size[2][N];
    pair_open(l, true);
    fake.lazy = true;
    for (int i = 0; i < 2; i++) {
        out[i] = tw_mem_calloc(1, MAX);
        in[i] = tw_mem_calloc(1, MAX);
        for (int k = 0; k < N; k++)
            size[i][k] = (size_t)tw_rng_below(&r, k % 10 == 0 ? MAX : 9000);
    }
    while (got[0] < N || got[1] < N) {
        unsigned i = (unsigned)tw_rng_below(&r, 2);
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
    for (int i = 0; i < 2; i++) {
        tw_mem_free(out[i]);
        tw_mem_free(in[i]);
    }
    pair_close(l);
}

typedef struct fault_case {
    unsigned status;
    int code;
    const char *words[2];
} fault_case;

/* A write of rank 0 fails with a status: the words, and both ends end. */
static void fail_one(const fault_case *c)
{
    tw_link *l[2];
    tw_err err = {0};
    uint8_t out[100] = {1}, in[100];
    pair_open(l, false);
    fake.fail_write_in = 1;
    fake.fail_status = c->status;
    tw_link_send(l[0], 1, out, sizeof out);
    int rc = 0;
    /* The message was handed over; its failure shows when the next thing is done. */
    while (rc >= 0 && !tw_link_tx_idle(l[0]))
        rc = tw_link_poll(l[0], &err);
    if (rc >= 0) {
        tw_link_recv(l[0], 1, in, sizeof in, true);
        struct pollfd p;
        assert_false(l[0]->ops->arm(l[0], &p)); /* never sleep on a failure */
        rc = tw_link_poll(l[0], &err);
    }
    assert_int_equal(rc, c->code);
    assert_int_equal(err.code, c->code);
    assert_non_null(strstr(err.msg, "rank 1 (rdma 127.0.0.1 qp "));
    for (int i = 0; i < 2; i++)
        if (strstr(err.msg, c->words[i]) == NULL)
            fail_msg("wanted \"%s\" in: %s", c->words[i], err.msg);
    pair_close(l);
}

static void test_statuses(void **state)
{
    (void)state;
    static const fault_case cases[] = {
        {TW_VERBS_REM_ACCESS_ERR, -EACCES, {"remote access error", "no right to write"}},
        {TW_VERBS_RNR_RETRY_EXC_ERR, -EPROTO, {"receiver not ready", "no receive posted"}},
        {TW_VERBS_RETRY_EXC_ERR, -ECONNRESET, {"transport retry exceeded", "cable is gone"}},
        {TW_VERBS_FLUSH_ERR, -ECONNRESET, {"flushed", "queue pair had failed"}},
        {TW_VERBS_LOC_PROT_ERR, -EIO, {"local protection error", "send memory"}},
        {TW_VERBS_LOC_LEN_ERR, -EIO, {"local length error", "longer"}},
        {TW_VERBS_LOC_QP_OP_ERR, -EIO, {"queue pair operation", "rdma-core"}},
        {TW_VERBS_BAD_RESP_ERR, -EIO, {"bad response", "protocol"}},
        {TW_VERBS_REM_INV_REQ_ERR, -EPROTO, {"remote invalid request", "sizes"}},
        {TW_VERBS_REM_OP_ERR, -EIO, {"remote operation error", "peer's adapter"}},
        {TW_VERBS_FATAL_ERR, -EIO, {"fatal error", "kernel's log"}},
        {TW_VERBS_LOC_ACCESS_ERR, -EACCES, {"local access error", "no right"}},
        {22, -EIO, {"status 22", "vendor 0x51"}},
    };
    for (size_t i = 0; i < TW_ARRAY_LEN(cases); i++) {
        fake_reset();
        fail_one(&cases[i]);
    }
}

static void test_port_down(void **state)
{
    (void)state;
    static const fault_case c = {TW_VERBS_RETRY_EXC_ERR,
                                 -ECONNRESET,
                                 {"retry exceeded", "; our port fake0:1 is down"}};
    tw_link *l[2];
    tw_err err = {0};
    uint8_t in[1];
    pair_open(l, false);
    fake.fail_write_in = 1;
    fake.fail_status = c.status;
    fake.dev[0].ports[0].state = TW_VERBS_PORT_DOWN;
    tw_link_send(l[0], 1, "x", 1);
    int rc = tw_link_poll(l[0], &err);
    tw_link_recv(l[0], 1, in, 1, true);
    for (int i = 0; i < 3 && rc >= 0; i++)
        rc = tw_link_poll(l[0], &err);
    assert_int_equal(rc, c.code);
    for (int i = 0; i < 2; i++)
        assert_non_null(strstr(err.msg, c.words[i]));
    pair_close(l);
}

/* What the fake finds by itself: a key that is not the peer's breaks both ends. */
static void test_wrong_rkey(void **state)
{
    (void)state;
    tw_link *l[2];
    tw_err err[2] = {{0}};
    uint8_t in[2][100];
    pair_open(l, false);
    fake.wrong_rkey = true;
    tw_link_send(l[0], 1, in[0], 100);
    for (int i = 0; i < 2; i++)
        tw_link_recv(l[i], 1, in[i], 100, true);
    int rc[2] = {0};
    for (int k = 0; k < 10; k++)
        for (int i = 0; i < 2; i++)
            rc[i] = rc[i] < 0 ? rc[i] : tw_link_poll(l[i], &err[i]);
    assert_int_equal(rc[0], -EACCES);
    assert_non_null(strstr(err[0].msg, "remote access error"));
    assert_int_equal(rc[1], -ECONNRESET);
    assert_non_null(strstr(err[1].msg, "rank 0 ("));
    assert_non_null(strstr(err[1].msg, "flushed (receive"));
    pair_close(l);
}

static void test_overrun(void **state)
{
    (void)state;
    tw_link *l[2];
    tw_err err = {0};
    uint8_t in[100], out[100] = {0};
    fake.cq_limit = 3;
    pair_open(l, false);
    for (int i = 0; i < 4; i++) { /* rank 1 does not look */
        tw_link_send(l[0], 1, out, sizeof out);
        while (!tw_link_tx_idle(l[0]))
            assert_true(tw_link_poll(l[0], &err) >= 0);
    }
    tw_link_recv(l[1], 1, in, sizeof in, true);
    int rc = tw_link_poll(l[1], &err);
    assert_int_equal(rc, -EIO);
    assert_non_null(strstr(err.msg, "rank 0 ("));
    assert_non_null(strstr(err.msg, "completion queue failed (overrun)"));
    pair_close(l);
}

/* No receive posted again: the peer runs dry, is told so, and does not hang. */
static void test_no_receives(void **state)
{
    (void)state;
    tw_link *l[2];
    tw_err err = {0};
    uint8_t in[100], out[100] = {0};
    pair_open(l, false);
    fake.keep_recvs = true;
    int rc = 0;
    for (int i = 0; i < 1000 && rc == 0; i++) {
        for (int k = 0; k < 2; k++) {
            tw_link_send(l[k], 1, out, sizeof out);
            tw_link_recv(l[k], 1, in, sizeof in, true);
        }
        rc = pair_carry(l, &err);
    }
    assert_true(rc == -EPROTO || rc == -ECONNRESET);
    pair_close(l);
}

/* A write that lies about order or slots, from a peer of our own making. */
static void test_bad_immediates(void **state)
{
    (void)state;
    static const struct {
        tw_verbs_imm imm;
        const char *word;
    } cases[] = {
        {{TW_VERBS_DATA, 5, 0, 100}, "out of order"},
        {{TW_VERBS_DATA, 1, 60, 100}, "gave back more"},
        {{TW_VERBS_DATA, 1, 0, 0}, "not free"},
        {{TW_VERBS_DATA, 1, 0, SLOT_BYTES + 1}, "not free"},
        {{TW_VERBS_PROBE, 1, 0, 100}, "not free"},
        {{(enum tw_verbs_kind)3, 1, 0, 100}, "not free"},
    };
    for (size_t i = 0; i < TW_ARRAY_LEN(cases); i++) {
        tw_link *l[2];
        tw_err err = {0};
        uint8_t in[100];
        pair_open(l, false);
        tw_verbs_link *v = (tw_verbs_link *)l[0];
        tw_verbs_write w = {.p = v->part.arena,
                            .bytes = 100,
                            .lkey = v->part.lkey,
                            .rkey = v->peer_rkey,
                            .remote = v->peer_addr,
                            .imm = tw_verbs_imm_encode(&cases[i].imm)};
        assert_int_equal(fake_verbs_api.post_write(v->qp, &w), 0);
        v->n_unacked++;
        tw_link_recv(l[1], 1, in, sizeof in, true);
        assert_int_equal(tw_link_poll(l[1], &err), -EPROTO);
        if (strstr(err.msg, cases[i].word) == NULL)
            fail_msg("%zu: %s", i, err.msg);
        pair_close(l);
    }
}

/* A rank asleep on an armed queue is woken by a message, and by its peer's end; a rank that is
 * never woken sleeps to its limit. */
static void test_sleep(void **state)
{
    (void)state;
    tw_link *l[2];
    tw_err err = {0};
    uint8_t out[100] = {42};
    pair_open(l, false);
    for (int i = 0; i < 50; i++) {
        sleeper s = {.l = l[1]};
        pthread_t t;
        assert_int_equal(pthread_create(&t, NULL, sleep_for_message, &s), 0);
        if (i % 2 == 0)
            usleep(1000); /* asleep by now, mostly; either way must work */
        tw_link_send(l[0], 1, out, sizeof out);
        while (!tw_link_tx_idle(l[0]))
            assert_true(tw_link_poll(l[0], &err) >= 0);
        pthread_join(t, NULL);
        assert_true(s.rc >= 0);
        assert_int_equal(s.in[0], 42);
        assert_true(s.n_sleeps < 4);
        assert_int_equal(s.n_unwoken, 0);
    }
    sleeper s = {.l = l[1]};
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, sleep_for_message, &s), 0);
    tw_link_close(l[0]);
    pthread_join(t, NULL);
    assert_int_equal(s.rc, -ECONNRESET);
    assert_non_null(strstr(s.err.msg, "closed its data connection"));
    tw_link_close(l[1]);
    assert_int_equal(fake_n_handles(), 0);
    assert_int_equal(s.n_unwoken, 0);
}

/* What a peer sent before it closed still arrives, then the end is told. */
static void close_after_send(bool lazy)
{
    tw_link *l[2];
    tw_err err = {0};
    uint8_t out[100] = {42};
    pair_open(l, false);
    fake.lazy = lazy;
    tw_link_send(l[0], 1, out, sizeof out);
    while (!tw_link_tx_idle(l[0]))
        assert_true(tw_link_poll(l[0], &err) >= 0);
    tw_link_close(l[0]);
    sleeper s = {.l = l[1]};
    sleep_for_message(&s);
    assert_true(s.rc >= 0);
    assert_int_equal(s.in[0], 42);
    sleep_for_message(&s);
    assert_int_equal(s.rc, -ECONNRESET);
    /* Writing to it fails as well. */
    tw_link_send(l[1], 1, out, sizeof out);
    assert_true(tw_link_poll(l[1], &err) < 0);
    tw_link_close(l[1]);
    assert_int_equal(fake_n_handles(), 0);
}

static void test_closed_peer(void **state)
{
    (void)state;
    close_after_send(false);
    /* Handed over, and not on its way when the link is closed. */
    close_after_send(true);
}

static void test_proof(void **state)
{
    (void)state;
    tw_link *l[2];
    fake.dev[0].ports[0].mtu_code = 3;
    pair_open(l, false);
    const tw_link_proof *p = &l[0]->proof, *q = &l[1]->proof;
    assert_string_equal(l[0]->ops->name, "rdma");
    assert_string_equal(p->device, "fake0");
    assert_int_equal(p->port, 1);
    assert_int_equal(p->gid_index, 3);
    assert_string_equal(p->gid, "127.0.0.1");
    assert_int_equal(p->mtu, 1024);
    assert_int_equal(p->qpn, q->peer_qpn);
    assert_int_equal(q->qpn, p->peer_qpn);
    assert_int_equal(fake.last_path.gid_index, 3);
    assert_true(fake.last_path.is_ethernet);
    pair_close(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_both_ways, setup),
        cmocka_unit_test_setup(test_one_shot, setup),
        cmocka_unit_test_setup(test_random_traffic, setup),
        cmocka_unit_test_setup(test_statuses, setup),
        cmocka_unit_test_setup(test_port_down, setup),
        cmocka_unit_test_setup(test_wrong_rkey, setup),
        cmocka_unit_test_setup(test_overrun, setup),
        cmocka_unit_test_setup(test_no_receives, setup),
        cmocka_unit_test_setup(test_bad_immediates, setup),
        cmocka_unit_test_setup(test_sleep, setup),
        cmocka_unit_test_setup(test_closed_peer, setup),
        cmocka_unit_test_setup(test_proof, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
