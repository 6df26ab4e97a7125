/* SPDX-License-Identifier: Apache-2.0 */
#include "model/pack_keep.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "model/pack_sum.h"
#include "os/fd.h"
#include "os/futex.h"
#include "os/signal.h"

enum {
    WAITS,
    GOES,
    STOPS,
    /* Chunks that may be on their way to the disk: a stop waits for these alone, and few of the
     * machine's pages are dirty through us. */
    N_BEHIND = 8,
};
#define LOOK_NS (50 * TW_NS_PER_MS)

struct tw_pack_keep {
    tw_pack_keep_opts o;
    char folder[TW_PACK_PATH_BYTES], part[TW_PACK_PATH_BYTES], whole[TW_PACK_PATH_BYTES];
    uint64_t *sums; /* [n_chunks] */
    uint8_t *old;   /* [TW_PACK_CHUNK_BYTES] what an earlier one wrote */
    pthread_t thread;
    _Atomic uint32_t state, has_ended;
    int rc, fd; /* of the pack, locked: it is in use */
    tw_err why;
};

/* Left behind by one that could not end: the same bytes, if they ever reached the disk. */
static bool is_there(const tw_pack_keep *k, int fd, const uint8_t *p, size_t n, off_t off)
{
    return pread(fd, k->old, n, off) == (ssize_t)n && memcmp(k->old, p, n) == 0;
}

static int write_chunk(int fd, const uint8_t *p, size_t n, off_t off)
{
    for (size_t at = 0; at < n;) {
        const ssize_t now = pwrite(fd, p + at, n - at, off + (off_t)at);
        if (now < 0 && errno == EINTR)
            continue;
        if (now <= 0)
            return now < 0 ? -errno : -EIO;
        at += (size_t)now;
    }
    const int to_disk = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE;
    (void)!sync_file_range(fd, off, (off_t)n, SYNC_FILE_RANGE_WRITE);
    if (off >= (off_t)N_BEHIND * TW_PACK_CHUNK_BYTES)
        (void)!sync_file_range(fd, off - (off_t)N_BEHIND * TW_PACK_CHUNK_BYTES, (off_t)n,
                               to_disk | SYNC_FILE_RANGE_WAIT_AFTER);
    return 0;
}

static int write_data(tw_pack_keep *k, int fd, uint64_t n_old)
{
    const tw_pack_head *h = &k->o.head;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < tw_pack_n_chunks(h->n_bytes); i++) {
        const uint8_t *p = (const uint8_t *)k->o.data + i * TW_PACK_CHUNK_BYTES;
        const size_t n = tw_pack_chunk_bytes(h->n_bytes, i);
        const off_t off = (off_t)(i + 1) * TW_PACK_CHUNK_BYTES;
        k->sums[i] = tw_pack_sum(p, n);
        if ((uint64_t)off + n > n_old || !is_there(k, fd, p, n, off))
            rc = write_chunk(fd, p, n, off);
        if (rc == 0 && atomic_load(&k->state) == STOPS)
            rc = -ECANCELED;
    }
    return rc;
}

/* The part file, ours by its lock. -EBUSY: somebody else writes it. */
static int open_part(const tw_pack_keep *k, int *ret_fd, uint64_t *ret_n_old)
{
    TW_CLEANUP(tw_fd_closep)
    int fd = open(k->part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
    struct stat st, named;
    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return -EBUSY;
    /* Who had the lock before may have renamed or removed it. */
    if (fstat(fd, &st) != 0 || lstat(k->part, &named) != 0 || named.st_ino != st.st_ino ||
        named.st_dev != st.st_dev)
        return -EBUSY;
    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022) != 0)
        return -EPERM;
    *ret_n_old = (uint64_t)st.st_size;
    *ret_fd = tw_fd_steal(&fd);
    return 0;
}

static void sync_folder(const char *folder)
{
    TW_CLEANUP(tw_fd_closep) int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0)
        (void)!fsync(fd);
}

/* All bytes are on the disk before the name is there. */
static int finish(tw_pack_keep *k, int fd)
{
    const uint64_t n_bytes = tw_pack_file_bytes(k->o.head.n_bytes);
    int rc = tw_pack_end_write(fd, &k->o.head, k->sums);
    if (rc == 0 &&
        (ftruncate(fd, (off_t)n_bytes) != 0 || fsync(fd) != 0 || rename(k->part, k->whole) != 0))
        rc = -errno;
    if (rc == 0)
        sync_folder(k->folder);
    return rc;
}

