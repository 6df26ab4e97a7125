/* SPDX-License-Identifier: Apache-2.0 */
/* Bulk data: one thread per stream and way. Rates are what arrived between two looks of the
 * receiving end, while all streams were busy: neither the start nor the end of a stream counts. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cluster/probe_inside.h"

#define LOOK_MS     20
#define LOOK_NS     (LOOK_MS * TW_NS_PER_MS)
#define WARM_MIN    (50 * TW_NS_PER_MS)
#define MORE_NS     (100 * TW_NS_PER_MS) /* senders go on beyond the window: the ends' clocks differ */
#define STACK_BYTES (256 * 1024)

typedef struct flood_worker {
    pthread_t thread;
    probe_pair *pair;
    int fd;
    bool sends;
    uint8_t *block; /* [PROBE_BLOCK_BYTES] */
    uint64_t until_ns;
    atomic_bool *abort;
    _Atomic uint64_t bytes;
    int rc;
} flood_worker;

typedef struct flood {
    flood_worker w[2 * TW_PROBE_STREAMS_MAX];
    unsigned n;
    atomic_bool abort;
} flood;

static bool is_aborted(void *ctx)
{
    return atomic_load_explicit((atomic_bool *)ctx, memory_order_relaxed);
}

static void *send_blocks(void *arg)
{
    flood_worker *w = arg;
    tw_probe_stop stop = {.asked = is_aborted, .ctx = w->abort};
    memset(w->block, 0x5a, PROBE_BLOCK_BYTES);
    bool last = false;
    while (!last && w->rc == 0) {
        last = tw_clock_now_ns() >= w->until_ns;
        w->block[0] = last;
        w->rc = tw_probe_send(w->fd, w->block, PROBE_BLOCK_BYTES, TW_PROBE_SLEEP, &stop);
        atomic_fetch_add_explicit(&w->bytes, PROBE_BLOCK_BYTES, memory_order_relaxed);
    }
    if (w->rc != 0)
        atomic_store(w->abort, true);
    return NULL;
}

/* Takes what is there, a block at most. */
static int take_some(flood_worker *w, const tw_probe_stop *stop, size_t *ret_n)
{
    ssize_t got = recv(w->fd, w->block, PROBE_BLOCK_BYTES, MSG_DONTWAIT);
    if (got == 0)
        return -ECONNRESET;
    *ret_n = got > 0 ? (size_t)got : 0;
    if (got > 0)
        return 0;
    if (errno != EAGAIN && errno != EINTR)
        return -errno;
    struct pollfd p = {.fd = w->fd, .events = POLLIN};
    (void)poll(&p, 1, LOOK_MS);
    return tw_probe_stopped(stop) ? -ECANCELED : 0;
}

static void *receive_blocks(void *arg)
{
    flood_worker *w = arg;
    tw_probe_stop stop = {.asked = is_aborted, .ctx = w->abort};
    bool last = false;
    for (size_t at = 0; !(last && at == 0) && w->rc == 0;) {
        size_t n = 0;
        w->rc = take_some(w, &stop, &n);
        /* The first byte of a block says whether it is the last; after that nothing comes. */
        const size_t first = (PROBE_BLOCK_BYTES - at) % PROBE_BLOCK_BYTES;
        if (first < n)
            last = w->block[first] == 1;
        at = (at + n) % PROBE_BLOCK_BYTES;
        atomic_fetch_add_explicit(&w->bytes, n, memory_order_relaxed);
    }
    if (w->rc != 0)
        atomic_store(w->abort, true);
    return NULL;
}

static int start_worker(flood *f, probe_pair *p, int fd, bool sends, uint64_t until_ns)
{
    flood_worker *w = &f->w[f->n];
    *w = (flood_worker){.pair = p,
                        .fd = fd,
                        .sends = sends,
                        .until_ns = until_ns,
                        .abort = &f->abort,
                        .block = tw_mem_alloc(PROBE_BLOCK_BYTES)};
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    int rc = w->block == NULL
                 ? -ENOMEM
                 : -pthread_create(&w->thread, &attr, sends ? send_blocks : receive_blocks, w);
    pthread_attr_destroy(&attr);
    if (rc != 0)
        tw_mem_free(w->block);
    else
        f->n++;
    return rc;
}

/* Bytes received so far. */
static uint64_t look(flood *f)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < f->n; i++)
        if (!f->w[i].sends)
            sum += atomic_load_explicit(&f->w[i].bytes, memory_order_relaxed);
    return sum;
}

static int sleep_until(flood *f, uint64_t when_ns, const tw_probe_stop *stop)
{
    for (uint64_t now; (now = tw_clock_now_ns()) < when_ns;) {
        uint64_t ns = TW_MIN(when_ns - now, LOOK_NS);
        struct timespec ts = {.tv_sec = 0, .tv_nsec = (int)ns};
        nanosleep(&ts, NULL);
        if (tw_probe_stopped(stop)) {
            atomic_store(&f->abort, true);
            return -ECANCELED;
        }
        if (is_aborted(&f->abort)) /* a worker has failed and knows why */
            return -EPIPE;
    }
    return 0;
}

/* The first cause of all workers; everything is over afterwards. */
static int join_all(flood *f, probe_pair *p)
{
    int rc = 0;
    for (unsigned i = 0; i < f->n; i++) {
        flood_worker *w = &f->w[i];
        pthread_join(w->thread, NULL);
        if (rc == 0 || rc == -ECANCELED)
            rc = w->rc != 0 ? w->rc : rc;
        p->moved_bytes += atomic_load(&w->bytes);
        tw_mem_free(w->block);
    }
    return rc;
}

int tw_probe_flood_run(probe_pair *p, bool send, bool receive, uint64_t ns, uint64_t *ret_bytes,
                       uint64_t *ret_ns, tw_err *err)
{
    if (p->link != NULL)
        return tw_probe_link_flood(p, send, receive, ns, ret_bytes, ret_ns, err);
    flood f = {.n = 0};
    uint64_t begin = tw_clock_now_ns(), warm = TW_MAX(WARM_MIN, ns / 5);
    uint64_t until = begin + warm + ns + MORE_NS;
    int rc = 0;
    for (unsigned i = 1; i < p->n_fds && rc == 0; i++) {
        if (receive)
            rc = start_worker(&f, p, p->fds[i], false, until);
        if (rc == 0 && send)
            rc = start_worker(&f, p, p->fds[i], true, until);
    }
    if (rc != 0)
        atomic_store(&f.abort, true);
    if (rc == 0)
        rc = sleep_until(&f, begin + warm, &p->stop);
    uint64_t bytes = look(&f), at = tw_clock_now_ns();
    if (rc == 0)
        rc = sleep_until(&f, begin + warm + ns, &p->stop);
    bytes = look(&f) - bytes;
    at = tw_clock_now_ns() - at;
    if (rc == 0)
        rc = sleep_until(&f, until, &p->stop);
    int rc_join = join_all(&f, p);
    *ret_bytes = bytes;
    *ret_ns = at;
    rc = rc != 0 && rc != -EPIPE ? rc : rc_join;
    return rc != 0 ? tw_probe_fail(rc, "measuring bandwidth", err) : 0;
}
