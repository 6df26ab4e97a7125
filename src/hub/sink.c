/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"

/* So that the disk is at work while bytes come, and little is left to wait for at the end. */
#define WRITE_BACK_BYTES (UINT64_C(8) << 20)

/* ---- the thread ---- */

static void fail(tw_hub_sink *s, int rc)
{
    if (atomic_load(&s->rc) == 0)
        atomic_store(&s->rc, rc);
}

static void count_hashed(tw_hub_item *it, uint64_t n)
{
    const uint64_t at = atomic_load(&it->hashed);
    if (at / WRITE_BACK_BYTES != (at + n) / WRITE_BACK_BYTES) {
        const uint64_t from = at / WRITE_BACK_BYTES * WRITE_BACK_BYTES;
        (void)sync_file_range(it->part.fd, (off64_t)from, (off64_t)WRITE_BACK_BYTES,
                              SYNC_FILE_RANGE_WRITE);
    }
    atomic_store(&it->hashed, at + n);
}

/* To the file; and to the hash, when it is its turn. */
static void take(tw_hub_sink *s, const tw_hub_chunk *c)
{
    tw_hub_item *it = c->it;
    const uint64_t at = c->i_range * it->part.range_bytes + it->part.done[c->i_range];
    const int rc = tw_hub_part_put(&it->part, c->i_range, c->bytes, c->n, &s->why);
    if (rc != 0) {
        fail(s, rc);
        return;
    }
    tw_hub_item_advance(it);
    if (it->hash.is_open && at == atomic_load(&it->hashed)) {
        tw_hub_hash_add(&it->hash, c->bytes, c->n);
        count_hashed(it, c->n);
    }
}

/* One chunk of what came before its turn, into bytes. False: there is none. */
static bool catch_up(tw_hub_sink *s, tw_hub_item *it, uint8_t *bytes)
{
    const uint64_t at = atomic_load(&it->hashed);
    if (it->state != TW_HUB_ITEM_OPEN || !it->hash.is_open || at >= it->front)
        return false;
    const size_t n = (size_t)TW_MIN(it->front - at, (uint64_t)TW_HUB_CHUNK_BYTES);
    const ssize_t k = pread(it->part.fd, bytes, n, (off_t)at);
    if (k < 0 && errno == EINTR)
        return true;
    if (k <= 0) {
        const int rc = k < 0 ? -errno : -EIO;
        fail(s, tw_err_set(&s->why, rc, "%.100s: cannot read back what came: %s", it->file->path,
                           strerror(-rc)));
        return false;
    }
    tw_hub_hash_add(&it->hash, bytes, (size_t)k);
    count_hashed(it, (uint64_t)k);
    return true;
}

/* Who opens or ends a file gets in between. */
static void let_in(tw_hub_sink *s)
{
    pthread_mutex_unlock(&s->lock);
    while (atomic_load(&s->n_wanting) > 0)
        sched_yield();
}

static bool catch_up_one(tw_hub_sink *s, uint8_t *bytes)
{
    bool did = false;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->n && !did && atomic_load(&s->rc) == 0; i++)
        did = catch_up(s, &s->items[i], bytes);
    let_in(s);
    return did;
}

/* The oldest chunk; bytes NULL: there is none. */
static tw_hub_chunk pop(tw_hub_sink *s, bool may_wait)
{
    tw_hub_chunk c = {.bytes = NULL};
    pthread_mutex_lock(&s->queue_lock);
    while (may_wait && s->n_queued == 0 && !s->ends && !s->is_nudged)
        pthread_cond_wait(&s->more, &s->queue_lock);
    s->is_nudged = false;
    if (s->n_queued > 0)
        c = s->queue[s->first];
    pthread_mutex_unlock(&s->queue_lock);
    return c;
}

/* It is done with; only now, so that who drains waits for it. */
static void drop(tw_hub_sink *s, const tw_hub_chunk *c)
{
    pthread_mutex_lock(&s->queue_lock);
    s->first = (s->first + 1) % s->n_chunks;
    s->n_queued--;
    s->free[s->n_free++] = c->bytes;
    pthread_cond_signal(&s->less);
    pthread_mutex_unlock(&s->queue_lock);
}

static bool is_ending(tw_hub_sink *s)
{
    pthread_mutex_lock(&s->queue_lock);
    const bool ends = s->ends;
    pthread_mutex_unlock(&s->queue_lock);
    return ends;
}

static void *run(void *arg)
{
    tw_hub_sink *s = arg;
    uint8_t *bytes = s->memory; /* the first chunk is the thread's own */
    bool behind = true;         /* a file may have been begun another time */
    for (;;) {
        const tw_hub_chunk c = pop(s, !behind);
        if (c.bytes != NULL) {
            pthread_mutex_lock(&s->lock);
            if (atomic_load(&s->rc) == 0)
                take(s, &c);
            let_in(s);
            drop(s, &c);
        } else if (is_ending(s)) {
            return NULL;
        }
        /* One for each that comes: neither of them waits for long. */
        behind = catch_up_one(s, bytes);
    }
}

