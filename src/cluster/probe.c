/* SPDX-License-Identifier: Apache-2.0 */
/* The asking end. */
#include "cluster/probe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/le.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cluster/probe_inside.h"
#include "os/fd.h"
#include "os/sock.h"

enum { PING_WARM = 10, PING_MIN = 20, PING_MAX = 1 << 16 };

struct tw_probe {
    probe_pair pair;
    uint32_t *samples; /* [PING_MAX] round trips in ns */
};

uint64_t tw_probe_bytes(const tw_probe *p)
{
    return p->pair.moved_bytes;
}

static int send_command(tw_probe *p, const probe_cmd *c)
{
    uint8_t raw[PROBE_CMD_BYTES];
    tw_le_store(raw, 4, PROBE_CMD_MAGIC);
    raw[4] = c->op;
    raw[5] = c->wait;
    tw_le_store(raw + 6, 2, c->ways);
    tw_le_store(raw + 8, 4, c->bytes);
    tw_le_store(raw + 12, 4, c->count);
    tw_le_store(raw + 16, 8, c->ns);
    return tw_probe_send(p->pair.fds[0], raw, sizeof raw, TW_PROBE_SLEEP, &p->pair.stop);
}

static int connect_one(const tw_probe_to *to, unsigned index, unsigned n, uint64_t deadline,
                       int *ret_fd, tw_err *err)
{
    TW_CLEANUP(tw_fd_closep) int fd = -1;
    int rc = tw_sock_connect(to->ip, to->port, to->bind_ip, deadline, &fd, err);
    if (rc != 0)
        return rc;
    uint8_t hello[PROBE_HELLO_BYTES], answer = 0;
    memcpy(hello, PROBE_HELLO_MAGIC, 8);
    memcpy(hello + 8, to->token, TW_PROBE_TOKEN_BYTES);
    hello[40] = (uint8_t)index;
    hello[41] = (uint8_t)n;
    rc = tw_probe_send(fd, hello, sizeof hello, TW_PROBE_SLEEP, &to->stop);
    if (rc == 0)
        rc = tw_probe_recv(fd, &answer, 1, TW_PROBE_SLEEP, &to->stop);
    if (rc == 0 && answer != 'Y')
        return tw_err_set(err, -EACCES, "%s port %u refused our token: it waits for another peer",
                          to->ip, to->port);
    if (rc != 0)
        return tw_probe_fail(rc, "greeting the other end", err);
    *ret_fd = tw_fd_steal(&fd);
    return 0;
}

int tw_probe_door_connect(const tw_probe_to *to, int *ret_fd, tw_err *err)
{
    return connect_one(to, 0, 1, tw_clock_now_ns() + to->limit_ns, ret_fd, err);
}

int tw_probe_connect(const tw_probe_to *to, tw_probe **ret, tw_err *err)
{
    if (to->n_streams == 0 || to->n_streams > TW_PROBE_STREAMS_MAX)
        return tw_err_set(err, -EINVAL, "%u streams: wanted 1 to %d", to->n_streams,
                          TW_PROBE_STREAMS_MAX);
    TW_CLEANUP(tw_probe_closep) tw_probe *p = tw_mem_calloc(1, sizeof *p);
    if (p == NULL)
        return tw_err_set(err, -ENOMEM, "no memory to measure with");
    int rc = tw_probe_pair_init(&p->pair, to->stop, err);
    p->samples = tw_mem_calloc(PING_MAX, sizeof *p->samples);
    if (rc == 0 && p->samples == NULL)
        rc = tw_err_set(err, -ENOMEM, "no memory to measure with");
    uint64_t deadline = tw_clock_now_ns() + to->limit_ns;
    for (unsigned i = 0; i <= to->n_streams && rc == 0; i++) {
        rc = connect_one(to, i, to->n_streams + 1, deadline, &p->pair.fds[i], err);
        p->pair.n_fds = i + 1;
    }
    if (rc != 0)
        return rc;
    *ret = p;
    p = NULL;
    return 0;
}

void tw_probe_close(tw_probe *p)
{
    if (p == NULL)
        return;
    if (p->pair.fds[0] >= 0)
        (void)!send_command(p, &(probe_cmd){.op = PROBE_BYE});
    tw_probe_pair_done(&p->pair);
    tw_mem_free(p->samples);
    tw_mem_free(p);
}

void tw_probe_closep(tw_probe **p)
{
    tw_probe_close(*p);
    *p = NULL;
}

static int ping_socket(probe_pair *q, enum tw_probe_wait wait, uint32_t bytes, tw_err *err)
{
    int rc = tw_probe_send(q->fds[0], q->buf, bytes, wait, &q->stop);
    if (rc == 0)
        rc = tw_probe_recv(q->fds[0], q->buf, bytes, wait, &q->stop);
    return rc == 0 ? 0 : tw_probe_fail(rc, "measuring round trips", err);
}

static int ping_link(probe_pair *q, enum tw_probe_wait wait, uint32_t bytes, tw_err *err)
{
    int rc = tw_probe_link_send(q, bytes, wait, err);
    return rc == 0 ? tw_probe_link_recv(q, bytes, wait, err) : rc;
}

