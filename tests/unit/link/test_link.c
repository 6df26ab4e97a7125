/* SPDX-License-Identifier: Apache-2.0 */
/* Messages over real transports: order, checks, closed peers, damage. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "link/crc32c.h"
#include "link/fault.h"
#include "link/link.h"
#include "link_pair.h"
#include "os/sock.h"

enum { BIG = 3 * 1024 * 1024 + 17 };

static void make_tcp(tw_link *ret[2], bool verify)
{
    int fds[2];
    tw_err err = {0};
    pair_sockets(fds);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(tw_link_tcp_new(fds[i], (uint8_t)i, (uint8_t)(i ^ 1), verify, &ret[i],
                                         &err),
                         0);
}

static void make_shm(tw_link *ret[2], bool verify)
{
    int fds[2], memfd = -1;
    tw_err err = {0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    assert_int_equal(tw_link_shm_make(&memfd, &err), 0);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(tw_link_shm_new(i == 0 ? dup(memfd) : memfd, fds[i], i, (uint8_t)i,
                                         (uint8_t)(i ^ 1), verify, &ret[i], &err),
                         0);
}

static void make_links(bool shm, tw_link *ret[2], bool verify)
{
    if (shm)
        make_shm(ret, verify);
    else
        make_tcp(ret, verify);
}

static void close_links(tw_link *l[2])
{
    tw_link_close(l[0]);
    tw_link_close(l[1]);
}

static void both_ways(bool shm, bool verify, size_t n)
{
    tw_link *l[2];
    tw_err err = {0};
    uint8_t *out[2], *in[2];
    make_links(shm, l, verify);
    for (size_t i = 0; i < 2; i++) {
        out[i] = tw_mem_alloc(n);
        in[i] = tw_mem_alloc(n);
        for (size_t k = 0; k < n; k++)
            out[i][k] = (uint8_t)(k * 7 + i + (k >> 9));
    }
    tw_mem_guard_begin();
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 2; i++) {
            tw_link_send(l[i], 1, out[i], n);
            tw_link_recv(l[i], 1, in[i], n, round != 1);
        }
        int rc = pair_carry(l, &err);
        if (rc != 0)
            fail_msg("%s", err.msg);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(tw_link_rx_bytes(l[i]), n);
            assert_memory_equal(in[i], out[i ^ 1], n);
        }
    }
    tw_mem_guard_end();
    assert_int_equal(l[0]->tx_bytes, 3 * (n + TW_FRAME_DATA_BYTES));
    assert_int_equal(l[0]->rx_msgs, 3);
    for (int i = 0; i < 2; i++) {
        tw_mem_free(out[i]);
        tw_mem_free(in[i]);
    }
    close_links(l);
}

static void test_both_ways(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 31, 4096, BIG};
    for (size_t i = 0; i < TW_ARRAY_LEN(sizes); i++)
        for (int k = 0; k < 4; k++)
            both_ways((k & 1) != 0, (k & 2) != 0, sizes[i]);
}

/* A sink that takes what it likes: nothing at times, single bytes, all. */
struct taker {
    uint8_t *to;
    size_t n, n_calls;
    const tw_link *sending; /* takes no more than is sent on it; NULL: no bound */
};

static size_t take_some(void *ctx, const void *p, size_t bytes)
{
    struct taker *t = ctx;
    size_t n = t->n_calls++ % 5 == 0 ? TW_MIN(bytes, (size_t)3) : bytes;
    if (t->sending != NULL)
        n = TW_MIN(n, tw_link_tx_done(t->sending) - t->n);
    memcpy(t->to + t->n, p, n);
    t->n += n;
    return n;
}

static void through_sinks(bool shm, bool fault, size_t n, size_t room)
{
    tw_link *l[2];
    tw_err err = {0};
    uint8_t *out[2], *in[2], *space[2];
    const tw_link_fault harmless = {.flip_rx_at = TW_FAULT_NEVER, .cut_rx_at = TW_FAULT_NEVER};
    make_links(shm, l, false);
    if (fault)
        assert_int_equal(tw_link_fault_new(l[1], &harmless, &l[1], &err), 0);
    for (size_t i = 0; i < 2; i++) {
        out[i] = tw_mem_alloc(n + 1);
        in[i] = tw_mem_alloc(n + 1);
        space[i] = tw_mem_alloc(room);
        for (size_t k = 0; k < n; k++)
            out[i][k] = (uint8_t)(k * 11 + i + (k >> 8));
    }
    tw_mem_guard_begin();
    for (int round = 0; round < 3; round++) {
        struct taker t[2] = {{.to = in[0], .sending = l[0]}, {.to = in[1], .sending = l[1]}};
        for (int i = 0; i < 2; i++) {
            tw_link_send(l[i], 1, out[i], n);
            tw_link_recv_sink(l[i], 1, n, space[i], room, take_some, &t[i]);
        }
        int rc = pair_carry(l, &err);
        if (rc != 0)
            fail_msg("shm %d, %zu bytes, room %zu: %d %s", shm, n, room, rc, err.msg);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(t[i].n, n);
            assert_memory_equal(in[i], out[i ^ 1], n);
        }
    }
    tw_mem_guard_end();
    assert_int_equal(l[0]->rx_bytes, 3 * (n + TW_FRAME_DATA_BYTES));
    for (int i = 0; i < 2; i++) {
        tw_mem_free(out[i]);
        tw_mem_free(in[i]);
        tw_mem_free(space[i]);
    }
    close_links(l);
}

