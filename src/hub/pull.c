/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/pull.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/scope.h"
#include "hub/cache.h"
#include "hub/http.h"
#include "hub/part.h"

enum { LIST_MAX_BYTES = 64 << 20 };
#define SPARE_BYTES (UINT64_C(64) << 20) /* a disk that is full to the last byte serves nobody */

static int get_list(const tw_hub_place *p, const tw_hub_name *name, const tw_hub_watch *w,
                    tw_hub_list *ret, tw_err *err)
{
    const tw_curl_lib *c;
    char url[1024];
    tw_buf text TW_CLEANUP(tw_buf_done) = TW_BUF(LIST_MAX_BYTES);
    int rc = tw_curl_get(&c, err);
    if (rc != 0)
        return rc;
    char *revision = c->escape(NULL, name->revision, 0); /* "refs/pr/1" is one word of the path */
    if (revision == NULL)
        return tw_err_set(err, -ENOMEM, "no memory");
    const int n = snprintf(url, sizeof url, "%s/api/models/%s/revision/%s?blobs=true", p->endpoint,
                           name->repo, revision);
    c->free(revision);
    if (n >= (int)sizeof url)
        return tw_err_set(err, -ENAMETOOLONG, "%.100s: too long a name", name->repo);
    rc = tw_hub_http_get(p, name, url, w != NULL ? w->should_stop : NULL, w != NULL ? w->arg : NULL,
                         &text, err);
    return rc == 0 ? tw_hub_list_parse(name->repo, text.data != NULL ? text.data : "", text.len,
                                       ret, err)
                   : rc;
}

typedef struct verifying {
    const tw_hub_watch *w;
    tw_hub_progress p;
} verifying;

static bool on_hashed(void *arg, uint64_t n)
{
    verifying *v = arg;
    v->p.done_bytes += n;
    if (v->w != NULL && v->w->progress != NULL)
        v->w->progress(v->w->arg, &v->p);
    return v->w == NULL || v->w->should_stop == NULL || !v->w->should_stop(v->w->arg);
}

/* Takes away those blobs that are not what they are called. */
static int drop_bad(const char *folder, const tw_hub_list *l, const tw_hub_watch *w, tw_err *err)
{
    char path[TW_HUB_PATH_BYTES];
    verifying v = {.w = w, .p = {.n_files = l->n, .waits = "checks what is there"}};
    for (size_t i = 0; i < l->n; i++)
        v.p.total_bytes += tw_hub_cache_has(folder, &l->v[i]) ? l->v[i].size : 0;
    for (size_t i = 0; i < l->n; i++) {
        if (!tw_hub_cache_has(folder, &l->v[i]))
            continue;
        v.p.file = l->v[i].path;
        int rc = tw_hub_path(path, err, "%s/blobs/%s", folder, l->v[i].etag);
        if (rc == 0)
            rc = tw_hub_hash_check(path, l->v[i].etag, on_hashed, &v, err);
        if (rc == -EBADMSG && unlink(path) == 0)
            rc = 0;
        if (rc != 0)
            return rc;
        v.p.n_done++;
    }
    return 0;
}

static int check_disk(const char *folder, const tw_hub_list *l, tw_err *err)
{
    char blobs[TW_HUB_PATH_BYTES];
    struct statvfs fs;
    uint64_t need = 0;
    int rc = tw_hub_path(blobs, err, "%s/blobs", folder);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < l->n; i++)
        if (!tw_hub_cache_has(folder, &l->v[i])) {
            const uint64_t left = tw_hub_part_left_bytes(blobs, l->v[i].etag);
            need += l->v[i].size - TW_MIN(left, l->v[i].size);
        }
    if (need == 0 || statvfs(blobs, &fs) != 0)
        return 0;
    const uint64_t room = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (need + SPARE_BYTES <= room)
        return 0;
    return tw_err_set(err, -ENOSPC,
                      "%.2f GB are still to come and %.2f GB are free at ...%.80s: make room "
                      "(`twinax models`), or set HF_HOME to a larger disk",
                      (double)need / 1e9, (double)room / 1e9,
                      folder + (strlen(folder) > 80 ? strlen(folder) - 80 : 0));
}

/* Into the cache what l lists. */
static int fill(const tw_hub_place *p, const tw_hub_name *name, const tw_hub_pull_opts *o,
                const tw_hub_list *l, tw_hub_pulled *ret, tw_err *err)
{
    char folder[TW_HUB_PATH_BYTES], record[TW_HUB_PATH_BYTES];
    tw_hub_progress progress = {.total_bytes = 0};
    const tw_hub_fetch_opts f = {.place = p,
                                 .name = name,
                                 .commit = l->commit,
                                 .folder = folder,
                                 .n_connections = o->n_connections,
                                 .range_bytes = o->range_bytes,
                                 .watch = o->watch};
    int rc = tw_hub_cache_folder(p, name->repo, folder, err);
    if (rc == 0)
        rc = tw_hub_cache_prepare(p, name->repo, err);
    if (rc == 0 && o->verify)
        rc = drop_bad(folder, l, o->watch, err);
    if (rc == 0)
        rc = check_disk(folder, l, err);
    if (rc == 0)
        rc = tw_hub_path(record, err, "%s/.twinax/%s.json", folder, l->commit);
    if (rc == 0)
        rc = tw_hub_list_save(l, record, err);
    if (rc == 0)
        rc = tw_hub_make_folder(ret->path, err);
    if (rc == 0)
        rc = tw_hub_fetch(&f, l, &progress, err);
    ret->fetched_bytes = progress.fetched_bytes;
    ret->n_fetched = progress.n_done;
    return rc == 0 ? tw_hub_cache_set_ref(p, name, l->commit, err) : rc;
}

int tw_hub_pull_list(const tw_hub_place *p, const tw_hub_name *name, const tw_hub_pull_opts *o,
                     tw_hub_list *ret, tw_err *err)
{
    TW_CLEANUP(tw_hub_list_done) tw_hub_list l = {.n = 0};
    if (p->offline)
        return tw_err_set(err, -ENETDOWN,
                          "%.80s: HF_HUB_OFFLINE is set: nothing is fetched; unset it", name->repo);
    int rc = get_list(p, name, o->watch, &l, err);
    if (rc == 0)
        rc = tw_hub_choose(name->repo, o->choice, &l, err);
    if (rc == 0) {
        *ret = l;
        l = (tw_hub_list){.n = 0};
    }
    return rc;
}

int tw_hub_pull(const tw_hub_place *p, const tw_hub_name *name, const tw_hub_pull_opts *o,
                tw_hub_pulled *ret, tw_err *err)
{
    TW_CLEANUP(tw_hub_list_done) tw_hub_list l = {.n = 0};
    *ret = (tw_hub_pulled){.n_files = 0};
    int rc = tw_hub_pull_list(p, name, o, &l, err);
    if (rc != 0)
        return rc;
    snprintf(ret->commit, sizeof ret->commit, "%s", l.commit);
    ret->n_files = l.n;
    ret->total_bytes = tw_hub_list_bytes(&l);
    rc = tw_hub_cache_snapshot(p, name->repo, l.commit, ret->path, err);
    return rc == 0 ? fill(p, name, o, &l, ret, err) : rc;
}
