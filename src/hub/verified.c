/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/verified.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "base/str.h"
#include "hub/cache.h"
#include "os/file.h"
#include "os/sha256.h"

enum { FILES_MAX = 4096, NAME_BYTES = 256 };
#define SMALL_BYTES (UINT64_C(32) << 20) /* these are read rather than asked for */

/* ---- a snapshot ---- */

typedef struct look {
    const tw_hub_hashes *h;
    tw_hub_verified v;
} look;

static int look_at(void *arg, const tw_hub_seen *f, tw_err *err)
{
    look *l = arg;
    char got[TW_HUB_ETAG_BYTES];
    (void)err;
    if (!f->is_there || f->etag[0] == '\0' ||
        !tw_hub_hashes_find(l->h, f->st, (unsigned)strlen(f->etag), got))
        l->v.n_unknown++;
    else if (strcmp(got, f->etag) == 0)
        l->v.n_good++;
    else if (l->v.n_bad++ == 0)
        snprintf(l->v.bad, sizeof l->v.bad, "%.150s", f->path);
    return 0;
}

int tw_hub_verified_get(const tw_hub_hashes *h, const char *snapshot, tw_hub_verified *ret,
                        tw_err *err)
{
    look l = {.h = h};
    int rc = tw_hub_each_file(snapshot, look_at, &l, err);
    if (rc == 0)
        *ret = l.v;
    return rc;
}

/* ---- a file ---- */

int tw_hub_hash_file(const char *path, bool is_quick, bool (*on_bytes)(void *arg, uint64_t n),
                     void *arg, char ret[TW_HUB_ETAG_BYTES], tw_err *err)
{
    struct stat st;
    tw_hub_hashes h;
    if (stat(path, &st) != 0)
        return tw_err_set(err, -errno, "%.150s: %s", path, strerror(errno));
    if (is_quick) {
        tw_hub_hashes_load(&h);
        const bool found = tw_hub_hashes_find(&h, &st, TW_SHA256_HEX, ret);
        tw_hub_hashes_done(&h);
        if (found)
            return 0;
    }
    return tw_hub_hash_sha256(path, on_bytes, arg, ret, err);
}

/* ---- weights ---- */

typedef struct weights {
    char (*names)[NAME_BYTES];
    size_t n;
} weights;

static int compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

static bool is_weights(const char *name)
{
    static const char *const kinds[] = {".safetensors", ".gguf", ".bin"};
    for (size_t i = 0; i < TW_ARRAY_LEN(kinds); i++)
        if (tw_str_ends(tw_str_from(name), tw_str_from(kinds[i])))
            return true;
    return false;
}

static int find_weights(const char *folder, weights *w, tw_err *err)
{
    DIR *d = opendir(folder);
    const struct dirent *e;
    if (d == NULL)
        return tw_err_set(err, -errno, "%.150s: %s", folder, strerror(errno));
    w->names = tw_mem_calloc(FILES_MAX, NAME_BYTES);
    while (w->names != NULL && w->n < FILES_MAX && (e = readdir(d)) != NULL)
        if (is_weights(e->d_name))
            snprintf(w->names[w->n++], NAME_BYTES, "%s", e->d_name);
    closedir(d);
    if (w->names == NULL)
        return tw_err_set(err, -ENOMEM, "no memory");
    if (w->n == 0 || w->n == FILES_MAX)
        return tw_err_set(err, -ENODATA, "%.150s: %zu files of weights", folder, w->n);
    qsort(w->names, w->n, NAME_BYTES, compare_names);
    return 0;
}

static int known(const tw_hub_hashes *h, const char *path, char ret[TW_HUB_ETAG_BYTES], tw_err *err)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return tw_err_set(err, -errno, "%.150s: %s", path, strerror(errno));
    if (tw_hub_hashes_find(h, &st, TW_SHA256_HEX, ret))
        return 0;
    if ((uint64_t)st.st_size <= SMALL_BYTES)
        return tw_hub_hash_sha256(path, NULL, NULL, ret, err);
    return tw_err_set(err, -ENODATA,
                      "%.120s: not hashed since it was changed: `twinax models "
                      "verify` does",
                      path);
}

static int id_of(const tw_hub_hashes *h, const char *folder, const weights *w,
                 char ret[TW_HUB_ETAG_BYTES], tw_err *err)
{
    char path[TW_HUB_PATH_BYTES], one[TW_HUB_ETAG_BYTES];
    uint8_t hash[TW_SHA256_BYTES];
    tw_sha256 all;
    int rc = 0;
    tw_sha256_init(&all);
    for (size_t i = 0; i < w->n && rc == 0; i++) {
        rc = tw_hub_path(path, err, "%s/%s", folder, w->names[i]);
        if (rc == 0)
            rc = known(h, path, one, err);
        if (rc == 0) {
            tw_sha256_add(&all, w->names[i], strlen(w->names[i]) + 1);
            tw_sha256_add(&all, one, TW_SHA256_HEX);
        }
    }
    tw_sha256_end(&all, hash);
    if (rc == 0)
        tw_sha256_print(hash, ret);
    return rc;
}

int tw_hub_content_id(const char *path, char ret[TW_HUB_ETAG_BYTES], tw_err *err)
{
    tw_hub_hashes h;
    weights w = {.n = 0};
    int rc = 0;
    tw_hub_hashes_load(&h);
    if (!tw_file_is_dir(path))
        rc = known(&h, path, ret, err);
    else {
        rc = find_weights(path, &w, err);
        if (rc == 0)
            rc = id_of(&h, path, &w, ret, err);
    }
    tw_mem_free(w.names);
    tw_hub_hashes_done(&h);
    return rc;
}
