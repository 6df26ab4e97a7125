/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/list_here.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "hub/cache.h"
#include "hub/scan.h"
#include "os/fd.h"
#include "os/sha256.h"

enum { CHUNK_BYTES = 1 << 20 };

typedef struct listing {
    const tw_hub_list_here_opts *o;
    tw_hub_list *l;
    size_t cap;
} listing;

static int hash_file(const tw_hub_list_here_opts *o, const char *name, char ret[TW_HUB_ETAG_BYTES],
                     tw_err *err)
{
    char path[TW_HUB_PATH_BYTES];
    uint8_t hash[TW_SHA256_BYTES];
    tw_sha256 s;
    int rc = tw_hub_path(path, err, "%s/%s", o->folder, name);
    if (rc != 0)
        return rc;
    TW_CLEANUP(tw_mem_freep) uint8_t *chunk = tw_mem_alloc(CHUNK_BYTES);
    TW_CLEANUP(tw_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (chunk == NULL)
        return tw_err_set(err, -ENOMEM, "no memory");
    if (fd < 0)
        return tw_err_set(err, -errno, "%.150s: %s", path, strerror(errno));
    tw_sha256_init(&s);
    for (ssize_t n; rc == 0 && (n = read(fd, chunk, CHUNK_BYTES)) != 0;) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = tw_err_set(err, -errno, "%.150s: cannot read: %s", path, strerror(errno));
        else
            tw_sha256_add(&s, chunk, (size_t)n);
        if (rc == 0 && o->on_bytes != NULL && !o->on_bytes(o->arg, (uint64_t)n))
            rc = tw_err_set(err, -EINTR, "stopped");
    }
    tw_sha256_end(&s, hash); /* in any case: it has memory */
    if (rc == 0)
        tw_sha256_print(hash, ret);
    return rc;
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
    for (size_t i = 0; i < l.n && rc == 0; i++)
        if (l.v[i].etag[0] == '\0')
            rc = hash_file(o, l.v[i].path, l.v[i].etag, err);
    if (rc == 0 && l.n == 0)
        rc = tw_err_set(err, -ENOENT, "%.150s: no files there", o->folder);
    if (rc != 0)
        return rc;
    qsort(l.v, l.n, sizeof *l.v, compare_paths);
    *ret = l;
    l = (tw_hub_list){.n = 0};
    return 0;
}