static int do_pings(tw_probe *p, enum tw_probe_wait wait, uint32_t bytes, uint32_t count,
                    tw_err *err)
{
    probe_pair *q = &p->pair;
    probe_cmd c = {.op = PROBE_PING, .wait = (uint8_t)wait, .bytes = bytes, .count = count};
    int rc = send_command(p, &c);
    if (rc != 0)
        return tw_probe_fail(rc, "asking for round trips", err);
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        uint64_t begin = tw_clock_now_ns();
        rc = q->link != NULL ? ping_link(q, wait, bytes, err) : ping_socket(q, wait, bytes, err);
        uint64_t ns = tw_clock_now_ns() - begin;
        p->samples[i] = (uint32_t)TW_MIN(ns, (uint64_t)UINT32_MAX);
        q->moved_bytes += 2 * (uint64_t)bytes;
    }
    return rc;
}

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double half_us(const uint32_t *sorted, uint32_t n, double q)
{
    uint32_t i = (uint32_t)(q * (double)(n - 1) + 0.5);
    return (double)sorted[i] / 2000.0;
}

int tw_probe_ping(tw_probe *p, enum tw_probe_wait wait, uint32_t bytes, uint64_t ns,
                  tw_probe_lat *ret, tw_err *err)
{
    if (bytes == 0 || bytes > TW_PROBE_BYTES_MAX)
        return tw_err_set(err, -EINVAL, "round trips of %u bytes: wanted 1 to %d", bytes,
                          TW_PROBE_BYTES_MAX);
    uint64_t begin = tw_clock_now_ns();
    int rc = do_pings(p, wait, bytes, PING_WARM, err);
    uint64_t one = (tw_clock_now_ns() - begin) / PING_WARM + 1;
    uint64_t count = TW_MIN(TW_MAX(ns / one, (uint64_t)PING_MIN), (uint64_t)PING_MAX);
    if (rc == 0)
        rc = do_pings(p, wait, bytes, (uint32_t)count, err);
    if (rc != 0)
        return rc;
    uint32_t n = (uint32_t)count;
    qsort(p->samples, n, sizeof *p->samples, compare_u32);
    *ret = (tw_probe_lat){.bytes = bytes,
                          .n = n,
                          .min_us = half_us(p->samples, n, 0),
                          .p50_us = half_us(p->samples, n, 0.5),
                          .p99_us = half_us(p->samples, n, 0.99)};
    return 0;
}

static double to_gbit(uint64_t bytes, uint64_t ns)
{
    return ns == 0 ? 0 : (double)bytes * 8.0 / (double)ns;
}

int tw_probe_flood(tw_probe *p, bool to_peer, bool from_peer, uint64_t ns, double *ret_to_gbit,
                   double *ret_from_gbit, tw_err *err)
{
    uint16_t ways = (uint16_t)((to_peer ? PROBE_TO_SERVER : 0) | (from_peer ? PROBE_TO_CLIENT : 0));
    uint64_t bytes = 0, took = 0;
    uint8_t raw[PROBE_RESULT_BYTES];
    int rc = send_command(p, &(probe_cmd){.op = PROBE_FLOOD, .ways = ways, .ns = ns});
    if (rc != 0)
        return tw_probe_fail(rc, "asking for bandwidth", err);
    rc = tw_probe_flood_run(&p->pair, to_peer, from_peer, ns, &bytes, &took, err);
    if (rc != 0)
        return rc;
    rc = tw_probe_recv(p->pair.fds[0], raw, sizeof raw, TW_PROBE_SLEEP, &p->pair.stop);
    if (rc == 0)
        rc = -(int)tw_le_load(raw + 16, 4);
    if (rc != 0)
        return tw_probe_fail(rc, "measuring bandwidth (there)", err);
    *ret_to_gbit = to_peer ? to_gbit(tw_le_load(raw, 8), tw_le_load(raw + 8, 8)) : 0;
    *ret_from_gbit = from_peer ? to_gbit(bytes, took) : 0;
    return 0;
}

static void describe_link(const tw_link *l, char *out, size_t n)
{
    const tw_link_proof *f = &l->proof;
    if (f->port == 0)
        snprintf(out, n, "%s", f->device);
    else if (f->gid[0] == '\0')
        snprintf(out, n, "%s:%u by LID", f->device, f->port);
    else
        snprintf(out, n, "%s:%u GID %u", f->device, f->port, f->gid_index);
}

int tw_probe_link_open(tw_probe *p, enum tw_probe_link_kind kind, char *link_text,
                       size_t text_bytes, tw_err *err)
{
    uint8_t words[PROBE_WORDS_BYTES];
    int rc = send_command(p, &(probe_cmd){.op = PROBE_LINK, .wait = (uint8_t)kind});
    if (rc != 0)
        return tw_probe_fail(rc, "asking for a link", err);
    int rc_own = tw_probe_link_make(&p->pair, kind, 0, err);
    rc = tw_probe_recv(p->pair.fds[0], words, sizeof words, TW_PROBE_SLEEP, &p->pair.stop);
    if (rc_own != 0)
        return rc_own;
    if (rc != 0)
        return tw_probe_fail(rc, "making a link", err);
    words[sizeof words - 1] = '\0';
    rc = -(int)tw_le_load(words, 4);
    if (rc != 0)
        return tw_err_set(err, rc, "the other end: %s", (const char *)words + 8);
    describe_link(p->pair.link, link_text, text_bytes);
    return 0;
}
