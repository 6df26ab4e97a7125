/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/range_store.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "hub/cache.h"
#include "hub/hash_cache.h"
#include "hub/part.h"
#include "os/fd.h"

enum { HASHERS = 2, CHUNK_BYTES = 1 << 20, HASH_BYTES = 4 << 20, BAD_MAX = 2 };
#define LOCK_LOOK_NS (200 * TW_NS_PER_MS)

typedef struct store_item {
    const tw_hub_file *file;
    enum tw_hub_store_state state;
    int lock_fd;
    tw_hub_part part;
    bool *busy;     /* [part.n_ranges]: has a giver */
    size_t i_first; /* ranges before it are there */
    uint64_t hashed;
    bool is_hashed_now; /* by a thread, which owns hash and may use part.fd */
    tw_hub_hash hash;
    unsigned n_bad;
    uint64_t look_again_ns;
} store_item;

struct tw_hub_store {
    tw_hub_store_opts o;
    tw_hub_map map;
    char folder[TW_HUB_PATH_BYTES]; /* ".../models--org--name" */
    char path[TW_HUB_PATH_BYTES];   /* the snapshot */
    pthread_mutex_t lock;           /* of all below */
    pthread_cond_t more;
    store_item *items; /* [map.n_files] */
    uint64_t done_bytes;
    tw_err failure;
    bool ends;
    unsigned n_threads;
    pthread_t threads[HASHERS];
};

const tw_hub_map *tw_hub_store_map(const tw_hub_store *s)
{
    return &s->map;
}

const char *tw_hub_store_path(const tw_hub_store *s)
{
    return s->path;
}

/* Lock held. The first one stays. */
static void note_failure(tw_hub_store *s, store_item *it, const tw_err *err)
{
    it->state = TW_HUB_STORE_STUCK;
    if (s->failure.code == 0)
        s->failure = *err;
}

int tw_hub_store_failure(tw_hub_store *s, tw_err *ret)
{
    pthread_mutex_lock(&s->lock);
    *ret = s->failure;
    pthread_mutex_unlock(&s->lock);
    return ret->code;
}

static void close_item(store_item *it)
{
    tw_hub_part_close(&it->part);
    tw_fd_closep(&it->lock_fd);
    tw_hub_hash_done(&it->hash);
    tw_mem_free(it->busy);
    it->busy = NULL;
}

/* ---- opening ---- */

static bool is_full(const store_item *it, size_t range)
{
    return it->part.done[range] == tw_hub_part_range_size(&it->part, range);
}

static uint64_t front(store_item *it)
{
    while (it->i_first < it->part.n_ranges && is_full(it, it->i_first))
        it->i_first++;
    return it->i_first < it->part.n_ranges
               ? it->i_first * it->part.range_bytes + it->part.done[it->i_first]
               : it->part.size;
}

static int begin_item(store_item *it, tw_err *err)
{
    const size_t n = TW_MAX(it->part.n_ranges, 1u);
    tw_mem_free(it->busy);
    it->i_first = 0;
    it->hashed = 0;
    it->busy = tw_mem_calloc(n, sizeof *it->busy);
    tw_hub_hash_init(&it->hash, it->file->etag, it->file->size);
    return it->busy != NULL ? 0 : tw_err_set(err, -ENOMEM, "no memory");
}

/* Lock held, or nobody else there yet. -EAGAIN: another program is at it. */
static int open_item(tw_hub_store *s, store_item *it, tw_err *err)
{
    char blobs[TW_HUB_PATH_BYTES];
    int rc = tw_hub_path(blobs, err, "%s/blobs", s->folder);
    if (rc == 0 && tw_hub_cache_has(s->folder, it->file)) {
        it->state = TW_HUB_STORE_WHOLE;
        s->done_bytes += it->file->size;
        return tw_hub_cache_link(s->path, it->file, err);
    }
    if (rc == 0)
        rc = tw_hub_cache_lock(s->o.place, s->o.name->repo, it->file->etag, &it->lock_fd, err);
    if (rc == 0 && tw_hub_cache_has(s->folder, it->file)) { /* brought while we looked */
        tw_fd_closep(&it->lock_fd);
        return open_item(s, it, err);
    }
    if (rc == 0)
        rc = tw_hub_part_open(blobs, it->file->etag, it->file->size, s->map.range_bytes, &it->part,
                              err);
    if (rc == 0 && it->part.range_bytes != s->map.range_bytes)
        rc = tw_hub_part_regrid(&it->part, s->map.range_bytes, err);
    if (rc == 0)
        rc = begin_item(it, err);
    if (rc != 0) {
        close_item(it);
        return rc;
    }
    it->state = TW_HUB_STORE_OPEN;
    s->done_bytes += tw_hub_part_done_bytes(&it->part);
    return 0;
}

