/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/fetch_item.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"
#include "hub/cache.h"
#include "os/fd.h"

static int make_ranges(tw_hub_item *it, tw_err *err)
{
    const size_t n = TW_MAX(it->part.n_ranges, 1u);
    tw_mem_free(it->busy);
    tw_mem_free(it->got);
    it->i_first = it->i_written = 0;
    it->busy = tw_mem_calloc(n, sizeof *it->busy);
    it->got = tw_mem_calloc(n, sizeof *it->got);
    if (it->busy == NULL || it->got == NULL)
        return tw_err_set(err, -ENOMEM, "no memory");
    memcpy(it->got, it->part.done, it->part.n_ranges * sizeof *it->got);
    return 0;
}

static void restart_hash(tw_hub_item *it)
{
    tw_hub_hash_init(&it->hash, it->file->etag, it->file->size);
    atomic_store(&it->hashed, 0);
    it->front = tw_hub_part_front(&it->part);
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
        rc = make_ranges(it, err);
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
        rc = make_ranges(it, err);
    if (rc == 0)
        restart_hash(it);
    return rc;
}

uint64_t tw_hub_item_got_bytes(const tw_hub_item *it)
{
    uint64_t n = 0;
    for (size_t i = 0; i < it->part.n_ranges; i++)
        n += it->got[i];
    return n;
}

static bool has_come(const tw_hub_item *it, size_t i)
{
    return it->got[i] == tw_hub_part_range_size(&it->part, i);
}

bool tw_hub_item_next(tw_hub_item *it, size_t *ret_range)
{
    const size_t n = it->no_ranges ? TW_MIN(it->part.n_ranges, 1u) : it->part.n_ranges;
    while (it->i_first < n && !it->busy[it->i_first] && has_come(it, it->i_first))
        it->i_first++;
    for (size_t i = it->i_first; i < n; i++)
        if (!it->busy[i] && !has_come(it, i)) {
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
    const tw_hub_part *p = &it->part;
    while (it->i_written < p->n_ranges &&
           p->done[it->i_written] == tw_hub_part_range_size(p, it->i_written))
        it->i_written++;
    it->front = p->size;
    if (it->i_written < p->n_ranges)
        it->front = it->i_written * p->range_bytes + p->done[it->i_written];
}

int tw_hub_item_finish(tw_hub_item *it, const tw_hub_fetch_opts *o, tw_err *err)
{
    char got[TW_HUB_ETAG_BYTES], blob[TW_HUB_PATH_BYTES], snapshot[TW_HUB_PATH_BYTES];
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
    tw_mem_free(it->got);
    tw_mem_free(it->store_url);
    it->busy = NULL;
    it->got = NULL;
    it->store_url = NULL;
}
