/* SPDX-License-Identifier: Apache-2.0 */
/* Whoever does not know the token can neither be rank 0 nor a rank, nor change what they say to each
 * other, though he sits on the wire: wrong tokens, repeated and reflected words, altered facts. */
#include "raw_caller.h"

#include <unistd.h>

static int sum_once(tw_coll *c, void *arg, tw_err *err)
{
    (void)arg;
    float x[3] = {1, 2, 3};
    return tw_coll_all_reduce(c, x, 3, err);
}

static void test_kinds_and_nonces_differ(void **state)
{
    (void)state;
    tw_err err = {0};
    uint8_t first[TW_FRAME_PROOF_BYTES], p[TW_FRAME_PROOF_BYTES];
    tw_proof_talk t = {.token = fixture_token};
    tw_proof_make(&t, TW_PROOF_CALLER, "facts", 5, first);
    assert_int_equal(tw_proof_check(&t, TW_PROOF_CALLER, "facts", 5, first, &err), 0);
    assert_int_equal(tw_proof_check(&t, TW_PROOF_CALLER, "Facts", 5, first, &err), -EACCES);
    for (int k = TW_PROOF_BODY; k <= TW_PROOF_TABLE; k++)
        assert_int_equal(tw_proof_check(&t, (enum tw_proof_kind)k, "facts", 5, first, &err),
                         -EACCES);
    for (size_t i = 0; i < sizeof t.nonces; i += 21) {
        t.nonces[i] ^= 1;
        assert_int_equal(tw_proof_check(&t, TW_PROOF_CALLER, "facts", 5, first, &err), -EACCES);
        t.nonces[i] ^= 1;
    }
    memcpy(p, first, sizeof p);
    p[sizeof p - 1] ^= 0x80;
    assert_int_equal(tw_proof_check(&t, TW_PROOF_CALLER, "facts", 5, p, &err), -EACCES);
}

/* ---- a false rank 0 ---------------------------------------------------------------------------- */

enum lie { OTHER_TOKEN, NOISE, ITS_OWN_SEAL, ITS_OWN_PROOF, EMPTY, N_LIES };

typedef struct false_head {
    int listen_fd;
    enum lie lie;
} false_head;

/* One whole frame: its bytes. */
static size_t read_frame(int fd, uint8_t *p, size_t max)
{
    tw_frame_ctl c;
    if (tw_sock_recv_all(fd, p, TW_FRAME_CTL_BYTES, TW_NEVER_NS) != 0 ||
        tw_frame_ctl_decode(p, &c) != 0 || c.bytes > max - TW_FRAME_CTL_BYTES ||
        tw_sock_recv_all(fd, p + TW_FRAME_CTL_BYTES, c.bytes, TW_NEVER_NS) != 0)
        return 0;
    return TW_FRAME_CTL_BYTES + c.bytes;
}

static int accept_one(int listen_fd)
{
    struct pollfd p = {.fd = listen_fd, .events = POLLIN};
    int fd = -1;
    return poll(&p, 1, 60000) == 1 && tw_sock_accept(listen_fd, &fd) == 0 ? fd : -1;
}

static void answer(int fd, enum tw_frame_type type, const void *body, size_t n)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(4096);
    if (tw_frame_ctl_encode(&b, type, body, n) == 0)
        (void)!tw_sock_send_all(fd, b.data, b.len, TW_NEVER_NS);
}

/* Answers a rank's words with a lie. */
static void *lie_to_rank(void *arg)
{
    static const uint8_t other_token[TW_TOKEN_BYTES] = "not the token of this group ...";
    const false_head *h = arg;
    uint8_t knock[KNOCK_BYTES], hello[4096], seal[TW_FRAME_PROOF_BYTES] = {0};
    int fd = accept_one(h->listen_fd);
    if (read_frame(fd, knock, sizeof knock) != sizeof knock)
        return NULL;
    /* Its own nonce comes back to it: what it says is then for a challenge of its own. */
    const uint8_t *nonce = knock + TW_FRAME_CTL_BYTES;
    answer(fd, TW_FRAME_CHALLENGE, nonce, TW_FRAME_NONCE_BYTES);
    size_t n = read_frame(fd, hello, sizeof hello);
    tw_proof_talk t = {.token = other_token};
    memcpy(t.nonces, nonce, TW_FRAME_NONCE_BYTES);
    memcpy(t.nonces + TW_FRAME_NONCE_BYTES, nonce, TW_FRAME_NONCE_BYTES);
    if (h->lie == OTHER_TOKEN)
        tw_proof_make(&t, TW_PROOF_LISTENER, hello + n - sizeof seal, sizeof seal, seal);
    if (h->lie == ITS_OWN_SEAL)
        memcpy(seal, hello + n - sizeof seal, sizeof seal);
    if (h->lie == ITS_OWN_PROOF)
        memcpy(seal, hello + TW_FRAME_CTL_BYTES, sizeof seal);
    answer(fd, TW_FRAME_WELCOME, seal, h->lie == EMPTY ? 0 : sizeof seal);
    wait_closed(fd);
    close(fd);
    return NULL;
}

static void test_a_false_rank_0_is_not_believed(void **state)
{
    (void)state;
    for (int lie = 0; lie < N_LIES; lie++) {
        fixture_rank r[2];
        pthread_t t;
        fixture_init(r, 2, TW_TRANSPORT_TCP, sum_once);
        false_head h = {r[0].opts.listen_fd, (enum lie)lie};
        r[1].opts.rendezvous_ns = 20 * TW_NS_PER_S;
        assert_int_equal(pthread_create(&t, NULL, lie_to_rank, &h), 0);
        start_rank(&r[1]);
        pthread_join(r[1].thread, NULL);
        pthread_join(t, NULL);
        close(h.listen_fd);
        if (r[1].rc != -EACCES || strstr(r[1].err.msg, "does not know the group's token") == NULL)
            fail_msg("lie %d: %d %s", lie, r[1].rc, r[1].err.msg);
    }
}