static int keep(tw_pack_keep *k, tw_err *err)
{
    TW_CLEANUP(tw_fd_closep) int fd = -1;
    const uint64_t n_bytes = tw_pack_file_bytes(k->o.head.n_bytes);
    uint64_t n_old = 0;
    int rc = tw_pack_folder_make(k->folder, err);
    if (rc == 0 && access(k->whole, F_OK) == 0)
        return 0; /* another process was faster */
    if (rc == 0)
        rc = tw_pack_make_room(k->folder, k->o.head.key, n_bytes, k->o.limit_bytes, err);
    if (rc != 0)
        return rc;
    rc = open_part(k, &fd, &n_old);
    if (rc == -EBUSY)
        return tw_err_set(err, rc, "%.180s: another process writes it", k->part);
    /* All of it in one piece of the disk where that is possible, or none of it. */
    if (rc == 0 && fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)n_bytes) != 0 && errno == ENOSPC)
        rc = -ENOSPC;
    if (rc == 0)
        rc = write_data(k, fd, n_old);
    if (rc == 0)
        rc = finish(k, fd);
    if (rc == 0) {
        (void)flock(fd, LOCK_SH | LOCK_NB); /* others may map it */
        k->fd = tw_fd_steal(&fd);
    }
    if (rc == 0 || rc == -ECANCELED)
        return rc;
    if (fd >= 0)
        (void)unlink(k->part);
    return tw_err_set(err, rc, "%.160s: cannot be written: %s", k->part, strerror(-rc));
}

static void *run_keeper(void *arg)
{
    tw_pack_keep *k = arg;
    const struct sched_param none = {0};
    (void)pthread_setname_np(pthread_self(), "pack");
    (void)pthread_setschedparam(pthread_self(), SCHED_IDLE, &none);
    if (k->o.team != NULL)
        tw_team_unpin(k->o.team);
    while (atomic_load(&k->state) == WAITS)
        tw_futex_wait(&k->state, WAITS, UINT64_MAX, false);
    k->rc = -ECANCELED;
    if (atomic_load(&k->state) == GOES)
        k->rc = keep(k, &k->why);
    atomic_store(&k->has_ended, 1);
    tw_futex_wake(&k->has_ended, 1, false);
    return NULL;
}

static int start_thread(tw_pack_keep *k)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    const int rc = pthread_create(&k->thread, NULL, run_keeper, k);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return -rc;
}

static void free_keeper(tw_pack_keep *k)
{
    tw_fd_closep(&k->fd);
    tw_mem_free(k->sums);
    tw_mem_free(k->old);
    tw_mem_free(k);
}

int tw_pack_keep_start(const tw_pack_keep_opts *o, tw_pack_keep **ret, tw_err *err)
{
    tw_pack_keep *k = tw_mem_calloc(1, sizeof(*k));
    if (k == NULL)
        return tw_err_set(err, -ENOMEM, "no memory to keep a pack");
    k->o = *o;
    k->fd = -1;
    k->sums = tw_mem_calloc(tw_pack_n_chunks(o->head.n_bytes), sizeof(*k->sums));
    k->old = tw_mem_alloc(TW_PACK_CHUNK_BYTES);
    const bool fits =
        snprintf(k->folder, sizeof(k->folder), "%s", o->folder) < (int)sizeof(k->folder) &&
        tw_pack_path(o->folder, o->head.key, true, k->part) &&
        tw_pack_path(o->folder, o->head.key, false, k->whole);
    int rc = 0;
    if (k->sums == NULL || k->old == NULL)
        rc = tw_err_set(err, -ENOMEM, "no memory to keep a pack");
    else if (!fits)
        rc = tw_err_set(err, -ENAMETOOLONG, "packs: the folder's path is too long");
    else if ((rc = start_thread(k)) != 0)
        rc = tw_err_set(err, rc, "cannot start the thread that keeps packs: %s", strerror(-rc));
    if (rc != 0) {
        free_keeper(k);
        return rc;
    }
    *ret = k;
    return 0;
}

void tw_pack_keep_go(tw_pack_keep *k)
{
    uint32_t waits = WAITS;
    if (k != NULL && atomic_compare_exchange_strong(&k->state, &waits, GOES))
        tw_futex_wake(&k->state, 1, false);
}

bool tw_pack_keep_is_busy(const tw_pack_keep *k)
{
    return k != NULL && atomic_load(&k->state) == GOES && atomic_load(&k->has_ended) == 0;
}

int tw_pack_keep_end(tw_pack_keep *k, uint64_t wait_ns, tw_err *err)
{
    if (k == NULL)
        return -ECANCELED;
    const uint64_t until = tw_clock_now_ns() + wait_ns;
    uint32_t waits = WAITS;
    (void)atomic_compare_exchange_strong(&k->state, &waits, STOPS);
    while (atomic_load(&k->state) == GOES && atomic_load(&k->has_ended) == 0 &&
           tw_clock_now_ns() < until && !tw_signal_asked_to_stop())
        tw_futex_wait(&k->has_ended, 0, LOOK_NS, false);
    atomic_store(&k->state, STOPS);
    tw_futex_wake(&k->state, 1, false);
    pthread_join(k->thread, NULL);
    const int rc = k->rc;
    if (rc != 0 && err != NULL)
        *err = k->why;
    free_keeper(k);
    return rc;
}
