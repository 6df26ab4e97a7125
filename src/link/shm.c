/* SPDX-License-Identifier: Apache-2.0 */
/* Shared memory: one ring of bytes per direction in a sealed memfd. head and tail only grow (they
 * are the epoch), each on a cache line of its own. While a side spins no system call is made; a
 * side that sleeps says so in the map and is woken by a byte on the unix socket, whose end of file
 * also tells that the peer is gone. Nothing has a name in a file system.
 *
 *   side 0 -> 1: ring 0    side 1 -> 0: ring 1
 *   memfd:  | heads | ring 0 | ring 1 |
 *   mapped: | heads | ring 0 | ring 0 | ring 1 | ring 1 |
 * Each ring is mapped twice in a row, so that whatever lies in it is one piece. */
#include "link/link.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"

/* HEADS_BYTES: rings begin on a page, however large pages are. */
enum { RING_BYTES = 256 * 1024, HEADS_BYTES = 64 * 1024, LINE = 64 };
/* Most that one write copies before the peer sees it: he reads one part while we write the next. */
enum { PART_BYTES = 64 * 1024, PREFETCH_BYTES = 1024 };
enum { MEMFD_BYTES = HEADS_BYTES + 2 * RING_BYTES, MAP_BYTES = HEADS_BYTES + 4 * RING_BYTES };

typedef struct shm_ring {
    _Alignas(LINE) _Atomic uint64_t head; /* bytes written; by the sender */
    _Alignas(LINE) _Atomic uint64_t tail; /* bytes read; by the receiver */
} shm_ring;

typedef struct shm_map {
    _Alignas(LINE) _Atomic uint32_t asleep[2 * LINE / sizeof(uint32_t)]; /* side i at i * 16 */
    shm_ring rings[2];
    _Alignas(LINE) _Atomic uint32_t expedited[2]; /* side i: membarrier reaches it */
} shm_map;

_Static_assert(sizeof(shm_map) <= HEADS_BYTES, "heads fit their place");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "counters in shared memory must be lock-free");

enum { ASLEEP_STEP = LINE / sizeof(uint32_t) };
enum { SHM_SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL };

