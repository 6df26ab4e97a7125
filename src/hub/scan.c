/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/scan.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/scope.h"
#include "base/str.h"
#include "fmt/json.h"
#include "hub/cache.h"
#include "hub/list.h"
#include "os/file.h"

enum {
    DEPTH_MAX = 16,
    INDEX_MAX_BYTES = 64 << 20,
    REFS_MAX_BYTES = 4096,
    FTW_FDS = 16,
    MODELS_MAX = 10000
};

static void close_folder(DIR **d)
{
    if (*d != NULL)
        closedir(*d);
}

/* ---- each name in a folder ---- */

typedef int (*name_fn)(void *arg, const char *path, const char *name, tw_err *err);

/* One that is not there has none. */
static int each_name(const char *folder, name_fn fn, void *arg, tw_err *err)
{
    char path[TW_HUB_PATH_BYTES];
    TW_CLEANUP(close_folder) DIR *d = opendir(folder);
    const struct dirent *e;
    int rc = 0;
    if (d == NULL && errno != ENOENT && errno != ENOTDIR)
        return tw_err_set(err, -errno, "%.150s: %s", folder, strerror(errno));
    while (d != NULL && rc == 0 && (e = readdir(d)) != NULL) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        rc = tw_hub_path(path, err, "%s/%s", folder, e->d_name);
        if (rc == 0)
            rc = fn(arg, path, e->d_name, err);
    }
    return rc;
}

/* ---- files of a snapshot ---- */

typedef struct walk {
    size_t n_root; /* of the path that leads to the snapshot, with its '/' */
    unsigned depth;
    int (*fn)(void *arg, const tw_hub_seen *f, tw_err *err);
    void *arg;
} walk;

static int walk_entry(void *arg, const char *path, const char *name, tw_err *err)
{
    walk *w = arg;
    char to[TW_HUB_PATH_BYTES];
    struct stat st;
    tw_hub_seen f = {.path = path + w->n_root};
    (void)name;
    if (lstat(path, &st) != 0)
        return 0;
    if (S_ISDIR(st.st_mode)) {
        if (w->depth == DEPTH_MAX)
            return tw_err_set(err, -ELOOP, "%.150s: too deep", path);
        w->depth++;
        const int rc = each_name(path, walk_entry, w, err);
        w->depth--;
        return rc;
    }
    const ssize_t n = S_ISLNK(st.st_mode) ? readlink(path, to, sizeof to - 1) : 0;
    if (n > 0) {
        to[n] = '\0';
        const char *slash = strrchr(to, '/'), *last = slash != NULL ? slash + 1 : to;
        if (tw_hub_is_etag(last))
            memcpy(f.etag, last, strlen(last) + 1);
    }
    f.is_there = stat(path, &st) == 0 && S_ISREG(st.st_mode);
    f.size = f.is_there ? (uint64_t)st.st_size : 0;
    f.st = &st;
    return w->fn(w->arg, &f, err);
}

int tw_hub_each_file(const char *snapshot, int (*fn)(void *arg, const tw_hub_seen *f, tw_err *err),
                     void *arg, tw_err *err)
{
    walk w = {.n_root = strlen(snapshot) + 1, .fn = fn, .arg = arg};
    return each_name(snapshot, walk_entry, &w, err);
}

/* ---- is it whole? ---- */

static void lacks(tw_hub_model *m, const char *path)
{
    if (m->n_missing++ == 0)
        snprintf(m->why, sizeof m->why, "%.150s", path);
}

static bool is_weights(const char *path)
{
    static const char *const kinds[] = {".safetensors", ".gguf", ".bin", ".pth", ".pt"};
    for (size_t i = 0; i < TW_ARRAY_LEN(kinds); i++)
        if (tw_str_ends(tw_str_from(path), tw_str_from(kinds[i])))
            return true;
    return false;
}

static int count_file(void *arg, const tw_hub_seen *f, tw_err *err)
{
    tw_hub_model *m = arg;
    (void)err;
    if (!f->is_there) {
        lacks(m, f->path);
        return 0;
    }
    m->n_files++;
    m->bytes += f->size;
    m->has_weights |= is_weights(f->path);
    return 0;
}

/* False when it, or what it leads to, is not there, or has not this size (0: any). */
static bool has_file(const tw_hub_model *m, const char *name, uint64_t size)
{
    char path[TW_HUB_PATH_BYTES];
    struct stat st;
    tw_err ignored;
    return tw_hub_path(path, &ignored, "%s/%s", m->path, name) == 0 && stat(path, &st) == 0 &&
           (size == 0 || (uint64_t)st.st_size == size);
}