void tw_hub_store_look(tw_hub_store *s)
{
    const uint64_t now = tw_clock_now_ns();
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->map.n_files; i++) {
        store_item *it = &s->items[i];
        tw_err why = {0};
        if (it->state == TW_HUB_STORE_OPEN && tw_hub_part_save(&it->part, &why) != 0)
            note_failure(s, it, &why);
        if (it->state != TW_HUB_STORE_BUSY || s->map.twice[i] || now < it->look_again_ns)
            continue;
        it->look_again_ns = now + LOCK_LOOK_NS;
        const int rc = open_item(s, it, &why);
        if (rc != 0 && rc != -EAGAIN)
            note_failure(s, it, &why);
        pthread_cond_broadcast(&s->more);
    }
    pthread_mutex_unlock(&s->lock);
}

static int drop_if_bad(tw_hub_store *s, const tw_hub_file *f, tw_err *err)
{
    char path[TW_HUB_PATH_BYTES];
    if (!tw_hub_cache_has(s->folder, f))
        return 0;
    int rc = tw_hub_path(path, err, "%s/blobs/%s", s->folder, f->etag);
    if (rc == 0)
        rc = tw_hub_hash_check(path, f->etag, s->o.on_bytes, s->o.arg, err);
    return rc == -EBADMSG && unlink(path) == 0 ? 0 : rc;
}

static int open_all(tw_hub_store *s, tw_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < s->map.n_files && rc == 0; i++) {
        store_item *it = &s->items[i];
        it->state = s->o.source != NULL || s->map.twice[i] ? TW_HUB_STORE_WHOLE : it->state;
        if (it->state == TW_HUB_STORE_WHOLE) {
            s->done_bytes += s->map.twice[i] ? 0 : it->file->size;
            continue;
        }
        rc = s->o.verify ? drop_if_bad(s, it->file, err) : 0;
        if (rc == 0)
            rc = open_item(s, it, err);
        rc = rc == -EAGAIN ? 0 : rc;
    }
    return rc;
}

static int prepare(tw_hub_store *s, tw_err *err)
{
    const tw_hub_store_opts *o = &s->o;
    char record[TW_HUB_PATH_BYTES];
    if (o->source != NULL)
        return tw_hub_path(s->path, err, "%s", o->source);
    int rc = tw_hub_cache_folder(o->place, o->name->repo, s->folder, err);
    if (rc == 0)
        rc = tw_hub_cache_snapshot(o->place, o->name->repo, o->list->commit, s->path, err);
    if (rc == 0)
        rc = tw_hub_cache_prepare(o->place, o->name->repo, err);
    if (rc == 0)
        rc = tw_hub_path(record, err, "%s/.twinax/%s.json", s->folder, o->list->commit);
    if (rc == 0)
        rc = tw_hub_list_save(o->list, record, err);
    return rc == 0 ? tw_hub_make_folder(s->path, err) : rc;
}

static void *hash_files(void *arg);

static int start_threads(tw_hub_store *s, tw_err *err)
{
    for (; s->n_threads < HASHERS && s->o.source == NULL; s->n_threads++) {
        const int rc = pthread_create(&s->threads[s->n_threads], NULL, hash_files, s);
        if (rc != 0)
            return tw_err_set(err, -rc, "no thread to hash with: %s", strerror(rc));
    }
    return 0;
}

