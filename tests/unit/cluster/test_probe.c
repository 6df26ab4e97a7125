/* SPDX-License-Identifier: Apache-2.0 */
/* Both ends of a measurement on loopback: numbers, refusals, ends. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "cluster/probe.h"
#include "os/sock.h"

#define WINDOW_NS (200 * TW_NS_PER_MS) /* a busy machine may leave a thread alone for long */

typedef struct server {
    pthread_t thread;
    int fd, rc;
    uint16_t port;
    uint64_t accept_ns;
    uint8_t token[TW_PROBE_TOKEN_BYTES];
    atomic_bool stop;
    tw_err err;
} server;

static bool is_stopped(void *ctx)
{
    return atomic_load((atomic_bool *)ctx);
}

static void *serve(void *arg)
{
    server *s = arg;
    s->rc = tw_probe_serve(s->fd, s->token, s->accept_ns,
                           (tw_probe_stop){.asked = is_stopped, .ctx = &s->stop}, &s->err);
    return NULL;
}

static void start(server *s)
{
    *s = (server){.accept_ns = 20 * TW_NS_PER_S};
    tw_err err = {0};
    memset(s->token, 0x42, sizeof s->token);
    assert_int_equal(tw_probe_listen("127.0.0.1", 0, &s->fd, &s->port, &err), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static int join(server *s)
{
    pthread_join(s->thread, NULL);
    return s->rc;
}

static int try_connect(const server *s, const uint8_t *token, tw_probe **ret, tw_err *err)
{
    tw_probe_to to = {.ip = "127.0.0.1",
                      .bind_ip = "127.0.0.1",
                      .port = s->port,
                      .token = token,
                      .n_streams = 2,
                      .limit_ns = 10 * TW_NS_PER_S};
    return tw_probe_connect(&to, ret, err);
}

static tw_probe *connect_to(const server *s)
{
    tw_probe *p = NULL;
    tw_err err = {0};
    int rc = try_connect(s, s->token, &p, &err);
    if (rc != 0)
        fail_msg("%s", err.msg);
    return p;
}

static void measure(tw_probe *p)
{
    tw_err err = {0};
    double to = 0, from = 0;
    for (int wait = 0; wait < TW_PROBE_WAITS; wait++) {
        tw_probe_lat l = {0};
        assert_int_equal(tw_probe_ping(p, (enum tw_probe_wait)wait, 8192, TW_NS_PER_MS, &l, &err),
                         0);
        assert_int_equal(l.bytes, 8192);
        assert_true(l.n >= 20 && l.min_us > 0 && l.min_us <= l.p50_us && l.p50_us <= l.p99_us);
    }
    assert_int_equal(tw_probe_flood(p, true, false, WINDOW_NS, &to, &from, &err), 0);
    assert_true(to > 0 && from <= 0);
    assert_int_equal(tw_probe_flood(p, false, true, WINDOW_NS, &to, &from, &err), 0);
    assert_true(to <= 0 && from > 0);
    assert_int_equal(tw_probe_flood(p, true, true, WINDOW_NS, &to, &from, &err), 0);
    assert_true(to > 0 && from > 0);
    assert_true(tw_probe_bytes(p) > 2 * 8192 * 20);
}

static void test_sockets(void **state)
{
    (void)state;
    server s;
    start(&s);
    tw_probe *p = connect_to(&s);
    measure(p);
    tw_probe_close(p);
    assert_int_equal(join(&s), 0);
}

static void test_link(void **state)
{
    (void)state;
    server s;
    char text[64] = "";
    tw_err err = {0};
    start(&s);
    tw_probe *p = connect_to(&s);
    assert_int_equal(tw_probe_link_open(p, TW_PROBE_LINK_TCP, text, sizeof text, &err), 0);
    assert_string_equal(text, "lo");
    measure(p);
    tw_probe_close(p);
    assert_int_equal(join(&s), 0);
}

/* Without a device both ends say so, and the plain sockets still work. */
static void test_no_rdma(void **state)
{
    (void)state;
    server s;
    char text[64] = "";
    tw_err err = {0};
    if (access("/sys/class/infiniband", F_OK) == 0) {
        print_message("# skipped: this machine has RDMA\n");
        return;
    }
    start(&s);
    tw_probe *p = connect_to(&s);
    assert_int_equal(tw_probe_link_open(p, TW_PROBE_LINK_VERBS, text, sizeof text, &err),
                     -EOPNOTSUPP);
    assert_true(strlen(err.msg) > 10);
    measure(p);
    tw_probe_close(p);
    assert_int_equal(join(&s), 0);
}

static void test_wrong_token_then_right(void **state)
{
    (void)state;
    server s;
    tw_probe *p = NULL;
    tw_err err = {0};
    start(&s);
    uint8_t wrong[TW_PROBE_TOKEN_BYTES];
    memcpy(wrong, s.token, sizeof wrong);
    wrong[31] ^= 1;
    assert_int_equal(try_connect(&s, wrong, &p, &err), -EACCES);
    assert_non_null(strstr(err.msg, "refused our token"));
    p = connect_to(&s);
    tw_probe_close(p);
    assert_int_equal(join(&s), 0);
}

/* Connections that say nothing, or garbage, do not keep the peer out. */
static void test_half_open_guests(void **state)
{
    (void)state;
    enum { GUESTS = 100 };
    static const char garbage[] = "GET / HTTP/1.1\r\nHost: somewhere\r\nAccept: */*\r\n\r\n";
    int fds[GUESTS];
    server s;
    tw_err err = {0};
    start(&s);
    for (int i = 0; i < GUESTS; i++) {
        assert_int_equal(tw_sock_connect("127.0.0.1", s.port, NULL,
                                         tw_clock_now_ns() + 10 * TW_NS_PER_S, &fds[i], &err),
                         0);
        if (i % 3 == 1)
            (void)!send(fds[i], garbage, sizeof garbage - 1, MSG_NOSIGNAL);
        if (i % 3 == 2)
            (void)!send(fds[i], "TWPROBE1", 8, MSG_NOSIGNAL);
    }
    tw_probe *p = connect_to(&s);
    tw_probe_close(p);
    assert_int_equal(join(&s), 0);
    for (int i = 0; i < GUESTS; i++)
        close(fds[i]);
}

static void test_nobody_comes(void **state)
{
    (void)state;
    server s = {.accept_ns = 30 * TW_NS_PER_MS};
    tw_err err = {0};
    assert_int_equal(tw_probe_listen("127.0.0.1", 0, &s.fd, &s.port, &err), 0);
    serve(&s);
    assert_int_equal(s.rc, -ETIMEDOUT);
    assert_non_null(strstr(s.err.msg, "no peer with our token"));
}

static void test_nothing_listens_afterwards(void **state)
{
    (void)state;
    server s;
    tw_err err = {0};
    int fd = -1;
    start(&s);
    tw_probe *p = connect_to(&s);
    tw_probe_lat l; /* an answer: so the door is closed */
    assert_int_equal(tw_probe_ping(p, TW_PROBE_SLEEP, 2, 1, &l, &err), 0);
    assert_int_equal(tw_sock_connect("127.0.0.1", s.port, NULL,
                                     tw_clock_now_ns() + 20 * TW_NS_PER_MS, &fd, &err),
                     -ECONNREFUSED);
    tw_probe_close(p);
    assert_int_equal(join(&s), 0);
}

static void test_stop(void **state)
{
    (void)state;
    server s;
    tw_err err = {0};
    tw_probe_lat l;
    start(&s);
    tw_probe *p = connect_to(&s);
    atomic_store(&s.stop, true);
    assert_int_equal(join(&s), -ECANCELED);
    assert_true(tw_probe_ping(p, TW_PROBE_SLEEP, 2, TW_NS_PER_S, &l, &err) < 0);
    assert_non_null(strstr(err.msg, "closed the connection"));
    tw_probe_close(p);

    start(&s); /* while it waits for somebody */
    atomic_store(&s.stop, true);
    assert_int_equal(join(&s), -ECANCELED);
}

static void test_every_address_is_refused(void **state)
{
    (void)state;
    static const char *const wild[] = {"0.0.0.0",        "::",      "0", "::0", "0:0::0",
                                       "::ffff:0.0.0.0", "00.0.0.0"};
    for (size_t i = 0; i < sizeof wild / sizeof wild[0]; i++) {
        int fd = -1;
        uint16_t port;
        tw_err err = {0};
        if (tw_probe_listen(wild[i], 0, &fd, &port, &err) >= 0)
            fail_msg("%s: listens", wild[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sockets),
        cmocka_unit_test(test_link),
        cmocka_unit_test(test_no_rdma),
        cmocka_unit_test(test_wrong_token_then_right),
        cmocka_unit_test(test_half_open_guests),
        cmocka_unit_test(test_nobody_comes),
        cmocka_unit_test(test_nothing_listens_afterwards),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_every_address_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