/* A dangling link was counted already. */
static bool is_dangling(const tw_hub_model *m, const char *name)
{
    char path[TW_HUB_PATH_BYTES];
    struct stat st;
    tw_err ignored;
    return tw_hub_path(path, &ignored, "%s/%s", m->path, name) == 0 && lstat(path, &st) == 0 &&
           stat(path, &st) != 0;
}

/* What our own pull wanted. */
static void check_record(tw_hub_model *m, const char *folder)
{
    char path[TW_HUB_PATH_BYTES];
    TW_CLEANUP(tw_hub_list_done) tw_hub_list l = {.n = 0};
    tw_err ignored;
    if (tw_hub_path(path, &ignored, "%s/.twinax/%s.json", folder, m->commit) != 0 ||
        tw_hub_list_load(path, &l, &ignored) != 0)
        return;
    for (size_t i = 0; i < l.n; i++)
        if (!has_file(m, l.v[i].path, l.v[i].size) && !is_dangling(m, l.v[i].path))
            lacks(m, l.v[i].path);
}

static int compare_texts(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

/* The shards that the model's own index names, whoever brought them. */
static void check_index(tw_hub_model *m)
{
    char path[TW_HUB_PATH_BYTES];
    tw_buf text TW_CLEANUP(tw_buf_done) = TW_BUF(INDEX_MAX_BYTES);
    TW_CLEANUP(tw_json_freep) json_t *v = NULL;
    tw_err ignored;
    if (tw_hub_path(path, &ignored, "%s/model.safetensors.index.json", m->path) != 0 ||
        tw_file_read(path, &text, &ignored) != 0 || text.len == 0 ||
        tw_json_parse("index", text.data, text.len, &v, &ignored) != 0)
        return;
    json_t *map = json_object_get(v, "weight_map"), *shard;
    const char *key;
    size_t n = 0;
    TW_CLEANUP(tw_mem_freep)
    const char **names = tw_mem_calloc(TW_MAX(json_object_size(map), 1u), sizeof *names);
    if (names == NULL)
        return;
    json_object_foreach(map, key, shard) if (json_is_string(shard)) names[n++] =
        json_string_value(shard);
    qsort(names, n, sizeof *names, compare_texts);
    for (size_t i = 0; i < n; i++)
        if ((i == 0 || strcmp(names[i], names[i - 1]) != 0) && tw_hub_path_is_safe(names[i]) &&
            !has_file(m, names[i], 0) && !is_dangling(m, names[i]))
            lacks(m, names[i]);
}

static int look_at(tw_hub_model *m, const char *folder, tw_err *err)
{
    char first[sizeof m->why];
    int rc = tw_hub_each_file(m->path, count_file, m, err);
    if (rc != 0)
        return rc;
    const size_t n_dangling = m->n_missing;
    check_record(m, folder);
    if (m->n_missing == n_dangling) /* else its shards are counted */
        check_index(m);
    snprintf(first, sizeof first, "%s", m->why);
    m->is_whole = m->n_missing == 0 && m->n_files > 0;
    if (m->n_missing > 0)
        snprintf(m->why, sizeof m->why, "%zu files are missing, %.100s first", m->n_missing, first);
    else if (m->n_files == 0)
        snprintf(m->why, sizeof m->why, "it has no files");
    return 0;
}

/* ---- all snapshots ---- */

typedef struct scan {
    tw_hub_models *out;
    size_t cap;
    char folder[TW_HUB_PATH_BYTES]; /* ".../models--org--name" */
    char repo[TW_HUB_REPO_BYTES];
    const char *commit; /* whose refs are looked for */
    tw_buf refs;
    unsigned depth;
    const char *refs_root;
} scan;

static int note_ref(void *arg, const char *path, const char *name, tw_err *err)
{
    scan *s = arg;
    tw_buf text TW_CLEANUP(tw_buf_done) = TW_BUF(256);
    tw_err ignored;
    (void)name;
    if (tw_file_is_dir(path)) { /* "refs/pr/1" */
        if (s->depth == DEPTH_MAX)
            return 0;
        s->depth++;
        const int rc = each_name(path, note_ref, s, err);
        s->depth--;
        return rc;
    }
    if (tw_file_read(path, &text, &ignored) != 0 || text.len < 40 ||
        strncmp(text.data, s->commit, 40) != 0)
        return 0;
    (void)!tw_buf_printf(&s->refs, "%s%s", s->refs.len > 0 ? ", " : "",
                         path + strlen(s->refs_root) + 1);
    return 0;
}

static int find_refs(scan *s, const char *commit, tw_err *err)
{
    char root[TW_HUB_PATH_BYTES];
    int rc = tw_hub_path(root, err, "%s/refs", s->folder);
    tw_buf_reset(&s->refs);
    s->commit = commit;
    s->refs_root = root;
    s->depth = 0;
    return rc == 0 ? each_name(root, note_ref, s, err) : rc;
}

static int add_snapshot(void *arg, const char *path, const char *name, tw_err *err)
{
    scan *s = arg;
    tw_hub_models *out = s->out;
    if (!tw_hub_is_commit(name) || !tw_file_is_dir(path) || out->n == MODELS_MAX)
        return 0;
    if (out->n == s->cap) {
        const size_t cap = TW_MAX(2 * s->cap, 16u);
        tw_hub_model *v = tw_arena_array(&out->mem, cap, sizeof *v);
        if (v == NULL)
            return tw_err_set(err, -ENOMEM, "no memory");
        if (out->n > 0)
            memcpy(v, out->v, out->n * sizeof *v);
        out->v = v;
        s->cap = cap;
    }
    int rc = find_refs(s, name, err);
    if (rc != 0)
        return rc;
    tw_hub_model *m = &out->v[out->n];
    *m = (tw_hub_model){.repo = tw_arena_strndup(&out->mem, s->repo, strlen(s->repo)),
                        .commit = tw_arena_strndup(&out->mem, name, 40),
                        .refs = tw_arena_strndup(&out->mem, s->refs.len > 0 ? s->refs.data : "",
                                                 s->refs.len),
                        .path = tw_arena_strndup(&out->mem, path, strlen(path))};
    if (m->repo == NULL || m->commit == NULL || m->refs == NULL || m->path == NULL)
        return tw_err_set(err, -ENOMEM, "no memory");
    rc = look_at(m, s->folder, err);
    out->n += rc == 0;
    return rc;
}

static int add_repo(void *arg, const char *path, const char *name, tw_err *err)
{
    scan *s = arg;
    char snapshots[TW_HUB_PATH_BYTES];
    static const char begins[] = "models--";
    const char *org = name + sizeof begins - 1;
    if (strncmp(name, begins, sizeof begins - 1) != 0)
        return 0;
    const char *dashes = strstr(org, "--");
    if (dashes == NULL)
        snprintf(s->repo, sizeof s->repo, "%s", org); /* old ones have no owner: "gpt2" */
    else
        snprintf(s->repo, sizeof s->repo, "%.*s/%s", (int)(dashes - org), org, dashes + 2);
    int rc = tw_hub_path(s->folder, err, "%s", path);
    if (rc == 0)
        rc = tw_hub_path(snapshots, err, "%s/snapshots", path);
    return rc == 0 ? each_name(snapshots, add_snapshot, s, err) : rc;
}

static int compare_models(const void *a, const void *b)
{
    const tw_hub_model *x = a, *y = b;
    const int order = strcmp(x->repo, y->repo);
    return order != 0 ? order : strcmp(x->commit, y->commit);
}

int tw_hub_scan(const tw_hub_place *p, const char *repo, tw_hub_models *ret, tw_err *err)
{
    char folder[TW_HUB_PATH_BYTES];
    TW_CLEANUP(tw_mem_freep) scan *s = tw_mem_calloc(1, sizeof *s);
    tw_hub_models m = {.n = 0};
    if (s == NULL)
        return tw_err_set(err, -ENOMEM, "no memory");
    s->out = &m;
    s->refs = TW_BUF(REFS_MAX_BYTES);
    int rc = 0;
    if (repo == NULL) {
        rc = each_name(p->cache, add_repo, s, err);
    } else {
        rc = tw_hub_cache_folder(p, repo, folder, err);
        if (rc == 0)
            rc = add_repo(s, folder, strrchr(folder, '/') + 1, err);
    }
    tw_buf_done(&s->refs);
    if (rc != 0) {
        tw_hub_models_done(&m);
        return rc;
    }
    if (m.n > 0)
        qsort(m.v, m.n, sizeof *m.v, compare_models);
    *ret = m;
    return 0;
}

void tw_hub_models_done(tw_hub_models *m)
{
    tw_arena_done(&m->mem);
    m->v = NULL;
    m->n = 0;
}

int tw_hub_find(const tw_hub_place *p, const tw_hub_name *name, char ret_path[TW_HUB_PATH_BYTES],
                tw_err *err)
{
    char folder[TW_HUB_PATH_BYTES], path[TW_HUB_PATH_BYTES], commit[41];
    int rc = tw_hub_cache_commit(p, name, commit, err);
    if (rc == 0)
        rc = tw_hub_cache_folder(p, name->repo, folder, err);
    if (rc == 0)
        rc = tw_hub_cache_snapshot(p, name->repo, commit, path, err);
    if (rc != 0)
        return rc;
    if (!tw_file_is_dir(path))
        return tw_err_set(err, -ENOENT, "%.80s@%.40s is not in the cache %.80s", name->repo,
                          name->revision, p->cache);
    tw_hub_model m = {.repo = name->repo, .commit = commit, .refs = "", .path = path};
    rc = look_at(&m, folder, err);
    if (rc != 0)
        return rc;
    if (!m.is_whole || !m.has_weights)
        return tw_err_set(err, -EAGAIN, "%.60s@%.40s in the cache is not whole: %.100s", name->repo,
                          name->revision, m.is_whole ? "it has no weights" : m.why);
    memcpy(ret_path, path, strlen(path) + 1);
    return 0;
}

/* ---- removing ---- */

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

static int remove_tree(const char *path, tw_err *err)
{
    if (nftw(path, remove_entry, FTW_FDS, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT)
        return tw_err_set(err, -errno, "%.150s: cannot be removed: %s", path, strerror(errno));
    return 0;
}

typedef struct removal {
    const tw_hub_model *m;
    const tw_hub_models *all; /* of the same repository */
    char folder[TW_HUB_PATH_BYTES];
    uint64_t bytes;
    const char *wanted; /* a blob that is looked for */
    bool found;
} removal;

static int note_use(void *arg, const tw_hub_seen *f, tw_err *err)
{
    removal *r = arg;
    (void)err;
    r->found |= strcmp(f->etag, r->wanted) == 0;
    return 0;
}

static int drop_blob(void *arg, const tw_hub_seen *f, tw_err *err)
{
    removal *r = arg;
    char blob[TW_HUB_PATH_BYTES];
    int rc = 0;
    r->found = false;
    r->wanted = f->etag;
    for (size_t i = 0; i < r->all->n && rc == 0 && !r->found; i++)
        if (strcmp(r->all->v[i].commit, r->m->commit) != 0)
            rc = tw_hub_each_file(r->all->v[i].path, note_use, r, err);
    if (rc != 0 || r->found || f->etag[0] == '\0')
        return rc;
    rc = tw_hub_path(blob, err, "%s/blobs/%s", r->folder, f->etag);
    if (rc == 0 && unlink(blob) == 0)
        r->bytes += f->size;
    return rc;
}

static int drop_ref(void *arg, const char *path, const char *name, tw_err *err)
{
    const removal *r = arg;
    tw_buf text TW_CLEANUP(tw_buf_done) = TW_BUF(256);
    tw_err ignored;
    (void)name;
    if (tw_file_is_dir(path))
        return each_name(path, drop_ref, arg, err);
    if (tw_file_read(path, &text, &ignored) == 0 && text.len >= 40 &&
        strncmp(text.data, r->m->commit, 40) == 0)
        (void)unlink(path);
    return 0;
}

static int remove_snapshot(removal *r, tw_err *err)
{
    char path[TW_HUB_PATH_BYTES];
    int rc = tw_hub_each_file(r->m->path, drop_blob, r, err);
    if (rc == 0)
        rc = tw_hub_path(path, err, "%s/refs", r->folder);
    if (rc == 0)
        rc = each_name(path, drop_ref, r, err);
    if (rc == 0)
        rc = remove_tree(r->m->path, err);
    if (rc == 0)
        rc = tw_hub_path(path, err, "%s/.twinax/%s.json", r->folder, r->m->commit);
    if (rc == 0)
        (void)unlink(path);
    return rc;
}

static int add_size(void *arg, const char *path, const char *name, tw_err *err)
{
    removal *r = arg;
    struct stat st;
    (void)name, (void)err;
    if (lstat(path, &st) == 0)
        r->bytes += (uint64_t)st.st_blocks * 512;
    return 0;
}

/* Also what broken-off downloads left, and our locks. */
static int remove_repo(const tw_hub_place *p, removal *r, tw_err *err)
{
    char path[TW_HUB_PATH_BYTES];
    int rc = tw_hub_path(path, err, "%s/blobs", r->folder);
    if (rc == 0)
        rc = each_name(path, add_size, r, err);
    if (rc == 0)
        rc = remove_tree(r->folder, err);
    if (rc == 0)
        rc = tw_hub_path(path, err, "%s/.locks/%s", p->cache, strrchr(r->folder, '/') + 1);
    return rc == 0 ? remove_tree(path, err) : rc;
}

int tw_hub_remove(const tw_hub_place *p, const tw_hub_model *m, uint64_t *ret_bytes, tw_err *err)
{
    TW_CLEANUP(tw_hub_models_done) tw_hub_models all = {.n = 0};
    removal r = {.m = m, .all = &all};
    int rc = tw_hub_cache_folder(p, m->repo, r.folder, err);
    if (rc == 0)
        rc = tw_hub_scan(p, m->repo, &all, err);
    if (rc == 0)
        rc = all.n <= 1 ? remove_repo(p, &r, err) : remove_snapshot(&r, err);
    if (rc == 0)
        *ret_bytes = r.bytes;
    return rc;
}
