/* SPDX-License-Identifier: Apache-2.0 */
/* The asking end: a connection, then packets that may not be cut, the largest first, by halving. */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cluster/proof_door.h"
#include "cluster/proof_words.h"
#include "os/fd.h"
#include "os/sock.h"

#ifndef IP_PMTUDISC_PROBE
#define IP_PMTUDISC_PROBE 3
#endif
#ifndef IPV6_PMTUDISC_PROBE
#define IPV6_PMTUDISC_PROBE 3
#endif

enum { TRIES = 3, WAIT_MS = 120, LEAST_MTU = 576, LEAST_MTU6 = 1280 };
#define PACKETS_NS (4 * TW_NS_PER_S)
#define HELLO_NS   (2 * TW_NS_PER_S)

static bool is_stopped(const tw_proof_knock *k)
{
    return k->asked_to_stop != NULL && k->asked_to_stop(k->ctx);
}

static void say(tw_proof_way *w, enum tw_proof_port port, const char *why)
{
    w->port = port;
    snprintf(w->why, sizeof w->why, "%.*s", (int)sizeof w->why - 1, why);
}

/* ---- the port ---- */

static int greet(int fd, const tw_proof_knock *k)
{
    uint8_t hello[TW_PROOF_HELLO_BYTES], answer = 0;
    memcpy(hello, TW_PROOF_MAGIC, 8);
    memcpy(hello + 8, k->token, TW_PROBE_TOKEN_BYTES);
    const uint64_t deadline = tw_clock_now_ns() + HELLO_NS;
    int rc = tw_sock_send_all(fd, hello, sizeof hello, deadline);
    if (rc == 0)
        rc = tw_sock_recv_all(fd, &answer, 1, deadline);
    return rc == 0 && answer != 'Y' ? -EPROTO : rc;
}

static void try_port(const tw_proof_knock *k, tw_proof_way *ret)
{
    TW_CLEANUP(tw_fd_closep) int fd = -1;
    tw_err err = {0};
    int rc =
        tw_sock_connect(k->ip, k->port, k->from_ip, tw_clock_now_ns() + k->limit_ns, &fd, &err);
    if (rc == 0) {
        rc = greet(fd, k);
        if (rc == 0)
            say(ret, TW_PORT_PASSES, "");
        else
            say(ret, TW_PORT_REFUSED,
                "something else answers on that port: is the address on two "
                "machines?");
    } else if (rc == -ECONNREFUSED) {
        say(ret, TW_PORT_REFUSED, err.msg);
    } else if (rc == -ETIMEDOUT) {
        say(ret, TW_PORT_FILTERED, err.msg);
    } else {
        say(ret, TW_PORT_UNREACHABLE, err.msg);
    }
}

/* ---- packets ---- */

typedef struct packets {
    int fd;
    uint32_t headers; /* IP and UDP */
    uint32_t seq;
    uint64_t deadline_ns;
    const tw_proof_knock *k;
    uint8_t *p; /* [TW_PROOF_MTU_MAX] */
} packets;

/* Where and how the TCP connection went, the packets go. */
static int open_packets(const tw_proof_knock *k, packets *s)
{
    TW_CLEANUP(tw_fd_closep) int tcp = -1;
    TW_CLEANUP(tw_fd_closep) int fd = -1;
    struct sockaddr_storage to = {0}, from = {0};
    socklen_t n_to = sizeof to, n_from = sizeof from;
    tw_err err = {0};
    int rc =
        tw_sock_connect(k->ip, k->port, k->from_ip, tw_clock_now_ns() + k->limit_ns, &tcp, &err);
    if (rc != 0)
        return rc;
    if (getpeername(tcp, (struct sockaddr *)&to, &n_to) != 0 ||
        getsockname(tcp, (struct sockaddr *)&from, &n_from) != 0)
        return -errno;
    const bool six = to.ss_family == AF_INET6;
    fd = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int probe = six ? IPV6_PMTUDISC_PROBE : IP_PMTUDISC_PROBE, bytes = 1 << 20;
    if (fd < 0 || setsockopt(fd, six ? IPPROTO_IPV6 : IPPROTO_IP,
                             six ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER, &probe, sizeof probe) != 0)
        return -errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    if (six) {
        const int on = 1;
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_DONTFRAG, &on, sizeof on);
    }
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    if (six) { /* any port of the same address */
        memcpy(&v6, &from, sizeof v6);
        v6.sin6_port = 0;
        memcpy(&from, &v6, sizeof v6);
    } else {
        memcpy(&v4, &from, sizeof v4);
        v4.sin_port = 0;
        memcpy(&from, &v4, sizeof v4);
    }
    if (bind(fd, (struct sockaddr *)&from, n_from) != 0 ||
        connect(fd, (struct sockaddr *)&to, n_to) != 0)
        return -errno;
    s->headers = six ? 48 : 28;
    s->fd = tw_fd_steal(&fd);
    return 0;
}

