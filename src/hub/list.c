/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/list.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "fmt/json.h"
#include "hub/name.h"
#include "os/file.h"

enum { SAVED_MAX_BYTES = 64 << 20, FILE_SIZE_MAX_SHIFT = 50 };

static int compare_paths(const void *a, const void *b)
{
    const tw_hub_file *x = a, *y = b;
    return strcmp(x->path, y->path);
}

static int add(tw_hub_list *l, const char *name, const char *path, const char *etag,
               const json_t *size, tw_err *err)
{
    const json_int_t bytes = json_is_integer(size) ? json_integer_value(size) : -1;
    if (path == NULL || !tw_hub_path_is_safe(path))
        return tw_err_set(err, -EINVAL, "%.100s: lists a file with an odd path: %.80s", name,
                          path != NULL ? path : "(none)");
    if (etag == NULL || !tw_hub_is_etag(etag) || bytes < 0 || bytes >> FILE_SIZE_MAX_SHIFT != 0)
        return tw_err_set(err, -EINVAL,
                          "%.80s: %.80s: listed without a hash or size: is this a "
                          "hub? (HF_ENDPOINT)",
                          name, path);
    tw_hub_file *f = &l->v[l->n];
    f->path = tw_arena_strndup(&l->mem, path, strlen(path));
    if (f->path == NULL)
        return tw_err_set(err, -ENOMEM, "no memory");
    snprintf(f->etag, sizeof f->etag, "%s", etag);
    f->size = (uint64_t)bytes;
    l->n++;
    return 0;
}

/* files: of objects with `path_key`; a file in large-file storage has its SHA-256 in "lfs". */
static int take_files(const char *name, const json_t *files, const char *path_key, tw_hub_list *l,
                      tw_err *err)
{
    const size_t n = json_array_size(files);
    if (!json_is_array(files) || n > TW_HUB_FILES_MAX)
        return tw_err_set(err, -EINVAL,
                          "%.100s: no list of files came: is this a hub? "
                          "(HF_ENDPOINT)",
                          name);
    l->v = tw_arena_array(&l->mem, TW_MAX(n, 1u), sizeof *l->v);
    if (l->v == NULL)
        return tw_err_set(err, -ENOMEM, "no memory");
    for (size_t i = 0; i < n; i++) {
        const json_t *f = json_array_get(files, i), *lfs = json_object_get(f, "lfs");
        const json_t *size = json_object_get(json_is_object(lfs) ? lfs : f, "size");
        const json_t *etag =
            json_is_object(lfs) ? json_object_get(lfs, "sha256") : json_object_get(f, "blobId");
        if (size == NULL)
            size = json_object_get(f, "size");
        int rc = add(l, name, json_string_value(json_object_get(f, path_key)),
                     json_string_value(etag), size, err);
        if (rc != 0)
            return rc;
    }
    qsort(l->v, l->n, sizeof *l->v, compare_paths);
    for (size_t i = 1; i < l->n; i++)
        if (strcmp(l->v[i].path, l->v[i - 1].path) == 0)
            return tw_err_set(err, -EINVAL, "%.100s: lists %.100s twice", name, l->v[i].path);
    return 0;
}

static int parse(const char *name, const char *p, size_t n, const char *files_key,
                 const char *path_key, tw_hub_list *ret, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *v = NULL;
    TW_CLEANUP(tw_hub_list_done) tw_hub_list l = {.n = 0};
    int rc = tw_json_parse(name, p, n, &v, err);
    if (rc != 0)
        return rc;
    const char *commit = json_string_value(json_object_get(v, "sha"));
    if (commit == NULL || !tw_hub_is_commit(commit))
        return tw_err_set(err, -EINVAL,
                          "%.100s: the answer names no commit: is this a hub? "
                          "(HF_ENDPOINT)",
                          name);
    snprintf(l.commit, sizeof l.commit, "%s", commit);
    rc = take_files(name, json_object_get(v, files_key), path_key, &l, err);
    if (rc == 0) {
        *ret = l;
        l = (tw_hub_list){.n = 0};
    }
    return rc;
}

int tw_hub_list_parse(const char *name, const char *p, size_t n, tw_hub_list *ret, tw_err *err)
{
    return parse(name, p, n, "siblings", "rfilename", ret, err);
}

int tw_hub_list_save(const tw_hub_list *l, const char *path, tw_err *err)
{
    char beside[4096];
    json_t *files = json_array();
    TW_CLEANUP(tw_json_freep) json_t *v = json_pack("{s:s, s:o}", "sha", l->commit, "files", files);
    for (size_t i = 0; i < l->n; i++)
        (void)!json_array_append_new(files,
                                     json_pack("{s:s, s:s, s:I}", "path", l->v[i].path, "blobId",
                                               l->v[i].etag, "size", (json_int_t)l->v[i].size));
    TW_CLEANUP(tw_mem_freep) char *text = v != NULL ? json_dumps(v, JSON_COMPACT) : NULL;
    if (text == NULL || json_array_size(files) != l->n)
        return tw_err_set(err, -ENOMEM, "no memory");
    if (snprintf(beside, sizeof beside, "%s.new", path) >= (int)sizeof beside)
        return tw_err_set(err, -ENAMETOOLONG, "%.150s: too long a path", path);
    int rc = tw_file_write(beside, text, strlen(text), err);
    if (rc == 0 && rename(beside, path) != 0)
        rc = tw_err_set(err, -errno, "%.150s: %s", path, strerror(errno));
    return rc;
}

int tw_hub_list_load(const char *path, tw_hub_list *ret, tw_err *err)
{
    tw_buf text TW_CLEANUP(tw_buf_done) = TW_BUF(SAVED_MAX_BYTES);
    int rc = tw_file_read(path, &text, err);
    return rc == 0 ? parse(path, text.data != NULL ? text.data : "", text.len, "files", "path", ret,
                           err)
                   : rc;
}

uint64_t tw_hub_list_bytes(const tw_hub_list *l)
{
    uint64_t n = 0;
    for (size_t i = 0; i < l->n; i++)
        n += l->v[i].size;
    return n;
}

void tw_hub_list_done(tw_hub_list *l)
{
    tw_arena_done(&l->mem);
    l->v = NULL;
    l->n = 0;
}
