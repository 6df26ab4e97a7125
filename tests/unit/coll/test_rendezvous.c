/* SPDX-License-Identifier: Apache-2.0 */
/* Who must not get in does not, who must does, and both learn why. */
#include "group_fixture.h"

#include <errno.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/scope.h"
#include "fmt/frame.h"

enum { HALF_OPEN = 1000 };

static int sum_once(tw_coll *c, void *arg, tw_err *err)
{
    (void)arg;
    float x[3] = {1, 2, 3};
    return tw_coll_all_reduce(c, x, 3, err);
}

static int raw_connect(uint16_t port)
{
    int fd = -1;
    tw_err err = {0};
    if (tw_sock_connect("127.0.0.1", port, NULL, tw_clock_now_ns() + 10 * TW_NS_PER_S, &fd, &err) !=
        0)
        fail_msg("%s", err.msg);
    return fd;
}

/* A hello as rank 1 of 2 would send it. */
static void make_hello(tw_buf *b, const uint8_t *token, unsigned n_ranks)
{
    tw_frame_hello h = {.token = token,
                        .rank = 1,
                        .n_ranks = (uint8_t)n_ranks,
                        .transport = TW_TRANSPORT_TCP};
    h.me = (tw_frame_peer){.address = TW_STR(""), .host_id = TW_STR(""), .unix_name = TW_STR("")};
    assert_int_equal(tw_frame_hello_encode(b, &h), 0);
}

/* Reads until the other side closes. */
static void wait_closed(int fd)
{
    char c[512];
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, 60000), 1);
        ssize_t n = recv(fd, c, sizeof c, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN))
            return;
    }
}

static void start_rank(fixture_rank *r)
{
    assert_int_equal(pthread_create(&r->thread, NULL, fixture_run, r), 0);
}

/* Rank 0 waits; a stranger sends these bytes (and stops sending), is dropped; the real one gets in. */
static void drop_then_join(const void *p, size_t n)
{
    fixture_rank r[2];
    fixture_init(r, 2, TW_TRANSPORT_TCP, sum_once);
    start_rank(&r[0]);
    int fd = raw_connect(r[0].opts.port);
    assert_int_equal(tw_sock_send_all(fd, p, n, TW_NEVER_NS), 0);
    shutdown(fd, SHUT_WR);
    wait_closed(fd);
    close(fd);
    start_rank(&r[1]);
    fixture_join(r, 2);
    for (int i = 0; i < 2; i++)
        if (r[i].rc != 0)
            fail_msg("rank %d: %s", i, r[i].err.msg);
}

static void test_garbage(void **state)
{
    (void)state;
    static const char http[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    uint8_t noise[5000];
    tw_rng rng = tw_rng_seed(fixture_seed());
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)tw_rng_u64(&rng);
    drop_then_join(http, sizeof http - 1);
    drop_then_join(noise, sizeof noise);
    drop_then_join("", 0);
}

static void test_truncated_hello(void **state)
{
    (void)state;
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(4096);
    make_hello(&b, fixture_token, 2);
    for (size_t cut = 1; cut < b.len; cut += 11)
        drop_then_join(b.data, cut);
}

static void test_wrong_token_and_version(void **state)
{
    (void)state;
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(4096);
    uint8_t token[TW_TOKEN_BYTES] = {0};
    make_hello(&b, token, 2);
    drop_then_join(b.data, b.len);
    b.data[4] = 99; /* version */
    drop_then_join(b.data, b.len);
}

static void test_wrong_token(void **state)
{
    (void)state;
    for (size_t i = 0; i < TW_TOKEN_BYTES; i += TW_TOKEN_BYTES - 1) {
        fixture_rank r[3];
        uint8_t token[TW_TOKEN_BYTES];
        memcpy(token, fixture_token, sizeof token);
        token[i] ^= 1;
        fixture_init(r, 2, TW_TRANSPORT_TCP, sum_once);
        r[2] = r[1];
        r[2].opts.token = token;
        start_rank(&r[0]);
        start_rank(&r[2]);
        pthread_join(r[2].thread, NULL);
        assert_int_equal(r[2].rc, -ECONNREFUSED);
        assert_non_null(strstr(r[2].err.msg, "token"));
        start_rank(&r[1]);
        fixture_join(r, 2);
        assert_int_equal(r[0].rc, 0);
        assert_int_equal(r[1].rc, 0);
    }
}