/* ---- a false rank ------------------------------------------------------------------------------ */

/* The very words that let a real rank in are worth nothing on another connection. */
static void test_repeated_words_do_not_open(void **state)
{
    (void)state;
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(4096);
    fixture_rank r[2];
    uint8_t knock[KNOCK_BYTES], reply[TW_FRAME_CTL_BYTES];
    fixture_init(r, 2, TW_TRANSPORT_TCP, sum_once);
    start_rank(&r[0]);
    int fd = raw_connect(r[0].opts.port);
    const tw_proof_talk t = raw_talk(fd, fixture_token);
    raw_hello(&b, &t, 2, 99); /* of another version: would end the group, if it were believed */
    close(fd);
    fd = raw_connect(r[0].opts.port);
    raw_knock(knock);
    send_bytes(fd, knock, sizeof knock);
    send_bytes(fd, b.data, b.len);
    assert_int_equal(tw_sock_recv_all(fd, knock, sizeof knock, TW_NEVER_NS), 0); /* a new nonce */
    assert_int_equal(tw_sock_recv_all(fd, reply, sizeof reply, TW_NEVER_NS), 0);
    assert_int_equal(reply[6], TW_FRAME_REFUSE);
    wait_closed(fd);
    close(fd);
    start_rank(&r[1]);
    fixture_join(r, 2);
    expect_both_good(r, 2);
}

/* ---- a man on the wire ------------------------------------------------------------------------- */

typedef struct wire_man {
    int listen_fd;
    uint16_t head_port;
    enum tw_frame_type alters;
    int at; /* byte of its body; negative: from the end, where the last 32 are the seal */
} wire_man;

static bool pass_on(const wire_man *m, int from, int to)
{
    uint8_t p[8192];
    size_t n = read_frame(from, p, sizeof p);
    if (n == 0)
        return false;
    if (p[6] == m->alters)
        p[m->at < 0 ? n - (size_t)-m->at : TW_FRAME_CTL_BYTES + (size_t)m->at] ^= 1;
    return tw_sock_send_all(to, p, n, TW_NEVER_NS) == 0;
}

/* Knock, challenge, hello, welcome, table; then both ends see each other go. */
static void *sit_on_wire(void *arg)
{
    const wire_man *m = arg;
    int fds[2] = {accept_one(m->listen_fd), raw_connect(m->head_port)};
    static const int speakers[] = {0, 1, 0, 1, 1};
    bool on = true;
    for (size_t i = 0; i < TW_ARRAY_LEN(speakers) && on; i++)
        on = pass_on(m, fds[speakers[i]], fds[1 - speakers[i]]);
    close(m->listen_fd); /* no second try by him */
    if (on)
        wait_closed(fds[0]);
    close(fds[0]);
    close(fds[1]);
    return NULL;
}

static void meet_by_way_of(wire_man *m, fixture_rank *r)
{
    static const tw_coll_fact facts[] = {{"model id", "3f2a", false}};
    pthread_t t;
    uint16_t port;
    tw_err err = {0};
    fixture_init(r, 2, TW_TRANSPORT_TCP, sum_once);
    r[0].opts.facts = r[1].opts.facts = facts;
    r[0].opts.n_facts = r[1].opts.n_facts = 1;
    r[0].opts.rendezvous_ns = r[1].opts.rendezvous_ns = TW_NS_PER_S;
    m->head_port = r[0].opts.port;
    if (tw_sock_listen("127.0.0.1", 0, &m->listen_fd, &port, &err) != 0)
        fail_msg("%s", err.msg);
    r[1].opts.port = port;
    assert_int_equal(pthread_create(&t, NULL, sit_on_wire, m), 0);
    fixture_start(r, 2);
    fixture_join(r, 2);
    pthread_join(t, NULL);
}

static void test_altered_facts_are_not_believed(void **state)
{
    (void)state;
    fixture_rank r[2];
    /* The end of the fact's value, the end of the seal, the rank; the proof. */
    static const struct {
        int at;
        const char *want;
    } cases[] = {{-33, "altered on the way"},
                 {-1, "altered on the way"},
                 {TW_FRAME_PROOF_BYTES, "altered on the way"},
                 {0, "wrong token"}};
    for (size_t i = 0; i < TW_ARRAY_LEN(cases); i++) {
        wire_man m = {.alters = TW_FRAME_HELLO, .at = cases[i].at};
        meet_by_way_of(&m, r);
        assert_true(r[0].rc < 0 && r[1].rc < 0 && !r[0].opened && !r[1].opened);
        if (r[0].rc != -ETIMEDOUT || strstr(r[0].err.msg, cases[i].want) == NULL)
            fail_msg("byte %d: %d %s", cases[i].at, r[0].rc, r[0].err.msg);
    }
}

static void test_an_altered_table_is_not_believed(void **state)
{
    (void)state;
    fixture_rank r[2];
    wire_man m = {.alters = TW_FRAME_TABLE, .at = 3};
    meet_by_way_of(&m, r);
    if (r[1].rc != -EACCES || strstr(r[1].err.msg, "table of ranks was altered") == NULL)
        fail_msg("%d %s", r[1].rc, r[1].err.msg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds_and_nonces_differ),
        cmocka_unit_test(test_a_false_rank_0_is_not_believed),
        cmocka_unit_test(test_repeated_words_do_not_open),
        cmocka_unit_test(test_altered_facts_are_not_believed),
        cmocka_unit_test(test_an_altered_table_is_not_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
