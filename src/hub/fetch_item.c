/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/fetch_item.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"
#include "hub/cache.h"
#include "hub/hash_cache.h"
#include "os/fd.h"

enum { CHUNK_BYTES = 256 << 10, MISSED_NS = 20 * 1000 * 1000 };

static int make_busy(tw_hub_item *it, tw_err *err)
{
    tw_mem_free(it->busy);
    it->i_first = 0;
    it->busy = tw_mem_calloc(TW_MAX(it->part.n_ranges, 1u), sizeof *it->busy);
    return it->busy != NULL ? 0 : tw_err_set(err, -ENOMEM, "no memory");
}

static void restart_hash(tw_hub_item *it)
{
    tw_hub_hash_init(&it->hash, it->file->etag, it->file->size);
    atomic_store(&it->hashed, 0);
    atomic_store(&it->front, tw_hub_part_front(&it->part));
}

int tw_hub_item_open(tw_hub_item *it, const tw_hub_fetch_opts *o, tw_err *err)
{
    char blobs[TW_HUB_PATH_BYTES];
    const uint64_t range = o->range_bytes != 0 ? o->range_bytes : TW_HUB_RANGE_BYTES;
    int rc = tw_hub_path(blobs, err, "%s/blobs", o->folder);
    if (rc == 0)
        rc = tw_hub_cache_lock(o->place, o->name->repo, it->file->etag, &it->lock_fd, err);
    if (rc != 0)
        return rc;
    if (tw_hub_cache_has(o->folder, it->file)) {
        tw_fd_closep(&it->lock_fd);
        return -EEXIST;
    }
    rc = tw_hub_part_open(blobs, it->file->etag, it->file->size, range, &it->part, err);
    if (rc == 0)
        rc = make_busy(it, err);
    if (rc != 0) {
        tw_hub_item_close(it);
        return rc;
    }
    restart_hash(it);
    it->state = TW_HUB_ITEM_OPEN;
    return 0;
}

int tw_hub_item_restart(tw_hub_item *it, uint64_t range_bytes, tw_err *err)
{
    int rc = tw_hub_part_restart(&it->part, range_bytes, err);
    if (rc == 0)
        rc = make_busy(it, err);
    if (rc == 0)
        restart_hash(it);
    return rc;
}

static bool is_full(const tw_hub_item *it, size_t i)
{
    return it->part.done[i] == tw_hub_part_range_size(&it->part, i);
}

bool tw_hub_item_next(tw_hub_item *it, size_t *ret_range)
{
    const size_t n = it->no_ranges ? TW_MIN(it->part.n_ranges, 1u) : it->part.n_ranges;
    for (size_t i = it->i_first; i < n; i++)
        if (!it->busy[i] && !is_full(it, i)) {
            *ret_range = i;
            return true;
        }
    return false;
}

bool tw_hub_item_is_busy(const tw_hub_item *it)
{
    for (size_t i = it->i_first; i < it->part.n_ranges; i++)
        if (it->busy[i])
            return true;
    return false;
}

void tw_hub_item_advance(tw_hub_item *it)
{
    while (it->i_first < it->part.n_ranges && is_full(it, it->i_first))
        it->i_first++;
    uint64_t front = it->part.size;
    if (it->i_first < it->part.n_ranges)
        front = it->i_first * it->part.range_bytes + it->part.done[it->i_first];
    atomic_store(&it->front, front);
}

int tw_hub_item_finish(tw_hub_item *it, const tw_hub_fetch_opts *o, tw_err *err)
{
    char got[TW_HUB_ETAG_BYTES], blob[TW_HUB_PATH_BYTES], snapshot[TW_HUB_PATH_BYTES];
    struct stat st;
    tw_hub_hash_end(&it->hash, got);
    if (strcmp(got, it->file->etag) != 0)
        return tw_err_set(err, -EBADMSG,
                          "%.60s: %.60s: what came has the hash %.12s..., wanted %.12s...: a proxy "
                          "that changes it? a failing disk or memory?",
                          o->name->repo, it->file->path, got, it->file->etag);
    int rc = tw_hub_path(blob, err, "%s/blobs/%s", o->folder, it->file->etag);
    if (rc == 0)
        rc = tw_hub_path(snapshot, err, "%s/snapshots/%s", o->folder, o->commit);
    if (rc == 0)
        rc = tw_hub_part_finish(&it->part, blob, err);
    if (rc == 0 &&
        stat(blob, &st) == 0) /* we wrote it, and hold its lock: no other may change it */
        tw_hub_hash_cache_note(&st, got);
    if (rc == 0)
        rc = tw_hub_cache_link(snapshot, it->file, err);
    return rc;
}