int tw_hub_store_open(const tw_hub_store_opts *o, tw_hub_store **ret, tw_err *err)
{
    TW_CLEANUP(tw_hub_store_closep) tw_hub_store *s = tw_mem_calloc(1, sizeof *s);
    if (s == NULL)
        return tw_err_set(err, -ENOMEM, "no memory");
    s->o = *o;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->more, NULL);
    int rc = tw_hub_map_make(o->list, o->range_bytes, &s->map, err);
    if (rc != 0)
        return rc;
    s->items = tw_mem_calloc(TW_MAX(s->map.n_files, 1u), sizeof *s->items);
    if (s->items == NULL)
        return tw_err_set(err, -ENOMEM, "no memory");
    for (size_t i = 0; i < s->map.n_files; i++)
        s->items[i] = (store_item){.file = &o->list->v[i],
                                   .lock_fd = -1,
                                   .part = {.fd = -1, .ranges_fd = -1}};
    rc = prepare(s, err);
    if (rc == 0)
        rc = open_all(s, err);
    if (rc == 0)
        rc = start_threads(s, err);
    if (rc != 0)
        return rc;
    *ret = s;
    s = NULL;
    return 0;
}

void tw_hub_store_close(tw_hub_store *s)
{
    if (s == NULL)
        return;
    pthread_mutex_lock(&s->lock);
    s->ends = true;
    pthread_cond_broadcast(&s->more);
    pthread_mutex_unlock(&s->lock);
    for (unsigned i = 0; i < s->n_threads; i++)
        pthread_join(s->threads[i], NULL);
    for (size_t i = 0; s->items != NULL && i < s->map.n_files; i++)
        close_item(&s->items[i]);
    pthread_cond_destroy(&s->more);
    pthread_mutex_destroy(&s->lock);
    tw_hub_map_done(&s->map);
    tw_mem_free(s->items);
    tw_mem_free(s);
}

void tw_hub_store_closep(tw_hub_store **s)
{
    tw_hub_store_close(*s);
    *s = NULL;
}

/* ---- hashing ---- */

/* Lock held. The first file that has bytes to hash, or an end to be judged. */
static store_item *find_work(tw_hub_store *s)
{
    for (size_t i = 0; i < s->map.n_files; i++) {
        store_item *it = &s->items[i];
        if (it->state == TW_HUB_STORE_OPEN && !it->is_hashed_now &&
            (it->hashed < front(it) || it->hashed == it->part.size))
            return it;
    }
    return NULL;
}

/* Lock not held: the item is this thread's. */
static int hash_some(store_item *it, uint64_t to, uint8_t *chunk)
{
    while (it->hashed < to) {
        const size_t n = (size_t)TW_MIN(to - it->hashed, (uint64_t)CHUNK_BYTES);
        const ssize_t k = pread(it->part.fd, chunk, n, (off_t)it->hashed);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return k < 0 ? -errno : -EIO;
        tw_hub_hash_add(&it->hash, chunk, (size_t)k);
        it->hashed += (uint64_t)k;
    }
    return 0;
}

/* Lock not held. -EBADMSG: its bytes are others. */
static int name_file(tw_hub_store *s, store_item *it, tw_err *err)
{
    char got[TW_HUB_ETAG_BYTES], blob[TW_HUB_PATH_BYTES];
    tw_hub_hash_end(&it->hash, got);
    if (strcmp(got, it->file->etag) != 0)
        return tw_err_set(err, -EBADMSG,
                          "%.60s: %.60s: what came has the hash %.12s..., wanted %.12s...: a proxy "
                          "that changes it? a failing disk or memory?",
                          s->o.name->repo, it->file->path, got, it->file->etag);
    int rc = tw_hub_path(blob, err, "%s/blobs/%s", s->folder, it->file->etag);
    if (rc == 0 && fdatasync(it->part.fd) != 0) /* may take long; finish has little left to do */
        rc = tw_err_set(err, -errno, "%.100s: cannot write: %s", it->file->path, strerror(errno));
    return rc == 0 ? tw_hub_cache_link(s->path, it->file, err) : rc;
}

