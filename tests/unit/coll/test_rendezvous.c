/* SPDX-License-Identifier: Apache-2.0 */
/* Who must not get in does not, who must does, and both learn why. */
#include "raw_caller.h"

#include <sys/resource.h>
#include <unistd.h>

enum { HALF_OPEN = 1000 };

static int sum_once(tw_coll *c, void *arg, tw_err *err)
{
    (void)arg;
    float x[3] = {1, 2, 3};
    return tw_coll_all_reduce(c, x, 3, err);
}

enum stranger { SILENT_AT_FIRST, KNOCKS };

/* Rank 0 waits; a stranger sends these bytes, after a knock or instead of one, and stops; he is
 * dropped, and the real one gets in. */
static void drop_then_join(enum stranger who, const uint8_t *token, uint8_t version, size_t n_bytes,
                           const void *bytes)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(4096);
    fixture_rank r[2];
    fixture_init(r, 2, TW_TRANSPORT_TCP, sum_once);
    start_rank(&r[0]);
    int fd = raw_connect(r[0].opts.port);
    if (who == KNOCKS) {
        const tw_proof_talk t = raw_talk(fd, token);
        raw_hello(&b, &t, 2, version);
        bytes = b.data;
        n_bytes = TW_MIN(n_bytes, b.len);
    }
    send_bytes(fd, bytes, n_bytes);
    shutdown(fd, SHUT_WR);
    wait_closed(fd);
    close(fd);
    start_rank(&r[1]);
    fixture_join(r, 2);
    expect_both_good(r, 2);
}

static void drop_bytes(const void *p, size_t n)
{
    drop_then_join(SILENT_AT_FIRST, NULL, 0, n, p);
}

static void test_garbage(void **state)
{
    (void)state;
    static const char http[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    uint8_t noise[5000];
    tw_rng rng = tw_rng_seed(fixture_seed());
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)tw_rng_u64(&rng);
    drop_bytes(http, sizeof http - 1);
    drop_bytes(noise, sizeof noise);
    drop_bytes("", 0);
}

static void test_truncated(void **state)
{
    (void)state;
    uint8_t knock[KNOCK_BYTES];
    raw_knock(knock);
    for (size_t cut = 1; cut < sizeof knock; cut += 14)
        drop_bytes(knock, cut);
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(4096);
    const tw_proof_talk any = {.token = fixture_token};
    raw_hello(&b, &any, 2, TW_FRAME_VERSION);
    for (size_t cut = 0; cut < b.len; cut += 11)
        drop_then_join(KNOCKS, fixture_token, TW_FRAME_VERSION, cut, NULL);
}

/* What strangers send: a wrong token, in our version and another; a first frame that is no knock; a
 * hello for another challenge. */
static void test_wrong_token_and_version(void **state)
{
    (void)state;
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(4096);
    uint8_t token[TW_TOKEN_BYTES] = {0};
    const tw_proof_talk other_talk = {.token = fixture_token};
    drop_then_join(KNOCKS, token, TW_FRAME_VERSION, SIZE_MAX, NULL);
    drop_then_join(KNOCKS, token, 99, SIZE_MAX, NULL);
    raw_hello(&b, &other_talk, 2, TW_FRAME_VERSION);
    drop_bytes(b.data, b.len);
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
    fixture_init(r, 2, TW_TRANSPORT_TCP, sum_once);
    start_rank(&r[0]);
    int fd = raw_connect(r[0].opts.port);
    const tw_proof_talk t = raw_talk(fd, fixture_token);
    raw_hello(&b, &t, 2, 99);
    send_bytes(fd, b.data, b.len);
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
    uint8_t knock[KNOCK_BYTES];
    raw_knock(knock);
    for (int i = 0; i < HALF_OPEN; i++) {
        fds[i] = raw_connect(r[0].opts.port);
        if (i % 2 == 1) /* half of them say the first words; who was dropped meanwhile cannot */
            (void)!send(fds[i], knock, sizeof knock, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    start_rank(&r[1]);
    fixture_join(r, 2);
    expect_both_good(r, 2);
    for (int i = 0; i < HALF_OPEN; i++)
        close(fds[i]);
}

/* One byte at a time is no way to hold a place: after 2 s the gate closes. */
static void drop_slow(bool has_knocked)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(4096);
    uint8_t knock[KNOCK_BYTES];
    fixture_rank r[2];
    fixture_init(r, 2, TW_TRANSPORT_TCP, sum_once);
    start_rank(&r[0]);
    int fd = raw_connect(r[0].opts.port);
    if (has_knocked) {
        const tw_proof_talk t = raw_talk(fd, fixture_token);
        raw_hello(&b, &t, 2, TW_FRAME_VERSION);
    } else {
        raw_knock(knock);
        assert_int_equal(tw_buf_append(&b, knock, sizeof knock), 0);
    }
    bool closed = false;
    for (size_t i = 0; i + 1 < b.len && !closed; i++) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        closed = poll(&p, 1, 200) == 1 || send(fd, b.data + i, 1, MSG_NOSIGNAL) != 1;
    }
    assert_true(closed);
    close(fd);
    start_rank(&r[1]);
    fixture_join(r, 2);
    expect_both_good(r, 2);
}

static void test_slow(void **state)
{
    (void)state;
    drop_slow(false);
    drop_slow(true);
}

static void test_duplicate_rank(void **state)
{
    (void)state;
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(4096);
    fixture_rank r[4];
    uint8_t welcome[TW_FRAME_CTL_BYTES + TW_FRAME_PROOF_BYTES];
    tw_err err = {0};
    fixture_init(r, 4, TW_TRANSPORT_TCP, sum_once);
    start_rank(&r[0]);
    /* One rank 1 is in; a second one is told so. */
    int fd = raw_connect(r[0].opts.port);
    const tw_proof_talk t = raw_talk(fd, fixture_token);
    raw_hello(&b, &t, 4, TW_FRAME_VERSION);
    send_bytes(fd, b.data, b.len);
    assert_int_equal(tw_sock_recv_all(fd, welcome, sizeof welcome, TW_NEVER_NS), 0);
    assert_int_equal(tw_proof_check(&t, TW_PROOF_LISTENER, b.data + b.len - TW_FRAME_PROOF_BYTES,
                                    TW_FRAME_PROOF_BYTES, welcome + TW_FRAME_CTL_BYTES, &err),
                     0);
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
        cmocka_unit_test(test_garbage),        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_wrong_token),    cmocka_unit_test(test_wrong_token_and_version),
        cmocka_unit_test(test_other_version),  cmocka_unit_test(test_half_open_flood),
        cmocka_unit_test(test_slow),           cmocka_unit_test(test_duplicate_rank),
        cmocka_unit_test(test_differing_fact), cmocka_unit_test(test_differing_options),
        cmocka_unit_test(test_missing_rank),   cmocka_unit_test(test_nobody_listens_afterwards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