void tw_hub_item_close(tw_hub_item *it)
{
    tw_hub_part_close(&it->part);
    tw_fd_closep(&it->lock_fd);
    tw_hub_hash_done(&it->hash);
    tw_mem_free(it->busy);
    tw_mem_free(it->store_url);
    it->busy = NULL;
    it->store_url = NULL;
}

/* ---- the hasher ---- */

/* Whole chunks, and the end of a file: a thread that sleeps and is woken for every few bytes costs
 * more than what it does. */
static bool is_enough(uint64_t at, uint64_t front, uint64_t size)
{
    return front - at >= CHUNK_BYTES || (front == size && front > at);
}

/* One chunk of one file. False: there is nothing to do for it. */
static bool hash_some(tw_hub_hasher *h, tw_hub_item *it, uint8_t *chunk, bool any)
{
    const uint64_t at = atomic_load(&it->hashed), front = atomic_load(&it->front);
    if (it->state != TW_HUB_ITEM_OPEN || at >= front || !it->hash.is_open ||
        !(any || is_enough(at, front, it->file->size)))
        return false;
    const size_t n = (size_t)TW_MIN(front - at, (uint64_t)CHUNK_BYTES);
    const ssize_t k = pread(it->part.fd, chunk, n, (off_t)at);
    if (k <= 0) {
        if (k == 0 || errno != EINTR)
            atomic_store(&h->rc, k == 0 ? -EIO : -errno);
        return k != 0 && errno == EINTR;
    }
    tw_hub_hash_add(&it->hash, chunk, (size_t)k);
    atomic_store(&it->hashed, at + (uint64_t)k);
    return true;
}

/* Who opens or ends a file gets in between. */
static void let_in(tw_hub_hasher *h)
{
    pthread_mutex_unlock(&h->lock);
    while (atomic_load(&h->n_wanting) > 0)
        sched_yield();
    pthread_mutex_lock(&h->lock);
}

/* A word said without the lock may be missed: not for long. False: nothing was said. */
static bool wait_for_more(tw_hub_hasher *h)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += MISSED_NS;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    return pthread_cond_timedwait(&h->more, &h->lock, &until) == 0;
}

static void *hash_all(void *arg)
{
    tw_hub_hasher *h = arg;
    TW_CLEANUP(tw_mem_freep) uint8_t *chunk = tw_mem_alloc(CHUNK_BYTES);
    if (chunk == NULL)
        atomic_store(&h->rc, -ENOMEM);
    bool any = false; /* amount will do: it has been quiet */
    pthread_mutex_lock(&h->lock);
    while (!h->ends && chunk != NULL) {
        bool did = false;
        for (size_t i = 0; i < h->n && !h->ends; i++)
            while (hash_some(h, &h->items[i], chunk, any) && !h->ends) {
                did = true;
                let_in(h);
            }
        any = !did && !h->ends && !wait_for_more(h);
    }
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

int tw_hub_hasher_start(tw_hub_hasher *h, tw_hub_item *items, size_t n, tw_err *err)
{
    *h = (tw_hub_hasher){.items = items, .n = n};
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->more, NULL);
    const int rc = pthread_create(&h->thread, NULL, hash_all, h);
    h->runs = rc == 0;
    return rc == 0 ? 0 : tw_err_set(err, -rc, "no thread: %s", strerror(rc));
}

void tw_hub_hasher_lock(tw_hub_hasher *h)
{
    atomic_fetch_add(&h->n_wanting, 1);
    pthread_mutex_lock(&h->lock);
    atomic_fetch_sub(&h->n_wanting, 1);
}

void tw_hub_hasher_unlock(tw_hub_hasher *h)
{
    pthread_mutex_unlock(&h->lock);
}

void tw_hub_hasher_wake(tw_hub_hasher *h, const tw_hub_item *it)
{
    if (is_enough(atomic_load(&it->hashed), atomic_load(&it->front), it->file->size))
        pthread_cond_signal(&h->more);
}

void tw_hub_hasher_stop(tw_hub_hasher *h)
{
    if (!h->runs)
        return;
    pthread_mutex_lock(&h->lock);
    h->ends = true;
    pthread_cond_signal(&h->more);
    pthread_mutex_unlock(&h->lock);
    pthread_join(h->thread, NULL);
    pthread_cond_destroy(&h->more);
    pthread_mutex_destroy(&h->lock);
    h->runs = false;
}
