/* SPDX-License-Identifier: Apache-2.0 */
/* The serving end: the door with its token, then commands until good-bye. */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/le.h"
#include "base/scope.h"
#include "cluster/probe.h"
#include "cluster/probe_inside.h"
#include "os/fd.h"
#include "os/sock.h"

enum { GUESTS_MAX = 16, SLICE_MS = 50 };
#define GUEST_LIMIT_NS (3 * TW_NS_PER_S)
#define IDLE_LIMIT_NS  (120 * TW_NS_PER_S)
#define FLOOD_LIMIT_NS (60 * TW_NS_PER_S)

/* By what the socket is bound to: "every address" has many spellings. */
static bool is_wildcard(int fd)
{
    struct sockaddr_storage a = {0};
    socklen_t len = sizeof a;
    if (getsockname(fd, (struct sockaddr *)&a, &len) != 0)
        return true;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    memcpy(&v4, &a, sizeof v4);
    memcpy(&v6, &a, sizeof v6);
    static const uint8_t mapped_any[16] = {[10] = 0xff, [11] = 0xff};
    return a.ss_family == AF_INET ? v4.sin_addr.s_addr == INADDR_ANY
                                  : IN6_IS_ADDR_UNSPECIFIED(&v6.sin6_addr) ||
                                        memcmp(&v6.sin6_addr, mapped_any, sizeof mapped_any) == 0;
}

int tw_probe_listen(const char *ip, uint16_t port, int *ret_fd, uint16_t *ret_port, tw_err *err)
{
    TW_CLEANUP(tw_fd_closep) int fd = -1;
    int rc = tw_sock_listen(ip, port, &fd, ret_port, err);
    if (rc != 0)
        return rc;
    if (is_wildcard(fd))
        return tw_err_set(err, -EINVAL, "%s: to listen on every address is refused; name one", ip);
    *ret_fd = tw_fd_steal(&fd);
    return 0;
}

/* A connection that has not yet said the right words. Order is age. */
typedef struct probe_guest {
    int fd;
    uint8_t hello[PROBE_HELLO_BYTES];
    size_t got;
    uint64_t since_ns;
} probe_guest;

typedef struct probe_door {
    int listen_fd;
    const uint8_t *token;
    probe_guest guests[GUESTS_MAX];
    unsigned n_guests, n_refused, n_here;
    unsigned n_min, n_max; /* connections of the one peer */
    probe_pair *pair;
} probe_door;

static void close_door(probe_door *d)
{
    tw_fd_closep(&d->listen_fd);
    for (unsigned i = 0; i < d->n_guests; i++)
        tw_fd_closep(&d->guests[i].fd);
    d->n_guests = 0;
}

static void forget_guest(probe_door *d, unsigned i)
{
    tw_fd_closep(&d->guests[i].fd);
    d->n_guests--;
    memmove(&d->guests[i], &d->guests[i + 1], (d->n_guests - i) * sizeof d->guests[0]);
}

static bool same_token(const uint8_t *a, const uint8_t *b)
{
    volatile uint8_t diff = 0; /* time must not tell how many bytes were right */
    for (size_t i = 0; i < TW_PROBE_TOKEN_BYTES; i++)
        diff = (uint8_t)(diff | (a[i] ^ b[i]));
    return diff == 0;
}

static bool is_welcome(const probe_door *d, const probe_guest *g)
{
    unsigned index = g->hello[40], n = g->hello[41];
    if (memcmp(g->hello, PROBE_HELLO_MAGIC, 8) != 0 || !same_token(g->hello + 8, d->token))
        return false;
    return n >= d->n_min && n <= d->n_max && index < n && d->pair->fds[index] < 0 &&
           (d->pair->n_fds == 0 || d->pair->n_fds == n);
}

