/* SPDX-License-Identifier: Apache-2.0 */
/* Shared memory: one ring of bytes per direction in a sealed memfd. head and tail only grow (they
 * are the epoch), each on a cache line of its own. While a side spins no system call is made; a
 * side that sleeps says so in the map and is woken by a byte on the unix socket, whose end of file
 * also tells that the peer is gone. Nothing has a name in a file system.
 *
 *   side 0 -> 1: rings[0]    side 1 -> 0: rings[1] */
#include "link/link.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"

enum { RING_BYTES = 512 * 1024, LINE = 64 };

typedef struct shm_ring {
    _Alignas(LINE) _Atomic uint64_t head; /* bytes written; by the sender */
    _Alignas(LINE) _Atomic uint64_t tail; /* bytes read; by the receiver */
    _Alignas(LINE) uint8_t data[RING_BYTES];
} shm_ring;

typedef struct shm_map {
    _Alignas(LINE) _Atomic uint32_t asleep[2 * LINE / sizeof(uint32_t)]; /* side i at i * 16 */
    shm_ring rings[2];
} shm_map;

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "counters in shared memory must be lock-free");

enum { ASLEEP_STEP = LINE / sizeof(uint32_t) };
enum { SHM_SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL };

typedef struct shm_link {
    tw_link l;
    int sock;
    unsigned side;
    bool peer_gone;
    shm_map *map;
} shm_link;

static shm_link *shm_of(tw_link *l)
{
    return (shm_link *)l; /* first member */
}

static _Atomic uint32_t *asleep_of(shm_link *s, unsigned side)
{
    return &s->map->asleep[side * ASLEEP_STEP];
}