static void test_other_version(void **state)
{
    (void)state;
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(4096);
    fixture_rank r[2];
    char text[200], reply[512];
    uint8_t rank;
    make_hello(&b, fixture_token, 2);
    b.data[4] = 99;
    fixture_init(r, 2, TW_TRANSPORT_TCP, sum_once);
    start_rank(&r[0]);
    int fd = raw_connect(r[0].opts.port);
    assert_int_equal(tw_sock_send_all(fd, b.data, b.len, TW_NEVER_NS), 0);
    pthread_join(r[0].thread, NULL);
    assert_int_equal(r[0].rc, -EPROTO);
    assert_non_null(strstr(r[0].err.msg, "protocol version 99"));
    ssize_t n = recv(fd, reply, sizeof reply, 0);
    assert_true(n > TW_FRAME_CTL_BYTES);
    assert_int_equal(tw_frame_text_decode((uint8_t *)reply + TW_FRAME_CTL_BYTES,
                                          (size_t)n - TW_FRAME_CTL_BYTES, &rank, text, sizeof text),
                     0);
    assert_non_null(strstr(text, "protocol version 99"));
    close(fd);
}

static void test_half_open_flood(void **state)
{
    (void)state;
    static int fds[HALF_OPEN];
    struct rlimit lim;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &lim), 0);
    struct rlimit more = {TW_MIN(lim.rlim_max, 4096), lim.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &more), 0);
    fixture_rank r[2];
    fixture_init(r, 2, TW_TRANSPORT_TCP, sum_once);
    /* A short queue would only slow the flood down. */
    assert_int_equal(listen(r[0].opts.listen_fd, HALF_OPEN), 0);
    start_rank(&r[0]);
    for (int i = 0; i < HALF_OPEN; i++)
        fds[i] = raw_connect(r[0].opts.port);
    start_rank(&r[1]);
    fixture_join(r, 2);
    for (int i = 0; i < 2; i++)
        if (r[i].rc != 0)
            fail_msg("rank %d: %s", i, r[i].err.msg);
    for (int i = 0; i < HALF_OPEN; i++)
        close(fds[i]);
}

/* One byte at a time is no way to hold a place: after 2 s the gate closes. */
static void test_slow_hello(void **state)
{
    (void)state;
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(4096);
    fixture_rank r[2];
    make_hello(&b, fixture_token, 2);
    fixture_init(r, 2, TW_TRANSPORT_TCP, sum_once);
    start_rank(&r[0]);
    int fd = raw_connect(r[0].opts.port);
    bool closed = false;
    for (size_t i = 0; i + 1 < b.len && !closed; i++) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        closed = poll(&p, 1, 200) == 1 || send(fd, b.data + i, 1, MSG_NOSIGNAL) != 1;
    }
    assert_true(closed);
    close(fd);
    start_rank(&r[1]);
    fixture_join(r, 2);
    assert_int_equal(r[0].rc, 0);
    assert_int_equal(r[1].rc, 0);
}

static void test_duplicate_rank(void **state)
{
    (void)state;
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(4096);
    fixture_rank r[4];
    uint8_t welcome[TW_FRAME_CTL_BYTES];
    fixture_init(r, 4, TW_TRANSPORT_TCP, sum_once);
    start_rank(&r[0]);
    /* One rank 1 is in; a second one is told so. */
    make_hello(&b, fixture_token, 4);
    int fd = raw_connect(r[0].opts.port);
    assert_int_equal(tw_sock_send_all(fd, b.data, b.len, TW_NEVER_NS), 0);
    assert_int_equal(tw_sock_recv_all(fd, welcome, sizeof welcome, TW_NEVER_NS), 0);
    start_rank(&r[1]);
    pthread_join(r[1].thread, NULL);
    assert_int_equal(r[1].rc, -ECONNREFUSED);
    assert_non_null(strstr(r[1].err.msg, "rank 1 is here already"));
    /* The first one goes away: his place is free again, and the group forms. */
    close(fd);
    for (int i = 1; i < 4; i++)
        start_rank(&r[i]);
    fixture_join(r, 4);
    for (int i = 0; i < 4; i++)
        if (r[i].rc != 0)
            fail_msg("rank %d: %s", i, r[i].err.msg);
}