/* ---- who calls ---- */

int tw_hub_sink_start(tw_hub_sink *s, tw_hub_item *items, size_t n, unsigned n_fillers, tw_err *err)
{
    *s = (tw_hub_sink){.items = items, .n = n, .n_chunks = n_fillers + TW_HUB_SINK_SPARE};
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->queue_lock, NULL);
    pthread_cond_init(&s->more, NULL);
    pthread_cond_init(&s->less, NULL);
    s->queue = tw_mem_calloc(s->n_chunks, sizeof *s->queue);
    s->free = tw_mem_calloc(s->n_chunks, sizeof *s->free);
    s->memory = tw_mem_alloc((s->n_chunks + 1) * TW_HUB_CHUNK_BYTES);
    if (s->queue == NULL || s->free == NULL || s->memory == NULL)
        return tw_err_set(err, -ENOMEM, "no memory");
    for (; s->n_free < s->n_chunks; s->n_free++)
        s->free[s->n_free] = s->memory + (s->n_free + 1) * TW_HUB_CHUNK_BYTES;
    const int rc = pthread_create(&s->thread, NULL, run, s);
    s->runs = rc == 0;
    return rc == 0 ? 0 : tw_err_set(err, -rc, "no thread: %s", strerror(rc));
}

void tw_hub_sink_stop(tw_hub_sink *s)
{
    if (s->n_chunks == 0)
        return; /* never begun */
    pthread_mutex_lock(&s->queue_lock);
    s->ends = true;
    pthread_cond_signal(&s->more);
    pthread_mutex_unlock(&s->queue_lock);
    if (s->runs)
        pthread_join(s->thread, NULL);
    pthread_cond_destroy(&s->less);
    pthread_cond_destroy(&s->more);
    pthread_mutex_destroy(&s->queue_lock);
    pthread_mutex_destroy(&s->lock);
    tw_mem_free(s->queue);
    tw_mem_free(s->free);
    tw_mem_free(s->memory);
    s->runs = false;
    s->n_chunks = 0;
}

static uint8_t *get_free(tw_hub_sink *s)
{
    pthread_mutex_lock(&s->queue_lock);
    while (s->n_free == 0) /* the thread always gets on, if only by dropping them */
        pthread_cond_wait(&s->less, &s->queue_lock);
    uint8_t *bytes = s->free[--s->n_free];
    pthread_mutex_unlock(&s->queue_lock);
    return bytes;
}

void tw_hub_sink_flush(tw_hub_sink *s, tw_hub_chunk *c)
{
    if (c->bytes == NULL)
        return;
    pthread_mutex_lock(&s->queue_lock);
    s->queue[(s->first + s->n_queued++) % s->n_chunks] = *c;
    pthread_cond_signal(&s->more);
    pthread_mutex_unlock(&s->queue_lock);
    *c = (tw_hub_chunk){.bytes = NULL};
}

void tw_hub_sink_put(tw_hub_sink *s, tw_hub_chunk *c, tw_hub_item *it, size_t i_range,
                     const char *bytes, size_t n)
{
    while (n > 0) {
        if (c->bytes == NULL)
            *c = (tw_hub_chunk){.it = it,
                                .i_range = i_range,
                                .bytes = get_free(s),
                                .begun_ns = tw_clock_now_ns()};
        const size_t k = TW_MIN(n, (size_t)TW_HUB_CHUNK_BYTES - c->n);
        memcpy(c->bytes + c->n, bytes, k);
        c->n += k;
        bytes += k;
        n -= k;
        if (c->n == TW_HUB_CHUNK_BYTES)
            tw_hub_sink_flush(s, c);
    }
}

static bool has_of(const tw_hub_sink *s, const tw_hub_item *it)
{
    for (size_t i = 0; i < s->n_queued; i++)
        if (s->queue[(s->first + i) % s->n_chunks].it == it)
            return true;
    return false;
}

void tw_hub_sink_drain(tw_hub_sink *s, const tw_hub_item *it)
{
    pthread_mutex_lock(&s->queue_lock);
    while (has_of(s, it))
        pthread_cond_wait(&s->less, &s->queue_lock);
    pthread_mutex_unlock(&s->queue_lock);
}

void tw_hub_sink_lock(tw_hub_sink *s)
{
    atomic_fetch_add(&s->n_wanting, 1);
    pthread_mutex_lock(&s->lock);
    atomic_fetch_sub(&s->n_wanting, 1);
}

void tw_hub_sink_unlock(tw_hub_sink *s)
{
    pthread_mutex_unlock(&s->lock);
    pthread_mutex_lock(&s->queue_lock);
    s->is_nudged = true; /* what was opened may have bytes that are not hashed */
    pthread_cond_signal(&s->more);
    pthread_mutex_unlock(&s->queue_lock);
}