static void wake_peer(shm_link *s)
{
    /* Our counter must be seen before we look whether he sleeps; he does it the other way round. */
    atomic_thread_fence(memory_order_seq_cst);
    _Atomic uint32_t *asleep = asleep_of(s, s->side ^ 1);
    if (atomic_load_explicit(asleep, memory_order_relaxed) == 0)
        return;
    if (atomic_exchange(asleep, 0) != 0)
        (void)!send(s->sock, "w", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static bool is_gone(shm_link *s)
{
    char c[64];
    if (s->peer_gone)
        return true;
    ssize_t n = recv(s->sock, c, sizeof c, MSG_DONTWAIT);
    s->peer_gone = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
    return s->peer_gone;
}

/* One contiguous piece at a time, wrapped by the caller's loop. */
static void copy_in(shm_ring *r, uint64_t at, const void *p, size_t n)
{
    size_t i = (size_t)(at % RING_BYTES), first = TW_MIN(n, RING_BYTES - i);
    memcpy(r->data + i, p, first);
    memcpy(r->data, (const char *)p + first, n - first);
}

static void copy_out(const shm_ring *r, uint64_t at, void *p, size_t n)
{
    size_t i = (size_t)(at % RING_BYTES), first = TW_MIN(n, RING_BYTES - i);
    memcpy(p, r->data + i, first);
    memcpy((char *)p + first, r->data, n - first);
}

static ssize_t shm_write(tw_link *l, const struct iovec *iov, int n_iov)
{
    shm_link *s = shm_of(l);
    shm_ring *r = &s->map->rings[s->side];
    uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    uint64_t used = head - atomic_load_explicit(&r->tail, memory_order_acquire);
    if (used > RING_BYTES)
        return -EPROTO;
    size_t room = RING_BYTES - (size_t)used, done = 0;
    if (s->peer_gone)
        return -ECONNRESET;
    for (int i = 0; i < n_iov && room > 0; i++) {
        size_t n = TW_MIN(room, iov[i].iov_len);
        copy_in(r, head + done, iov[i].iov_base, n);
        done += n;
        room -= n;
    }
    if (done > 0) {
        atomic_store_explicit(&r->head, head + done, memory_order_release);
        wake_peer(s);
    }
    return (ssize_t)done;
}

static ssize_t shm_read(tw_link *l, const struct iovec *iov, int n_iov)
{
    shm_link *s = shm_of(l);
    shm_ring *r = &s->map->rings[s->side ^ 1];
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    uint64_t there = atomic_load_explicit(&r->head, memory_order_acquire) - tail;
    if (there > RING_BYTES)
        return -EPROTO;
    if (there == 0)
        return s->peer_gone ? -ECONNRESET : 0;
    size_t left = (size_t)there, done = 0;
    for (int i = 0; i < n_iov && left > 0; i++) {
        size_t n = TW_MIN(left, iov[i].iov_len);
        copy_out(r, tail + done, iov[i].iov_base, n);
        done += n;
        left -= n;
    }
    atomic_store_explicit(&r->tail, tail + done, memory_order_release);
    wake_peer(s);
    return (ssize_t)done;
}

static bool may_move(shm_link *s)
{
    shm_ring *out = &s->map->rings[s->side], *in = &s->map->rings[s->side ^ 1];
    bool can_read = atomic_load(&in->head) != atomic_load(&in->tail);
    bool can_write = atomic_load(&out->head) - atomic_load(&out->tail) < RING_BYTES;
    return (s->l.rx.busy && can_read) || (s->l.tx.busy && can_write);
}

static bool shm_arm(tw_link *l, struct pollfd *ret)
{
    shm_link *s = shm_of(l);
    atomic_store(asleep_of(s, s->side), 1);
    atomic_thread_fence(memory_order_seq_cst);
    if (s->peer_gone || may_move(s)) {
        atomic_store(asleep_of(s, s->side), 0);
        return false;
    }
    *ret = (struct pollfd){.fd = s->sock, .events = POLLIN};
    return true;
}

static void shm_disarm(tw_link *l, short revents)
{
    shm_link *s = shm_of(l);
    atomic_store(asleep_of(s, s->side), 0);
    if (revents != 0)
        (void)is_gone(s); /* also takes the doorbell's byte */
}

static void shm_close(tw_link *l)
{
    shm_link *s = shm_of(l);
    munmap(s->map, sizeof *s->map);
    close(s->sock);
    tw_mem_free(s);
}

static const tw_link_ops shm_ops = {.name = "shm",
                                    .write = shm_write,
                                    .read = shm_read,
                                    .arm = shm_arm,
                                    .disarm = shm_disarm,
                                    .close = shm_close};

int tw_link_shm_make(int *ret_memfd, tw_err *err)
{
    int fd = memfd_create("twinax-link", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return tw_err_set(err, -errno, "shm: memfd_create: %s", strerror(errno));
    if (ftruncate(fd, sizeof(shm_map)) != 0 || fcntl(fd, F_ADD_SEALS, SHM_SEALS) != 0) {
        int rc = -errno;
        close(fd);
        return tw_err_set(err, rc, "shm: %zu bytes of shared memory: %s", sizeof(shm_map),
                          strerror(-rc));
    }
    *ret_memfd = fd;
    return 0;
}

static int open_map(int memfd, uint8_t peer, shm_map **ret, tw_err *err)
{
    struct stat st;
    /* A map that the peer could shrink would be our SIGBUS. */
    if (fstat(memfd, &st) != 0 || st.st_size != (off_t)sizeof(shm_map) ||
        fcntl(memfd, F_GET_SEALS) != SHM_SEALS)
        return tw_err_set(err, -EPROTO, "shm: the memory that rank %u handed over is no ring",
                          peer);
    void *p = mmap(NULL, sizeof(shm_map), PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
    if (p == MAP_FAILED)
        return tw_err_set(err, -errno, "shm: map %zu bytes: %s", sizeof(shm_map), strerror(errno));
    *ret = p;
    return 0;
}

int tw_link_shm_new(int memfd, int sock, unsigned side, uint8_t rank, uint8_t peer, bool verify,
                    tw_link **ret, tw_err *err)
{
    shm_map *map = NULL;
    int rc = open_map(memfd, peer, &map, err);
    close(memfd);
    shm_link *s = rc == 0 ? tw_mem_calloc(1, sizeof *s) : NULL;
    if (s == NULL) {
        if (rc == 0)
            munmap(map, sizeof *map);
        close(sock);
        return rc != 0 ? rc : tw_err_set(err, -ENOMEM, "no memory for a shm link");
    }
    s->sock = sock;
    s->side = side;
    s->map = map;
    snprintf(s->l.proof.device, sizeof s->l.proof.device, "memfd");
    snprintf(s->l.proof.local, sizeof s->l.proof.local, "pid %d", (int)getpid());
    struct ucred cred;
    socklen_t len = sizeof cred;
    if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0)
        snprintf(s->l.proof.peer, sizeof s->l.proof.peer, "pid %d", (int)cred.pid);
    tw_link_init(&s->l, &shm_ops, rank, peer, verify);
    *ret = &s->l;
    return 0;
}
