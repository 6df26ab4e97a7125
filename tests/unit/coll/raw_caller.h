/* SPDX-License-Identifier: Apache-2.0 */
/* A caller at a rendezvous that does what a test tells it, word by word. */
#ifndef TWINAX_TESTS_RAW_CALLER_H
#define TWINAX_TESTS_RAW_CALLER_H

#include "group_fixture.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/scope.h"
#include "coll/proof.h"
#include "fmt/frame.h"

enum { KNOCK_BYTES = TW_FRAME_CTL_BYTES + TW_FRAME_NONCE_BYTES };

static inline int raw_connect(uint16_t port)
{
    int fd = -1;
    tw_err err = {0};
    uint64_t deadline_ns = tw_clock_now_ns() + 60 * TW_NS_PER_S;
    if (tw_sock_connect("127.0.0.1", port, NULL, deadline_ns, &fd, &err) != 0)
        fail_msg("%s", err.msg);
    return fd;
}

static inline void start_rank(fixture_rank *r)
{
    assert_int_equal(pthread_create(&r->thread, NULL, fixture_run, r), 0);
}

/* Reads until the other side closes. */
static inline void wait_closed(int fd)
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

static inline void send_bytes(int fd, const void *p, size_t n)
{
    assert_int_equal(tw_sock_send_all(fd, p, n, TW_NEVER_NS), 0);
}

/* The nonce of a caller: any will do. */
static inline void raw_knock(uint8_t knock[KNOCK_BYTES])
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(KNOCK_BYTES);
    assert_int_equal(tw_frame_ctl_encode(&b, TW_FRAME_KNOCK, fixture_token, TW_FRAME_NONCE_BYTES),
                     0);
    memcpy(knock, b.data, KNOCK_BYTES);
}

/* Knocks and hears the challenge. */
static inline tw_proof_talk raw_talk(int fd, const uint8_t *token)
{
    tw_proof_talk t = {.token = token};
    uint8_t words[KNOCK_BYTES];
    raw_knock(words);
    send_bytes(fd, words, sizeof words);
    memcpy(t.nonces, words + TW_FRAME_CTL_BYTES, TW_FRAME_NONCE_BYTES);
    assert_int_equal(tw_sock_recv_all(fd, words, sizeof words, TW_NEVER_NS), 0);
    assert_int_equal(words[6], TW_FRAME_CHALLENGE);
    memcpy(t.nonces + TW_FRAME_NONCE_BYTES, words + TW_FRAME_CTL_BYTES, TW_FRAME_NONCE_BYTES);
    return t;
}

/* A hello as rank 1 would send it, in this version of the protocol. */
static inline void raw_hello(tw_buf *b, const tw_proof_talk *t, unsigned n_ranks, uint8_t version)
{
    tw_frame_hello h = {.rank = 1, .n_ranks = (uint8_t)n_ranks, .transport = TW_TRANSPORT_TCP};
    h.me = (tw_frame_peer){.address = TW_STR(""), .host_id = TW_STR(""), .unix_name = TW_STR("")};
    assert_int_equal(tw_frame_hello_encode(b, &h), 0);
    b->data[4] = (char)version;
    tw_proof_seal(t, (uint8_t *)b->data, b->len);
}

static inline void expect_both_good(const fixture_rank *r, unsigned n_ranks)
{
    for (unsigned i = 0; i < n_ranks; i++)
        if (r[i].rc != 0)
            fail_msg("rank %u: %s", i, r[i].err.msg);
}

#endif
