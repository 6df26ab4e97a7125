/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/list_here.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "hub/cache.h"
#include "hub/scan.h"
#include "hub/verified.h"

typedef struct listing {
    const tw_hub_list_here_opts *o;
    tw_hub_list *l;
    size_t cap;
} listing;

static int hash_file(const tw_hub_list_here_opts *o, const char *name, char ret[TW_HUB_ETAG_BYTES],
                     tw_err *err)
{
    char path[TW_HUB_PATH_BYTES];
    int rc = tw_hub_path(path, err, "%s/%s", o->folder, name);
    return rc == 0 ? tw_hub_hash_file(path, true, o->on_bytes, o->arg, ret, err) : rc;
}

static int add(void *arg, const tw_hub_seen *f, tw_err *err)
{
    listing *g = arg;
    tw_hub_list *l = g->l;
    if (!f->is_there || !tw_hub_path_is_safe(f->path))
        return 0;
    if (l->n == g->cap) {
        const size_t cap = TW_MAX(2 * g->cap, (size_t)64);
        tw_hub_file *v = tw_arena_array(&l->mem, cap, sizeof *v);
        if (v == NULL || cap > TW_HUB_FILES_MAX)
            return tw_err_set(err, -ENOMEM, "%.100s: too many files", g->o->folder);
        if (l->n > 0)
            memcpy(v, l->v, l->n * sizeof *v);
        l->v = v;
        g->cap = cap;
    }
    tw_hub_file *to = &l->v[l->n];
    *to = (tw_hub_file){.size = f->size};
    to->path = tw_arena_strndup(&l->mem, f->path, strlen(f->path));
    if (to->path == NULL)
        return tw_err_set(err, -ENOMEM, "no memory");
    memcpy(to->etag, f->etag, sizeof to->etag);
    l->n++;
    return 0;
}

static int compare_paths(const void *a, const void *b)
{
    const tw_hub_file *x = a, *y = b;
    return strcmp(x->path, y->path);
}

int tw_hub_list_here(const tw_hub_list_here_opts *o, tw_hub_list *ret, tw_err *err)
{
    TW_CLEANUP(tw_hub_list_done) tw_hub_list l = {.n = 0};
    listing g = {.o = o, .l = &l};
    snprintf(l.commit, sizeof l.commit, "%.40s", o->commit);
    if (!tw_hub_is_commit(l.commit))
        return tw_err_set(err, -EINVAL, "%.60s: wanted 40 hexadecimal digits", o->commit);
    int rc = tw_hub_each_file(o->folder, add, &g, err);
    if (rc == 0 && l.n == 0)
        rc = tw_err_set(err, -ENOENT, "%.150s: no files there", o->folder);
    if (rc == 0 && o->choice != NULL)
        rc = tw_hub_choose(o->name, o->choice, &l, err);
    for (size_t i = 0; i < l.n && rc == 0; i++)
        if (l.v[i].etag[0] == '\0')
            rc = hash_file(o, l.v[i].path, l.v[i].etag, err);
    if (rc != 0)
        return rc;
    qsort(l.v, l.n, sizeof *l.v, compare_paths);
    *ret = l;
    l = (tw_hub_list){.n = 0};
    return 0;
}

int tw_hub_list_cached(const tw_hub_place *p, const tw_hub_name *name, const tw_hub_choice *c,
                       tw_hub_list *ret, tw_err *err)
{
    char path[TW_HUB_PATH_BYTES];
    int rc = tw_hub_find(p, name, path, err);
    if (rc != 0)
        return rc;
    const tw_hub_list_here_opts h = {.folder = path,
                                     .commit = strrchr(path, '/') + 1,
                                     .name = name->repo,
                                     .choice = c};
    return tw_hub_list_here(&h, ret, err);
}