typedef struct shm_link {
    tw_link l;
    int sock;
    unsigned side;
    bool peer_gone;
    bool expedited; /* membarrier reaches us, and we call it before we sleep */
    uint64_t
        tail_seen; /* of our ring, when last looked: his line is left alone while there is room */
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

static int call_membarrier(int cmd)
{
    return (int)syscall(SYS_membarrier, cmd, 0, 0);
}

static void wake_peer(shm_link *s)
{
    /* Our counter must be seen before we look whether he sleeps; he does it the other way round. A
     * fence here would wait for all that was just copied: he who goes to sleep, which costs anyway,
     * makes us have fenced. */
    if (s->expedited && atomic_load_explicit(&s->map->expedited[s->side ^ 1], memory_order_relaxed))
        atomic_signal_fence(memory_order_seq_cst);
    else
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

/* Byte `at` of a ring; RING_BYTES in one piece from there. */
static uint8_t *place_of(shm_link *s, unsigned i_ring, uint64_t at)
{
    return (uint8_t *)s->map + HEADS_BYTES + (size_t)i_ring * 2 * RING_BYTES + at % RING_BYTES;
}

static ssize_t shm_write(tw_link *l, const struct iovec *iov, int n_iov)
{
    shm_link *s = shm_of(l);
    shm_ring *r = &s->map->rings[s->side];
    uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    size_t want = 0, done = 0;
    for (int i = 0; i < n_iov; i++)
        want += iov[i].iov_len;
    if (RING_BYTES - (head - s->tail_seen) < TW_MIN(want, (size_t)PART_BYTES))
        s->tail_seen = atomic_load_explicit(&r->tail, memory_order_acquire);
    if (head - s->tail_seen > RING_BYTES)
        return -EPROTO;
    size_t room = TW_MIN(RING_BYTES - (size_t)(head - s->tail_seen), (size_t)PART_BYTES);
    if (s->peer_gone)
        return -ECONNRESET;
    for (int i = 0; i < n_iov && room > 0; i++) {
        size_t n = TW_MIN(room, iov[i].iov_len);
        memcpy(place_of(s, s->side, head + done), iov[i].iov_base, n);
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
    /* The lines still lie in the peer's cache: all called at once, while the head is looked at. */
    for (size_t i = 0; i < TW_MIN(left, (size_t)PREFETCH_BYTES); i += LINE)
        __builtin_prefetch(place_of(s, s->side ^ 1, tail + i));
    for (int i = 0; i < n_iov && left > 0; i++) {
        size_t n = TW_MIN(left, iov[i].iov_len);
        memcpy(iov[i].iov_base, place_of(s, s->side ^ 1, tail + done), n);
        done += n;
        left -= n;
    }
    atomic_store_explicit(&r->tail, tail + done, memory_order_release);
    wake_peer(s);
    return (ssize_t)done;
}

static ssize_t shm_view(tw_link *l, const void **ret)
{
    shm_link *s = shm_of(l);
    shm_ring *r = &s->map->rings[s->side ^ 1];
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    uint64_t there = atomic_load_explicit(&r->head, memory_order_acquire) - tail;
    if (there > RING_BYTES)
        return -EPROTO;
    if (there == 0)
        return s->peer_gone ? -ECONNRESET : 0;
    *ret = place_of(s, s->side ^ 1, tail);
    return (ssize_t)TW_MIN(there, (uint64_t)PART_BYTES);
}

static void shm_skip(tw_link *l, size_t n)
{
    shm_link *s = shm_of(l);
    shm_ring *r = &s->map->rings[s->side ^ 1];
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    if (n == 0)
        return;
    atomic_store_explicit(&r->tail, tail + n, memory_order_release);
    wake_peer(s);
}

static bool may_move(shm_link *s)
{
    shm_ring *out = &s->map->rings[s->side], *in = &s->map->rings[s->side ^ 1];
    bool can_read = atomic_load(&in->head) != atomic_load(&in->tail);
    bool can_write = atomic_load(&out->head) - atomic_load(&out->tail) < RING_BYTES;
    return (tw_link_rx_wants(&s->l) && can_read) || (s->l.tx.busy && can_write);
}

static bool shm_arm(tw_link *l, struct pollfd *ret)
{
    shm_link *s = shm_of(l);
    atomic_store(asleep_of(s, s->side), 1);
    atomic_thread_fence(memory_order_seq_cst);
    bool fenced = !s->expedited || call_membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED) == 0;
    if (!fenced || s->peer_gone || may_move(s)) {
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
    munmap(s->map, MAP_BYTES);
    close(s->sock);
    tw_mem_free(s);
}

static const tw_link_ops shm_ops = {.name = "shm",
                                    .write = shm_write,
                                    .read = shm_read,
                                    .view = shm_view,
                                    .skip = shm_skip,
                                    .arm = shm_arm,
                                    .disarm = shm_disarm,
                                    .close = shm_close};

int tw_link_shm_make(int *ret_memfd, tw_err *err)
{
    int fd = memfd_create("twinax-link", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return tw_err_set(err, -errno, "shm: memfd_create: %s", strerror(errno));
    if (ftruncate(fd, MEMFD_BYTES) != 0 || fcntl(fd, F_ADD_SEALS, SHM_SEALS) != 0) {
        int rc = -errno;
        close(fd);
        return tw_err_set(err, rc, "shm: %d bytes of shared memory: %s", MEMFD_BYTES,
                          strerror(-rc));
    }
    *ret_memfd = fd;
    return 0;
}

static bool map_part(uint8_t *at, int memfd, size_t from, size_t bytes)
{
    const int flags = MAP_SHARED | MAP_FIXED;
    return mmap(at, bytes, PROT_READ | PROT_WRITE, flags, memfd, (off_t)from) == at;
}

static int open_map(int memfd, uint8_t peer, shm_map **ret, tw_err *err)
{
    struct stat st;
    /* A map that the peer could shrink would be our SIGBUS. */
    if (fstat(memfd, &st) != 0 || st.st_size != MEMFD_BYTES ||
        fcntl(memfd, F_GET_SEALS) != SHM_SEALS)
        return tw_err_set(err, -EPROTO, "shm: the memory that rank %u handed over is no ring",
                          peer);
    uint8_t *p = mmap(NULL, MAP_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return tw_err_set(err, -errno, "shm: map %d bytes: %s", MAP_BYTES, strerror(errno));
    bool good = map_part(p, memfd, 0, HEADS_BYTES);
    for (size_t i = 0; good && i < 4; i++)
        good = map_part(p + HEADS_BYTES + i * RING_BYTES, memfd, HEADS_BYTES + i / 2 * RING_BYTES,
                        RING_BYTES);
    if (!good) {
        int rc = -errno;
        munmap(p, MAP_BYTES);
        return tw_err_set(err, rc, "shm: map %d bytes: %s", MAP_BYTES, strerror(-rc));
    }
    *ret = (shm_map *)(void *)p;
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
            munmap(map, MAP_BYTES);
        close(sock);
        return rc != 0 ? rc : tw_err_set(err, -ENOMEM, "no memory for a shm link");
    }
    s->sock = sock;
    s->side = side;
    s->map = map;
    s->expedited = call_membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) == 0;
    atomic_store(&map->expedited[side], s->expedited);
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