static void test_sink(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 33, 5000, BIG}, rooms[] = {7, 4096, 300000};
    for (size_t i = 0; i < TW_ARRAY_LEN(sizes); i++)
        for (size_t k = 0; k < TW_ARRAY_LEN(rooms); k++)
            for (int how = 0; how < 4; how++)
                if (sizes[i] < BIG || rooms[k] > 7)
                    through_sinks((how & 1) != 0, (how & 2) != 0, sizes[i], rooms[k]);
}

static size_t take_fours(void *ctx, const void *p, size_t bytes)
{
    size_t *n = ctx;
    (void)p;
    *n += bytes / 4 * 4;
    return bytes / 4 * 4;
}

/* Segments end at any byte (an MTU of 1450 gives 1398 of payload): who sleeps on a part of a number
 * must wake when the rest comes. */
static void test_sink_sleeps_on_a_part(void **state)
{
    enum { N = 400 };
    int fds[2];
    tw_link *l = NULL;
    tw_err err = {0};
    size_t n = 0;
    uint8_t msg[TW_FRAME_DATA_BYTES + N] = {0}, space[N];
    const tw_frame_data f = {.op = 1, .from = 0, .bytes = N};
    (void)state;
    pair_sockets(fds);
    assert_int_equal(tw_link_tcp_new(fds[1], 1, 0, false, &l, &err), 0);
    tw_frame_data_encode(&f, msg);
    tw_link_recv_sink(l, 1, N, space, sizeof space, take_fours, &n);
    for (size_t at = 0, part = TW_FRAME_DATA_BYTES + 7; at < sizeof msg; at += part, part = 1) {
        struct pollfd p;
        assert_int_equal(tw_sock_send_all(fds[0], msg + at, part, TW_NEVER_NS), 0);
        assert_true(l->ops->arm(l, &p));
        assert_int_equal(poll(&p, 1, 10000), 1);
        assert_int_equal(tw_link_poll(l, &err), 1);
    }
    assert_true(tw_link_rx_idle(l));
    assert_int_equal(n, N);
    tw_link_close(l);
    close(fds[0]);
}

/* What was taken in place counts as moved, though nothing more is there. */
static void test_sink_tells_progress(void **state)
{
    tw_link *l[2];
    tw_err err = {0};
    size_t n = 0;
    uint8_t out[200000] = {1}, space[8];
    (void)state;
    make_shm(l, false);
    tw_link_send(l[0], 1, out, sizeof out);
    tw_link_recv_sink(l[1], 1, sizeof out, space, sizeof space, take_fours, &n);
    assert_int_equal(tw_link_poll(l[0], &err), 1);
    assert_int_equal(tw_link_poll(l[1], &err), 1); /* the head, and what came with it */
    size_t before = n;
    assert_int_equal(tw_link_poll(l[0], &err), 1);
    assert_int_equal(tw_link_poll(l[1], &err), 1);
    assert_true(n > before && n < sizeof out);
    close_links(l);
}

static void test_flipped_byte(void **state)
{
    (void)state;
    enum { N = 1000 };
    /* With verify every byte of head and payload counts. */
    for (uint64_t at = 0; at < TW_FRAME_DATA_BYTES + N; at += 13) {
        tw_link *l[2];
        tw_err err = {0};
        uint8_t out[N] = {1}, in[N];
        tw_link_fault fault = {.flip_rx_at = at, .cut_rx_at = TW_FAULT_NEVER};
        make_tcp(l, true);
        assert_int_equal(tw_link_fault_new(l[1], &fault, &l[1], &err), 0);
        tw_link_send(l[0], 1, out, N);
        tw_link_recv(l[1], 1, in, N, true);
        int rc = pair_carry(l, &err);
        assert_true(rc == -EBADMSG || (rc == -EPROTO && at < TW_FRAME_DATA_BYTES));
        assert_non_null(strstr(err.msg, "rank 0 ("));
        if (at >= TW_FRAME_DATA_BYTES)
            assert_non_null(strstr(err.msg, "checksum"));
        close_links(l);
    }
}

static void test_cut_and_late(void **state)
{
    (void)state;
    for (int shm = 0; shm < 2; shm++) {
        tw_link *l[2];
        tw_err err = {0};
        uint8_t out[100] = {1}, in[100];
        tw_link_fault fault = {.flip_rx_at = TW_FAULT_NEVER, .cut_rx_at = 132 + 50, .delay_rx = 9};
        make_links(shm != 0, l, false);
        assert_int_equal(tw_link_fault_new(l[1], &fault, &l[1], &err), 0);
        for (int i = 0; i < 2; i++) {
            tw_link_send(l[0], 1, out, sizeof out);
            tw_link_recv(l[1], 1, in, sizeof in, true);
            assert_int_equal(pair_carry(l, &err), i == 0 ? 0 : -ECONNRESET);
        }
        assert_non_null(strstr(err.msg, "rank 0 ("));
        close_links(l);
    }
}