static bool is_answer(const uint8_t *a, uint32_t seq, uint32_t size)
{
    uint32_t got_seq, got_size;
    memcpy(&got_seq, a + 8, 4);
    memcpy(&got_size, a + 12, 4);
    return memcmp(a, TW_PROOF_MAGIC, 8) == 0 && got_seq == seq && got_size == size;
}

static bool await_answer(packets *s, uint32_t size)
{
    const uint64_t until = tw_clock_now_ns() + WAIT_MS * TW_NS_PER_MS;
    for (uint64_t now; (now = tw_clock_now_ns()) < until;) {
        struct pollfd p = {.fd = s->fd, .events = POLLIN};
        (void)poll(&p, 1, (int)((until - now) / TW_NS_PER_MS) + 1);
        uint8_t answer[TW_PROOF_ANSWER_BYTES + 1];
        ssize_t n = recv(s->fd, answer, sizeof answer, MSG_DONTWAIT);
        if (n == TW_PROOF_ANSWER_BYTES && is_answer(answer, s->seq, size))
            return true;
    }
    return false;
}

/* Whether a packet of mtu bytes, headers counted, arrives whole. */
static bool passes(packets *s, uint32_t mtu)
{
    const uint32_t size = mtu - s->headers;
    for (unsigned k = 0; k < TRIES; k++) {
        if (is_stopped(s->k) || tw_clock_now_ns() > s->deadline_ns)
            return false;
        s->seq++;
        memcpy(s->p, TW_PROOF_MAGIC, 8);
        memcpy(s->p + 8, s->k->token, TW_PROBE_TOKEN_BYTES);
        memcpy(s->p + TW_PROOF_HELLO_BYTES, &s->seq, 4);
        memcpy(s->p + TW_PROOF_HELLO_BYTES + 4, &size, 4);
        if (send(s->fd, s->p, size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == EMSGSIZE)
            return false; /* our own interface takes no more */
        if (await_answer(s, size))
            return true;
    }
    return false;
}

static uint32_t find_largest(packets *s, uint32_t most)
{
    uint32_t low = s->headers == 48 ? LEAST_MTU6 : LEAST_MTU, high = most;
    if (most <= low)
        return passes(s, most) ? most : 0;
    if (passes(s, most))
        return most;
    if (!passes(s, low))
        return 0;
    if (most > 1500 && low < 1500) { /* what it is, nearly always */
        if (!passes(s, 1500))
            high = 1500;
        else if (!passes(s, 1501))
            return 1500;
        else
            low = 1501;
    }
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (passes(s, middle))
            low = middle;
        else
            high = middle;
    }
    return low;
}

static void try_packets(const tw_proof_knock *k, tw_proof_way *ret)
{
    TW_CLEANUP(tw_mem_freep) uint8_t *p = tw_mem_calloc(1, TW_PROOF_MTU_MAX + 1);
    packets s = {.fd = -1, .k = k, .p = p, .deadline_ns = tw_clock_now_ns() + PACKETS_NS};
    int rc = p == NULL ? -ENOMEM : open_packets(k, &s);
    if (rc != 0) {
        snprintf(ret->why, sizeof ret->why, "no packets could be sent: %s", strerror(-rc));
        return;
    }
    ret->mtu_tried = k->mtu;
    ret->mtu = find_largest(&s, k->mtu);
    if (ret->mtu == 0)
        snprintf(ret->why, sizeof ret->why, "UDP does not pass, not even small packets");
    tw_fd_closep(&s.fd);
}

void tw_proof_door_knock(const tw_proof_knock *k, tw_proof_way *ret)
{
    *ret = (tw_proof_way){0};
    try_port(k, ret);
    if (ret->port == TW_PORT_PASSES && k->mtu >= 68 + 48 && k->mtu <= TW_PROOF_MTU_MAX)
        try_packets(k, ret);
}