/* Lock held: it is hashed to its end. */
static void end_file(tw_hub_store *s, store_item *it, int rc, tw_err *err)
{
    char blob[TW_HUB_PATH_BYTES];
    struct stat st;
    if (rc == -EBADMSG) {
        tw_err why = *err;
        s->done_bytes -= it->file->size;
        rc = tw_hub_part_restart(&it->part, s->map.range_bytes, &why);
        if (rc == 0)
            rc = begin_item(it, &why);
        if (++it->n_bad >= BAD_MAX)
            note_failure(s, it, err);
        else if (rc != 0)
            note_failure(s, it, &why);
        return;
    }
    if (rc == 0)
        rc = tw_hub_path(blob, err, "%s/blobs/%s", s->folder, it->file->etag);
    if (rc == 0)
        rc = tw_hub_part_finish(&it->part, blob, err);
    if (rc != 0) {
        note_failure(s, it, err);
        return;
    }
    /* We wrote it, and hold its lock: no other may change it. */
    if (stat(blob, &st) == 0)
        tw_hub_hash_cache_note(&st, it->file->etag);
    it->state = TW_HUB_STORE_WHOLE;
    close_item(it);
}

static void *hash_files(void *arg)
{
    tw_hub_store *s = arg;
    tw_err err = {0};
    TW_CLEANUP(tw_mem_freep) uint8_t *chunk = tw_mem_alloc(CHUNK_BYTES);
    pthread_mutex_lock(&s->lock);
    if (chunk == NULL)
        s->failure = (tw_err){.code = -ENOMEM, .msg = "no memory to hash with"};
    while (!s->ends && chunk != NULL) {
        store_item *it = find_work(s);
        if (it == NULL) {
            pthread_cond_wait(&s->more, &s->lock);
            continue;
        }
        const uint64_t size = it->part.size, to = TW_MIN(front(it), it->hashed + HASH_BYTES);
        it->is_hashed_now = true;
        pthread_mutex_unlock(&s->lock);
        int rc = hash_some(it, to, chunk);
        const bool at_end = rc == 0 && it->hashed == size;
        if (rc != 0)
            (void)!tw_err_set(&err, rc, "%.100s: cannot read back what came: %s", it->file->path,
                              strerror(-rc));
        else if (at_end)
            rc = name_file(s, it, &err);
        pthread_mutex_lock(&s->lock);
        it->is_hashed_now = false;
        if (at_end)
            end_file(s, it, rc, &err);
        else if (rc != 0)
            note_failure(s, it, &err);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- what is there ---- */

enum tw_hub_store_state tw_hub_store_state(tw_hub_store *s, size_t file)
{
    pthread_mutex_lock(&s->lock);
    const enum tw_hub_store_state v = s->items[file].state;
    pthread_mutex_unlock(&s->lock);
    return v;
}

unsigned tw_hub_store_n_bad(tw_hub_store *s, size_t file)
{
    pthread_mutex_lock(&s->lock);
    const unsigned n = s->items[file].n_bad;
    pthread_mutex_unlock(&s->lock);
    return n;
}

/* Lock held. */
static uint64_t done_of(tw_hub_store *s, size_t unit)
{
    const store_item *it = &s->items[s->map.file[unit]];
    const size_t range = unit - s->map.first[s->map.file[unit]];
    if (it->state == TW_HUB_STORE_WHOLE)
        return tw_hub_map_bytes(&s->map, unit);
    return it->state == TW_HUB_STORE_OPEN ? it->part.done[range] : 0;
}

uint64_t tw_hub_store_done(tw_hub_store *s, size_t unit)
{
    pthread_mutex_lock(&s->lock);
    const uint64_t n = done_of(s, unit);
    pthread_mutex_unlock(&s->lock);
    return n;
}

uint64_t tw_hub_store_done_bytes(tw_hub_store *s)
{
    pthread_mutex_lock(&s->lock);
    const uint64_t n = s->done_bytes;
    pthread_mutex_unlock(&s->lock);
    return n;
}

void tw_hub_store_room(tw_hub_store *s, uint64_t *ret_need, uint64_t *ret_free)
{
    char blobs[TW_HUB_PATH_BYTES];
    struct statvfs fs;
    tw_err ignored;
    *ret_need = 0;
    *ret_free = UINT64_MAX;
    if (s->o.source != NULL || tw_hub_path(blobs, &ignored, "%s/blobs", s->folder) != 0)
        return;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->map.n_files; i++)
        if (s->items[i].state != TW_HUB_STORE_WHOLE) {
            const tw_hub_file *f = s->items[i].file;
            const uint64_t left = tw_hub_part_left_bytes(blobs, f->etag);
            *ret_need += f->size - TW_MIN(left, f->size);
        }
    pthread_mutex_unlock(&s->lock);
    if (statvfs(blobs, &fs) == 0)
        *ret_free = (uint64_t)fs.f_bavail * fs.f_frsize;
}

/* ---- accepting ---- */

bool tw_hub_store_claim(tw_hub_store *s, size_t unit, uint64_t *ret_done)
{
    store_item *it = &s->items[s->map.file[unit]];
    const size_t range = unit - s->map.first[s->map.file[unit]];
    pthread_mutex_lock(&s->lock);
    const bool is_ours = it->state == TW_HUB_STORE_OPEN && !it->busy[range] && !is_full(it, range);
    if (is_ours) {
        it->busy[range] = true;
        *ret_done = it->part.done[range];
    }
    pthread_mutex_unlock(&s->lock);
    return is_ours;
}

void tw_hub_store_release(tw_hub_store *s, size_t unit)
{
    store_item *it = &s->items[s->map.file[unit]];
    pthread_mutex_lock(&s->lock);
    if (it->busy != NULL)
        it->busy[unit - s->map.first[s->map.file[unit]]] = false;
    pthread_mutex_unlock(&s->lock);
}

/* A claimed unit is not full, so its file is not judged meanwhile: part stays as it is, and its
 * front is moved by who has claimed it. */
int tw_hub_store_put(tw_hub_store *s, size_t unit, const void *p, size_t n, tw_err *err)
{
    store_item *it = &s->items[s->map.file[unit]];
    const size_t range = unit - s->map.first[s->map.file[unit]];
    tw_err own = {0};
    err = err != NULL ? err : &own;
    pthread_mutex_lock(&s->lock);
    const uint64_t at = it->part.done[range];
    pthread_mutex_unlock(&s->lock);
    if (n > tw_hub_part_range_size(&it->part, range) - at)
        return tw_err_set(err, -E2BIG, "%.100s: more bytes came than were asked for",
                          it->file->path);
    int rc = tw_hub_part_write(&it->part, range, at, p, n, err);
    pthread_mutex_lock(&s->lock);
    if (rc == 0)
        rc = tw_hub_part_count(&it->part, range, n, err);
    if (rc == 0)
        s->done_bytes += n;
    else if (s->failure.code == 0)
        s->failure = *err;
    pthread_cond_broadcast(&s->more);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* ---- yielding ---- */

int tw_hub_store_reader(tw_hub_store *s, size_t file, int *ret_fd, tw_err *err)
{
    char path[TW_HUB_PATH_BYTES];
    const tw_hub_file *f = s->items[file].file;
    static const char *const ends[] = {"", ".twinax.incomplete", ""}; /* it is renamed once */
    if (s->o.source != NULL) {
        int rc = tw_hub_path(path, err, "%s/%s", s->o.source, f->path);
        *ret_fd = rc == 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        return rc != 0 || *ret_fd >= 0
                   ? rc
                   : tw_err_set(err, -errno, "%.150s: %s", path, strerror(errno));
    }
    for (size_t i = 0; i < TW_ARRAY_LEN(ends); i++) {
        int rc = tw_hub_path(path, err, "%s/blobs/%s%s", s->folder, f->etag, ends[i]);
        if (rc != 0)
            return rc;
        *ret_fd = open(path, O_RDONLY | O_CLOEXEC);
        if (*ret_fd >= 0)
            return 0;
    }
    return tw_err_set(err, -errno, "%.150s: %s", path, strerror(errno));
}

int tw_hub_store_finish(tw_hub_store *s, tw_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < s->map.n_files; i++)
        if (tw_hub_store_state(s, i) != TW_HUB_STORE_WHOLE)
            return tw_err_set(err, -EAGAIN, "%.100s: not whole yet", s->items[i].file->path);
    if (s->o.source != NULL)
        return 0;
    for (size_t i = 0; i < s->map.n_files && rc == 0; i++)
        rc = tw_hub_cache_link(s->path, s->items[i].file, err);
    return rc == 0 ? tw_hub_cache_set_ref(s->o.place, s->o.name, s->o.list->commit, err) : rc;
}
