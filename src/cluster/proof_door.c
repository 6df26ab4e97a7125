/* SPDX-License-Identifier: Apache-2.0 */
/* The answering end. */
#include "cluster/proof_door.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cluster/proof_words.h"
#include "os/fd.h"
#include "os/sock.h"

enum { GUESTS = 8, SLICE_MS = 50 };
#define GUEST_NS (2 * TW_NS_PER_S)

typedef struct door_guest {
    int fd;
    uint8_t hello[TW_PROOF_HELLO_BYTES];
    size_t got;
    uint64_t since_ns;
} door_guest;

struct tw_proof_door {
    int tcp, udp;
    uint8_t token[TW_PROBE_TOKEN_BYTES];
    uint64_t until_ns;
    atomic_bool stop;
    bool has_thread;
    pthread_t thread;
    door_guest guests[GUESTS];
    unsigned n_guests;
    uint8_t packet[TW_PROOF_MTU_MAX + 1];
};

static bool is_ours(const tw_proof_door *d, const uint8_t *hello)
{
    volatile uint8_t diff = 0; /* time must not tell how many bytes were right */
    for (size_t i = 0; i < TW_PROBE_TOKEN_BYTES; i++)
        diff = (uint8_t)(diff | (hello[8 + i] ^ d->token[i]));
    return memcmp(hello, TW_PROOF_MAGIC, 8) == 0 && diff == 0;
}

static void drop_guest(tw_proof_door *d, unsigned i)
{
    tw_fd_closep(&d->guests[i].fd);
    d->n_guests--;
    memmove(&d->guests[i], &d->guests[i + 1], (d->n_guests - i) * sizeof d->guests[0]);
}

static void hear_guest(tw_proof_door *d, unsigned i)
{
    door_guest *g = &d->guests[i];
    ssize_t n = recv(g->fd, g->hello + g->got, sizeof g->hello - g->got, MSG_DONTWAIT);
    bool over = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) ||
                tw_clock_now_ns() - g->since_ns > GUEST_NS;
    g->got += n > 0 ? (size_t)n : 0;
    if (g->got == sizeof g->hello) {
        if (is_ours(d, g->hello))
            (void)!send(g->fd, "Y", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        over = true;
    }
    if (over)
        drop_guest(d, i);
}

static void let_in(tw_proof_door *d)
{
    int fd = -1;
    while (tw_sock_accept(d->tcp, &fd) == 0) {
        if (d->n_guests == GUESTS)
            drop_guest(d, 0);
        d->guests[d->n_guests++] = (door_guest){.fd = fd, .since_ns = tw_clock_now_ns()};
    }
}

static void answer_packets(tw_proof_door *d)
{
    for (unsigned k = 0; k < 64; k++) {
        struct sockaddr_storage from;
        socklen_t len = sizeof from;
        ssize_t n = recvfrom(d->udp, d->packet, sizeof d->packet, MSG_DONTWAIT,
                             (struct sockaddr *)&from, &len);
        if (n < 0)
            return;
        if ((size_t)n < TW_PROOF_PACKET_BYTES || !is_ours(d, d->packet))
            continue;
        uint8_t answer[TW_PROOF_ANSWER_BYTES];
        memcpy(answer, TW_PROOF_MAGIC, 8);
        memcpy(answer + 8, d->packet + TW_PROOF_HELLO_BYTES, 4);
        const uint32_t size = (uint32_t)n;
        memcpy(answer + 12, &size, 4);
        (void)!sendto(d->udp, answer, sizeof answer, MSG_DONTWAIT, (struct sockaddr *)&from, len);
    }
}

static void *serve(void *arg)
{
    tw_proof_door *d = arg;
    while (!atomic_load(&d->stop) && tw_clock_now_ns() < d->until_ns) {
        struct pollfd p[GUESTS + 2] = {{.fd = d->tcp, .events = POLLIN},
                                       {.fd = d->udp, .events = POLLIN}};
        for (unsigned i = 0; i < d->n_guests; i++)
            p[2 + i] = (struct pollfd){.fd = d->guests[i].fd, .events = POLLIN};
        (void)poll(p, 2 + d->n_guests, SLICE_MS);
        for (unsigned i = d->n_guests; i-- > 0;)
            hear_guest(d, i);
        let_in(d);
        answer_packets(d);
    }
    tw_fd_closep(&d->tcp); /* nothing listens longer than it must */
    tw_fd_closep(&d->udp);
    return NULL;
}

/* The same address and port for UDP. */
static int open_udp(tw_proof_door *d, tw_err *err)
{
    struct sockaddr_storage a = {0};
    socklen_t len = sizeof a;
    if (getsockname(d->tcp, (struct sockaddr *)&a, &len) != 0)
        return tw_err_set(err, -errno, "the proof's socket: %s", strerror(errno));
    d->udp = socket(a.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (d->udp < 0 || bind(d->udp, (struct sockaddr *)&a, len) != 0)
        return tw_err_set(err, -errno, "the proof's UDP socket: %s", strerror(errno));
    const int bytes = 1 << 20;
    (void)setsockopt(d->udp, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    return 0;
}

void tw_proof_door_close(tw_proof_door *d)
{
    if (d == NULL)
        return;
    atomic_store(&d->stop, true);
    if (d->has_thread)
        pthread_join(d->thread, NULL);
    while (d->n_guests > 0)
        drop_guest(d, 0);
    tw_fd_closep(&d->tcp);
    tw_fd_closep(&d->udp);
    tw_mem_free(d);
}

static void closep(tw_proof_door **d)
{
    tw_proof_door_close(*d);
}

int tw_proof_door_open(const char *ip, const uint8_t token[TW_PROBE_TOKEN_BYTES], uint64_t life_ns,
                       tw_proof_door **ret, uint16_t *ret_port, tw_err *err)
{
    TW_CLEANUP(closep) tw_proof_door *d = tw_mem_calloc(1, sizeof *d);
    if (d == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for a proof");
    d->tcp = d->udp = -1;
    memcpy(d->token, token, sizeof d->token);
    d->until_ns = tw_clock_now_ns() + life_ns;
    int rc = tw_probe_listen(ip, 0, &d->tcp, ret_port, err); /* refuses a wildcard */
    if (rc == 0)
        rc = open_udp(d, err);
    if (rc != 0)
        return rc;
    rc = -pthread_create(&d->thread, NULL, serve, d);
    if (rc != 0)
        return tw_err_set(err, rc, "no thread for a proof: %s", strerror(-rc));
    d->has_thread = true;
    *ret = d;
    d = NULL;
    return 0;
}