/* The whole greeting is here. */
static void judge_guest(probe_door *d, unsigned i)
{
    probe_guest *g = &d->guests[i];
    bool welcome = is_welcome(d, g);
    (void)!send(g->fd, welcome ? "Y" : "N", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (welcome) {
        d->pair->n_fds = g->hello[41];
        d->pair->fds[g->hello[40]] = tw_fd_steal(&g->fd);
        d->n_here++;
    } else {
        d->n_refused++;
    }
    forget_guest(d, i);
}

static void hear_guest(probe_door *d, unsigned i)
{
    probe_guest *g = &d->guests[i];
    ssize_t n = recv(g->fd, g->hello + g->got, sizeof g->hello - g->got, MSG_DONTWAIT);
    bool gone = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
    bool late = tw_clock_now_ns() - g->since_ns > GUEST_LIMIT_NS;
    g->got += n > 0 ? (size_t)n : 0;
    if (g->got == sizeof g->hello) {
        judge_guest(d, i);
    } else if (gone || late) {
        d->n_refused++;
        forget_guest(d, i);
    }
}

static void let_in(probe_door *d)
{
    int fd = -1;
    while (tw_sock_accept(d->listen_fd, &fd) == 0) {
        if (d->n_guests == GUESTS_MAX) {
            d->n_refused++;
            forget_guest(d, 0);
        }
        d->guests[d->n_guests++] = (probe_guest){.fd = fd, .since_ns = tw_clock_now_ns()};
    }
}

static void turn(probe_door *d)
{
    struct pollfd pfds[GUESTS_MAX + 1] = {{.fd = d->listen_fd, .events = POLLIN}};
    for (unsigned i = 0; i < d->n_guests; i++)
        pfds[1 + i] = (struct pollfd){.fd = d->guests[i].fd, .events = POLLIN};
    (void)poll(pfds, 1 + d->n_guests, SLICE_MS);
    for (unsigned i = d->n_guests; i-- > 0;)
        hear_guest(d, i);
    let_in(d);
}

static int meet_peer(probe_door *d, uint64_t accept_ns, tw_err *err)
{
    uint64_t deadline = tw_clock_now_ns() + accept_ns;
    while (d->pair->n_fds == 0 || d->n_here < d->pair->n_fds) {
        if (tw_probe_stopped(&d->pair->stop))
            return tw_err_set(err, -ECANCELED, "stopped while waiting for the peer");
        if (tw_clock_now_ns() > deadline)
            return tw_err_set(err, -ETIMEDOUT,
                              "no peer with our token came within %.0f s (%u connections refused): "
                              "a firewall, or another address",
                              (double)accept_ns / (double)TW_NS_PER_S, d->n_refused);
        turn(d);
    }
    return 0;
}

static int answer_one(probe_pair *p, uint32_t bytes, enum tw_probe_wait wait, tw_err *err)
{
    int rc = 0;
    if (p->link != NULL) {
        rc = tw_probe_link_recv(p, bytes, wait, err);
        return rc == 0 ? tw_probe_link_send(p, bytes, wait, err) : rc;
    }
    rc = tw_probe_recv(p->fds[0], p->buf, bytes, wait, &p->stop);
    if (rc == 0)
        rc = tw_probe_send(p->fds[0], p->buf, bytes, wait, &p->stop);
    return rc == 0 ? 0 : tw_probe_fail(rc, "answering round trips", err);
}

static int refuse(const char *what, tw_err *err)
{
    return tw_err_set(err, -EPROTO, "the peer asked for %s", what);
}

static int answer_pings(probe_pair *p, const probe_cmd *c, tw_err *err)
{
    enum tw_probe_wait wait = c->wait == TW_PROBE_SPIN ? TW_PROBE_SPIN : TW_PROBE_SLEEP;
    if (c->bytes == 0 || c->bytes > TW_PROBE_BYTES_MAX)
        return refuse("round trips of an impossible size", err);
    int rc = 0;
    for (uint32_t i = 0; i < c->count && rc == 0; i++)
        rc = answer_one(p, c->bytes, wait, err);
    return rc;
}

static int answer_flood(probe_pair *p, const probe_cmd *c, tw_err *err)
{
    uint64_t bytes = 0, ns = 0;
    uint8_t raw[PROBE_RESULT_BYTES];
    if (c->ns > FLOOD_LIMIT_NS)
        return refuse("more than a minute of bulk data", err);
    int rc = tw_probe_flood_run(p, c->ways & PROBE_TO_CLIENT, c->ways & PROBE_TO_SERVER, c->ns,
                                &bytes, &ns, err);
    tw_le_store(raw, 8, bytes);
    tw_le_store(raw + 8, 8, ns);
    tw_le_store(raw + 16, 8, (uint64_t)-rc);
    int rc_send = tw_probe_send(p->fds[0], raw, sizeof raw, TW_PROBE_SLEEP, &p->stop);
    if (rc != 0 || rc_send == 0)
        return rc;
    return tw_probe_fail(rc_send, "sending the result", err);
}

/* A link that cannot be made is the answer, no reason to end. */
static int answer_link(probe_pair *p, const probe_cmd *c, tw_err *err)
{
    uint8_t words[PROBE_WORDS_BYTES] = {0};
    tw_err why = {0};
    int rc = c->wait > TW_PROBE_LINK_VERBS
                 ? refuse("an unknown kind of link", &why)
                 : tw_probe_link_make(p, (enum tw_probe_link_kind)c->wait, 1, &why);
    tw_le_store(words, 8, (uint64_t)-rc);
    snprintf((char *)words + 8, sizeof words - 8, "%.230s", rc != 0 ? why.msg : "");
    rc = tw_probe_send(p->fds[0], words, sizeof words, TW_PROBE_SLEEP, &p->stop);
    return rc == 0 ? 0 : tw_probe_fail(rc, "telling of the link", err);
}

/* The next command; the peer may think for a while. */
static int wait_command(probe_pair *p)
{
    uint64_t begin = tw_clock_now_ns();
    struct pollfd pfd = {.fd = p->fds[0], .events = POLLIN};
    while (poll(&pfd, 1, SLICE_MS) <= 0) {
        if (tw_probe_stopped(&p->stop))
            return -ECANCELED;
        if (tw_clock_now_ns() - begin > IDLE_LIMIT_NS)
            return -ETIMEDOUT;
    }
    return 0;
}

static int read_command(probe_pair *p, probe_cmd *ret)
{
    uint8_t raw[PROBE_CMD_BYTES];
    int rc = wait_command(p);
    if (rc == 0)
        rc = tw_probe_recv(p->fds[0], raw, sizeof raw, TW_PROBE_SLEEP, &p->stop);
    if (rc == 0 && tw_le_load(raw, 4) != PROBE_CMD_MAGIC)
        rc = -EPROTO;
    if (rc == 0)
        *ret = (probe_cmd){.op = raw[4],
                           .wait = raw[5],
                           .ways = tw_le_u16(raw + 6),
                           .bytes = tw_le_u32(raw + 8),
                           .count = tw_le_u32(raw + 12),
                           .ns = tw_le_load(raw + 16, 8)};
    return rc;
}

static int serve_commands(probe_pair *p, tw_err *err)
{
    for (;;) {
        probe_cmd c;
        int rc = read_command(p, &c);
        if (rc != 0)
            return tw_probe_fail(rc, "waiting for a command", err);
        if (c.op == PROBE_BYE)
            return 0;
        rc = c.op == PROBE_PING    ? answer_pings(p, &c, err)
             : c.op == PROBE_FLOOD ? answer_flood(p, &c, err)
             : c.op == PROBE_LINK  ? answer_link(p, &c, err)
                                   : refuse("something unknown", err);
        if (rc != 0)
            return rc;
    }
}

int tw_probe_serve(int listen_fd, const uint8_t token[TW_PROBE_TOKEN_BYTES], uint64_t accept_ns,
                   tw_probe_stop stop, tw_err *err)
{
    TW_CLEANUP(tw_probe_pair_done) probe_pair pair;
    TW_CLEANUP(close_door)
    probe_door door = {.listen_fd = listen_fd,
                       .token = token,
                       .pair = &pair,
                       .n_min = 2,
                       .n_max = TW_PROBE_STREAMS_MAX + 1};
    int rc = tw_probe_pair_init(&pair, stop, err);
    if (rc == 0)
        rc = meet_peer(&door, accept_ns, err);
    if (rc != 0)
        return rc;
    close_door(&door);
    return serve_commands(&pair, err);
}

int tw_probe_door_accept(int listen_fd, const uint8_t token[TW_PROBE_TOKEN_BYTES],
                         uint64_t accept_ns, tw_probe_stop stop, int *ret_fd, tw_err *err)
{
    TW_CLEANUP(tw_probe_pair_done) probe_pair pair;
    TW_CLEANUP(close_door)
    probe_door door = {
        .listen_fd = listen_fd, .token = token, .pair = &pair, .n_min = 1, .n_max = 1};
    int rc = tw_probe_pair_init(&pair, stop, err);
    if (rc == 0)
        rc = meet_peer(&door, accept_ns, err);
    if (rc == 0)
        *ret_fd = tw_fd_steal(&pair.fds[0]);
    return rc;
}