static void test_differing_fact(void **state)
{
    (void)state;
    const tw_coll_fact ours[] = {{"context", "4096", false},
                                 {"model id", "77c0", false},
                                 {"build id", "abc", true}};
    const tw_coll_fact theirs[] = {{"context", "4096", false},
                                   {"model id", "3f2a", false},
                                   {"build id", "def", true}};
    fixture_rank r[2];
    fixture_init(r, 2, TW_TRANSPORT_TCP, sum_once);
    r[0].opts.facts = ours;
    r[1].opts.facts = theirs;
    r[0].opts.n_facts = r[1].opts.n_facts = 3;
    fixture_start(r, 2);
    fixture_join(r, 2);
    for (int i = 0; i < 2; i++) {
        assert_true(r[i].rc < 0 && !r[i].opened);
        if (strstr(r[i].err.msg, "rank 1 has model id 3f2a, rank 0 has 77c0") == NULL)
            fail_msg("rank %d: %s", i, r[i].err.msg);
    }
    /* A fact that only one side has; one that is only reported. */
    for (unsigned k = 0; k < 2; k++) {
        fixture_init(r, 2, TW_TRANSPORT_TCP, sum_once);
        r[k].opts.facts = ours;
        r[k].opts.n_facts = 1;
        fixture_start(r, 2);
        fixture_join(r, 2);
        assert_non_null(strstr(r[0].err.msg, "context"));
        assert_non_null(strstr(r[1].err.msg, "(none)"));
        fixture_init(r, 2, TW_TRANSPORT_TCP, sum_once);
        r[0].opts.facts = &ours[2];
        r[1].opts.facts = &theirs[2];
        r[k].opts.n_facts = 1;
        fixture_all_good(r, 2);
    }
}

static void test_differing_options(void **state)
{
    (void)state;
    fixture_rank r[2];
    fixture_init(r, 2, TW_TRANSPORT_TCP, sum_once);
    r[1].opts.verify = true;
    fixture_start(r, 2);
    fixture_join(r, 2);
    assert_non_null(strstr(r[0].err.msg, "rank 1 has verify on, rank 0 has off"));
    assert_non_null(strstr(r[1].err.msg, "rank 1 has verify on, rank 0 has off"));
    fixture_init(r, 2, TW_TRANSPORT_TCP, sum_once);
    r[1].opts.transport = TW_TRANSPORT_SHM;
    fixture_start(r, 2);
    fixture_join(r, 2);
    assert_non_null(strstr(r[1].err.msg, "rank 1 has transport shm, rank 0 has tcp"));
}

static void test_missing_rank(void **state)
{
    (void)state;
    fixture_rank r[4];
    /* On a busy machine the others may take longer than the time that is given to all. */
    for (unsigned tenths = 3; tenths < 1000; tenths *= 4) {
        char want[64];
        snprintf(want, sizeof want, "rank 3 did not come within %u.%u s", tenths / 10, tenths % 10);
        fixture_init(r, 4, TW_TRANSPORT_TCP, sum_once);
        r[0].opts.rendezvous_ns = tenths * 100 * TW_NS_PER_MS;
        fixture_start(r, 3);
        fixture_join(r, 3);
        assert_int_equal(r[0].rc, -ETIMEDOUT);
        unsigned n_named = 0;
        for (int i = 0; i < 3; i++)
            n_named += strstr(r[i].err.msg, want) != NULL;
        if (n_named == 3)
            break;
        if (tenths > 100 || strstr(r[0].err.msg, "rank 3") != NULL)
            fail_msg("\n# %s\n# %s\n# %s", r[0].err.msg, r[1].err.msg, r[2].err.msg);
    }
    /* And nobody at all at rank 0's address. */
    r[1].opts.rendezvous_ns = 50 * TW_NS_PER_MS;
    r[1].opts.n_ranks = 2;
    start_rank(&r[1]);
    pthread_join(r[1].thread, NULL);
    assert_true(r[1].rc < 0);
    assert_non_null(strstr(r[1].err.msg, "rank 0"));
}

static int nobody_listens(tw_coll *c, void *arg, tw_err *err)
{
    uint16_t port = *(uint16_t *)arg;
    int fd = -1, rc = sum_once(c, NULL, err);
    if (rc == 0 && tw_sock_connect("127.0.0.1", port, NULL, tw_clock_now_ns(), &fd, err) == 0)
        rc = tw_err_set(err, -EILSEQ, "somebody listens after the rendezvous");
    if (fd >= 0)
        close(fd);
    return rc != 0 ? rc : sum_once(c, NULL, err);
}

static void test_nobody_listens_afterwards(void **state)
{
    (void)state;
    fixture_rank r[2];
    fixture_init(r, 2, TW_TRANSPORT_AUTO, nobody_listens);
    uint16_t port = r[0].opts.port;
    r[0].arg = r[1].arg = &port;
    fixture_all_good(r, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_garbage),        cmocka_unit_test(test_truncated_hello),
        cmocka_unit_test(test_wrong_token),    cmocka_unit_test(test_wrong_token_and_version),
        cmocka_unit_test(test_other_version),  cmocka_unit_test(test_half_open_flood),
        cmocka_unit_test(test_slow_hello),     cmocka_unit_test(test_duplicate_rank),
        cmocka_unit_test(test_differing_fact), cmocka_unit_test(test_differing_options),
        cmocka_unit_test(test_missing_rank),   cmocka_unit_test(test_nobody_listens_afterwards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
