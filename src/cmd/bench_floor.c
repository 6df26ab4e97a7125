/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/bench_floor.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cmd/bench_floor_verbs.h"
#include "os/fd.h"
#include "os/sock.h"

enum { LINE = 64, N_SLOTS = 2, WINDOW = N_SLOTS * TW_FLOOR_SLOT, PIECE = 64 * 1024 };

typedef struct floor_side {
    _Alignas(LINE) _Atomic uint64_t flag;
    _Alignas(LINE) uint8_t slots[WINDOW];
} floor_side;

struct tw_floor {
    unsigned rank;
    int fd;                /* tcp; else -1 */
    tw_floor_verbs *verbs; /* rdma; else NULL */
    floor_side *side;      /* shm: [2] */
    uint64_t n;            /* exchanges so far */
    const tw_kern *kern;
    uint8_t *in; /* [WINDOW] */
};

/* What rank 0 tells rank 1. */
struct door {
    int32_t pid, memfd;
    uint16_t port;
    int32_t code;
};

static int open_door(tw_floor *f, bool shm, const char *address, struct door *ret, int *ret_fd,
                     tw_err *err)
{
    if (!shm)
        return tw_sock_listen(address, 0, ret_fd, &ret->port, err);
    const size_t bytes = 2 * sizeof(floor_side);
    *ret_fd = memfd_create("twinax-floor", MFD_CLOEXEC);
    if (*ret_fd < 0 || ftruncate(*ret_fd, (off_t)bytes) != 0)
        return tw_err_set(err, -errno, "shared memory: %s", strerror(errno));
    ret->pid = (int32_t)getpid();
    ret->memfd = *ret_fd;
    (void)f;
    return 0;
}

static int map_sides(tw_floor *f, int memfd, tw_err *err)
{
    void *p = mmap(NULL, 2 * sizeof(floor_side), PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
    if (memfd < 0 || p == MAP_FAILED)
        return tw_err_set(err, -errno, "map shared memory: %s", strerror(errno));
    f->side = p;
    return 0;
}

/* Rank 0 accepts, rank 1 goes through the door. */
static int pass_door(tw_floor *f, bool shm, const char *address, const struct door *d, int door_fd,
                     tw_err *err)
{
    const uint64_t until = tw_clock_now_ns() + 10 * TW_NS_PER_S;
    if (shm && f->rank == 0)
        return map_sides(f, door_fd, err);
    if (shm) {
        char path[64];
        snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)d->pid, (int)d->memfd);
        TW_CLEANUP(tw_fd_closep) int fd = open(path, O_RDWR | O_CLOEXEC);
        return map_sides(f, fd, err);
    }
    if (f->rank == 0) {
        struct pollfd p = {.fd = door_fd, .events = POLLIN};
        if (poll(&p, 1, 10000) != 1 || tw_sock_accept(door_fd, &f->fd) != 0)
            return tw_err_set(err, -ETIMEDOUT, "rank 1 did not connect for the floor");
    } else {
        int rc = tw_sock_connect(address, d->port, NULL, until, &f->fd, err);
        if (rc != 0)
            return rc;
    }
    int one = 1;
    (void)!setsockopt(f->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return 0;
}

/* By tcp or shm. */
static int meet(tw_floor *f, tw_coll *c, bool shm, const char *address, tw_err *err)
{
    TW_CLEANUP(tw_fd_closep) int door_fd = -1;
    struct door d = {0};
    tw_err why = {0};
    if (f->rank == 0)
        d.code = open_door(f, shm, address, &d, &door_fd, &why);
    int rc = tw_coll_broadcast(c, 0, &d, sizeof(d), err);
    if (rc == 0 && d.code != 0)
        rc = tw_err_set(err, d.code, "floor: %.200s", f->rank == 0 ? why.msg : "rank 0 has none");
    if (rc == 0)
        rc = pass_door(f, shm, address, &d, door_fd, err);
    return rc == 0 ? tw_coll_barrier(c, err) : rc; /* the door stays open until rank 1 is through */
}