/* A peer of our own making: these heads, byte for byte. */
static int receive_head(const tw_frame_data *f, tw_err *err)
{
    int fds[2];
    tw_link *l = NULL;
    uint8_t msg[TW_FRAME_DATA_BYTES + 16] = {0}, in[16];
    pair_sockets(fds);
    assert_int_equal(tw_link_tcp_new(fds[1], 1, 0, false, &l, err), 0);
    tw_frame_data_encode(f, msg);
    assert_int_equal(tw_sock_send_all(fds[0], msg, sizeof msg, TW_NEVER_NS), 0);
    tw_link_recv(l, 1, in, sizeof in, true);
    int rc = 0;
    while (rc >= 0 && !tw_link_rx_idle(l))
        rc = tw_link_poll(l, err);
    tw_link_close(l);
    close(fds[0]);
    return rc < 0 ? rc : 0;
}

static void test_unexpected_messages(void **state)
{
    (void)state;
    const tw_frame_data good = {.op = 1, .from = 0, .seq = 0, .bytes = 16};
    tw_err err = {0};
    tw_frame_data f = good;
    assert_int_equal(receive_head(&f, &err), 0);
    f.seq = 7;
    assert_int_equal(receive_head(&f, &err), -EPROTO);
    assert_non_null(strstr(err.msg, "as message 7"));
    assert_non_null(strstr(err.msg, "as message 0"));
    f = good;
    f.op = 2;
    assert_int_equal(receive_head(&f, &err), -EPROTO);
    f = good;
    f.bytes = 12;
    assert_int_equal(receive_head(&f, &err), -EPROTO);
    assert_non_null(strstr(err.msg, "12 bytes"));
    assert_non_null(strstr(err.msg, "16 bytes"));
    f = good;
    f.bytes = UINT64_MAX;
    assert_int_equal(receive_head(&f, &err), -EPROTO);
    f = good;
    f.from = 3;
    assert_int_equal(receive_head(&f, &err), -EPROTO);
    f = good;
    f.flags = TW_FRAME_CRC;
    assert_int_equal(receive_head(&f, &err), -EPROTO);
}

/* What a peer sent before it closed still arrives; then the end is told. */
static void test_closed_peer(void **state)
{
    (void)state;
    for (int shm = 0; shm < 2; shm++) {
        tw_link *l[2];
        tw_err err = {0};
        uint8_t out[100] = {42}, in[100] = {0};
        make_links(shm != 0, l, false);
        tw_link_send(l[0], 1, out, sizeof out);
        while (!tw_link_tx_idle(l[0]))
            assert_true(tw_link_poll(l[0], &err) >= 0);
        tw_link_close(l[0]);
        for (int i = 0; i < 2; i++) {
            int rc = 0;
            tw_link_recv(l[1], 1, in, sizeof in, true);
            while (rc >= 0 && !tw_link_rx_idle(l[1])) {
                struct pollfd p;
                if (l[1]->ops->arm(l[1], &p)) {
                    assert_int_equal(poll(&p, 1, 10000), 1);
                    l[1]->ops->disarm(l[1], p.revents);
                }
                rc = tw_link_poll(l[1], &err);
            }
            if (i == 0)
                assert_int_equal(in[0], 42);
            else
                assert_int_equal(rc, -ECONNRESET);
        }
        assert_non_null(strstr(err.msg, "closed its data connection"));
        tw_link_close(l[1]);
    }
}

static void test_crc(void **state)
{
    (void)state;
    uint8_t ones[32], up[32];
    memset(ones, 0xff, sizeof ones);
    for (size_t i = 0; i < sizeof up; i++)
        up[i] = (uint8_t)i;
    /* RFC 3720, B.4 */
    assert_int_equal(tw_crc32c(0, (uint8_t[32]){0}, 32), 0x8a9136aa);
    assert_int_equal(tw_crc32c(0, ones, 32), 0x62a8ab43);
    assert_int_equal(tw_crc32c(0, up, 32), 0x46dd794e);
    for (size_t cut = 0; cut <= sizeof up; cut++)
        assert_int_equal(tw_crc32c(tw_crc32c(0, up, cut), up + cut, sizeof up - cut), 0x46dd794e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sink),
        cmocka_unit_test(test_sink_sleeps_on_a_part),
        cmocka_unit_test(test_sink_tells_progress),
        cmocka_unit_test(test_both_ways),
        cmocka_unit_test(test_flipped_byte),
        cmocka_unit_test(test_cut_and_late),
        cmocka_unit_test(test_unexpected_messages),
        cmocka_unit_test(test_closed_peer),
        cmocka_unit_test(test_crc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
