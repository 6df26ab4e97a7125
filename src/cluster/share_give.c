/* SPDX-License-Identifier: Apache-2.0 */
/* The giving end: the door with its token, and a thread for each who came in. */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/mem.h"
#include "base/scope.h"
#include "cluster/share_inside.h"
#include "link/crc32c.h"
#include "os/fd.h"
#include "os/sock.h"

enum { DOOR_SLICE_MS = 100, ASK_SLICE_MS = 500 };

static int send_block(share_conn *c, const uint8_t *p, const tw_share_head *h)
{
    uint8_t raw[TW_SHARE_HEAD_BYTES];
    const uint64_t until = tw_clock_now_ns() + SHARE_STALL_NS;
    tw_share_head_print(h, raw);
    int rc = tw_sock_send_all(c->fd, raw, sizeof raw, until);
    return rc == 0 ? tw_sock_send_all(c->fd, p, h->bytes, until) : rc;
}

static int refuse(share_conn *c, int code)
{
    return send_block(c, NULL, &(tw_share_head){.crc = (uint32_t)-code});
}

/* n bytes of the file at `at`. */
static int read_block(int fd, uint64_t at, uint8_t *p, size_t n)
{
    for (size_t got = 0; got < n;) {
        const ssize_t k = pread(fd, p + got, n - got, (off_t)(at + got));
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return k < 0 ? -errno : -EIO;
        got += (size_t)k;
    }
    return 0;
}

static int give(share_conn *c, const tw_share_ask *a, uint8_t *block)
{
    tw_share *s = c->s;
    const tw_hub_map *m = tw_hub_store_map(s->o.store);
    TW_CLEANUP(tw_fd_closep) int fd = -1;
    tw_err ignored;
    if (a->unit >= m->n_units)
        return -EPROTO;
    const uint64_t size = tw_hub_map_bytes(m, a->unit), at = tw_hub_map_at(m, a->unit);
    if (a->offset >= size)
        return -EPROTO;
    if (tw_hub_store_done(s->o.store, a->unit) != size)
        return refuse(c, -ENODATA);
    int rc = tw_hub_store_reader(s->o.store, m->file[a->unit], &fd, &ignored);
    if (rc != 0)
        return refuse(c, rc);
    for (uint64_t k = a->offset; k < size && rc == 0;) {
        tw_share_head h = {.bytes = (uint32_t)TW_MIN(size - k, (uint64_t)TW_SHARE_BLOCK_BYTES)};
        rc = read_block(fd, at + k, block, h.bytes);
        if (rc != 0)
            return refuse(c, rc);
        h.crc = tw_crc32c(0, block, h.bytes);
        if (atomic_exchange(&s->flip, false))
            block[h.bytes / 2] ^= 1;
        rc = send_block(c, block, &h);
        k += h.bytes;
        atomic_fetch_add(&s->given_bytes, h.bytes);
    }
    return rc;
}

static void serve(share_conn *c)
{
    uint8_t raw[TW_SHARE_ASK_BYTES];
    TW_CLEANUP(tw_mem_freep) uint8_t *block = tw_mem_alloc(TW_SHARE_BLOCK_BYTES);
    int rc = block == NULL ? -ENOMEM : 0;
    while (rc == 0 && !atomic_load(&c->s->stop)) {
        struct pollfd pfd = {.fd = c->fd, .events = POLLIN};
        tw_share_ask a;
        if (poll(&pfd, 1, ASK_SLICE_MS) <= 0)
            continue;
        rc = tw_sock_recv_all(c->fd, raw, sizeof raw, tw_clock_now_ns() + SHARE_STALL_NS);
        if (rc == 0)
            rc = tw_share_ask_parse(raw, &a);
        if (rc == 0)
            rc = give(c, &a, block);
    }
}

static void *serve_guest(void *arg)
{
    share_conn *c = arg;
    if (tw_share_welcome(c->fd, c->s->o.token, tw_clock_now_ns() + SHARE_GREET_NS) == 0) {
        atomic_fetch_add(&c->s->n_here, 1);
        serve(c);
    }
    pthread_mutex_lock(&c->s->lock);
    tw_fd_closep(&c->fd); /* its place may be had by another */
    pthread_mutex_unlock(&c->s->lock);
    return NULL;
}

/* More guests than places: who comes then has no luck, and those without the token leave soon. */
static void let_in(tw_share *s, int fd)
{
    share_conn *c = NULL;
    pthread_mutex_lock(&s->lock);
    for (unsigned i = 0; i < SHARE_GIVERS_MAX && c == NULL; i++)
        if (s->givers[i].fd < 0)
            c = &s->givers[i];
    const bool joins = c != NULL && c->has_thread;
    if (c != NULL)
        c->fd = fd;
    pthread_mutex_unlock(&s->lock);
    if (joins)
        pthread_join(c->thread, NULL);
    if (c != NULL) {
        c->s = s;
        c->has_thread = pthread_create(&c->thread, NULL, serve_guest, c) == 0;
    }
    if (c == NULL || !c->has_thread) {
        if (c != NULL)
            c->fd = -1;
        close(fd);
    }
}

void *tw_share_door(void *share)
{
    tw_share *s = share;
    const unsigned n_all = (s->o.n_nodes - 1) * TW_SHARE_STREAMS;
    while (!atomic_load(&s->stop) && atomic_load(&s->n_here) < n_all &&
           tw_clock_now_ns() < atomic_load(&s->door_until_ns)) {
        struct pollfd pfd = {.fd = s->listen_fd, .events = POLLIN};
        int fd = -1;
        (void)poll(&pfd, 1, DOOR_SLICE_MS);
        while (tw_sock_accept(s->listen_fd, &fd) == 0)
            let_in(s, fd);
    }
    tw_fd_closep(&s->listen_fd);
    return NULL;
}