int tw_floor_open(tw_coll *c, const char *transport, const char *address, tw_floor **ret,
                  tw_err *err)
{
    tw_floor *f = tw_mem_calloc(1, sizeof(*f));
    if (f == NULL || (f->in = tw_mem_align(64, WINDOW)) == NULL) {
        tw_mem_free(f);
        return tw_err_set(err, -ENOMEM, "no memory for the floor");
    }
    memset(f->in, 0, WINDOW);
    f->rank = tw_coll_rank(c);
    f->fd = -1;
    f->kern = tw_kern_get(NULL);
    int rc = strcmp(transport, "rdma") == 0
                 ? tw_floor_verbs_open(c, &f->verbs, err)
                 : meet(f, c, strcmp(transport, "shm") == 0, address, err);
    if (rc != 0) {
        tw_floor_close(f);
        return rc;
    }
    *ret = f;
    return 0;
}

void tw_floor_close(tw_floor *f)
{
    if (f == NULL)
        return;
    if (f->fd >= 0)
        close(f->fd);
    if (f->side != NULL)
        munmap(f->side, 2 * sizeof(floor_side));
    tw_floor_verbs_close(f->verbs);
    tw_mem_free(f->in);
    tw_mem_free(f);
}

static int exchange_tcp(tw_floor *f, const uint8_t *out, size_t bytes, tw_err *err)
{
    size_t sent = 0, got = 0;
    while (sent < bytes || got < bytes) {
        if (sent < bytes) {
            ssize_t n = send(f->fd, out + sent, bytes - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (n < 0 && errno != EAGAIN && errno != EINTR)
                return tw_err_set(err, -errno, "floor: send: %s", strerror(errno));
            sent += n > 0 ? (size_t)n : 0;
        }
        if (got < bytes) {
            const size_t at = got % WINDOW, room = TW_MIN(WINDOW - at, bytes - got);
            ssize_t n = recv(f->fd, f->in + at, room, MSG_DONTWAIT);
            if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
                return tw_err_set(err, -ECONNRESET, "floor: the peer is gone");
            got += n > 0 ? (size_t)n : 0;
        }
    }
    return 0;
}

/* Our flag to n, then the peer's. */
static int raise_flag(tw_floor *f, tw_err *err)
{
    atomic_store_explicit(&f->side[f->rank].flag, f->n, memory_order_release);
    const _Atomic uint64_t *theirs = &f->side[f->rank ^ 1].flag;
    for (uint64_t n_spun = 1; atomic_load_explicit(theirs, memory_order_acquire) < f->n; n_spun++) {
        tw_cpu_relax();
        if (n_spun % (UINT64_C(1) << 32) == 0)
            return tw_err_set(err, -ETIMEDOUT, "floor: the peer is gone");
    }
    return 0;
}

static int exchange_flag(tw_floor *f, const uint8_t *out, size_t bytes, tw_err *err)
{
    const size_t slot = f->n++ % N_SLOTS * TW_FLOOR_SLOT;
    memcpy(f->side[f->rank].slots + slot, out, bytes);
    int rc = raise_flag(f, err);
    if (rc == 0)
        memcpy(f->in, f->side[f->rank ^ 1].slots + slot, bytes);
    return rc;
}

static int run_loop(tw_floor *f, float *x, size_t bytes, tw_err *err)
{
    f->n++;
    int rc = raise_flag(f, err); /* both run at the same time */
    for (size_t at = 0; rc == 0 && at < bytes; at += PIECE) {
        const size_t n = TW_MIN((size_t)PIECE, bytes - at);
        const void *theirs = f->side[f->rank ^ 1].slots + at % WINDOW;
        float *mine = x + at / sizeof(*x);
        memcpy(f->side[f->rank].slots + at % WINDOW, mine, n);
        f->kern->add(mine, mine, theirs, n / sizeof(*x));
    }
    f->n++;
    return rc == 0 ? raise_flag(f, err) : rc;
}

int tw_floor_exchange(tw_floor *f, float *x, size_t bytes, tw_err *err)
{
    if (f->verbs != NULL)
        return tw_floor_verbs_exchange(f->verbs, bytes, err);
    if (f->fd >= 0)
        return exchange_tcp(f, (const uint8_t *)x, bytes, err);
    if (bytes <= TW_FLOOR_SLOT)
        return exchange_flag(f, (const uint8_t *)x, bytes, err);
    return run_loop(f, x, bytes, err);
}

const char *tw_floor_name(const tw_floor *f, size_t bytes)
{
    if (f->verbs != NULL)
        return "raw verbs exchange";
    if (f->fd >= 0)
        return "raw tcp exchange";
    return bytes <= TW_FLOOR_SLOT ? "shm copy and flag" : "same loads and stores";
}
