/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/find_model.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/scope.h"
#include "cmd/files_id.h"
#include "cmd/model_file.h"
#include "fmt/gguf.h"
#include "hub/place.h"
#include "os/file.h"

enum { PATH_BYTES = 4096 };
#define LIMIT_NS (10 * TW_NS_PER_S)

typedef struct search {
    const char *id;
    tw_model *found; /* NULL also of a family that is not known, see where */
    char where[PATH_BYTES];
    unsigned n_models; /* looked at, that were others */
    uint64_t until_ns;
} search;

static void close_folder(DIR **d)
{
    if (*d != NULL)
        closedir(*d);
}

/* A folder or a file that holds a model: is it the one? */
static void try_open(search *s, const char *path)
{
    tw_err ignored;
    tw_model *m = NULL;
    if (tw_model_open(path, &m, &ignored) != 0)
        return;
    if (strcmp(tw_model_id(m), s->id) == 0) {
        s->found = m;
        snprintf(s->where, sizeof s->where, "%s", path);
        return;
    }
    s->n_models++;
    tw_model_close(m);
}

/* The same of a folder whose family is not ours: by its files. */
static void try_files(search *s, const char *folder)
{
    tw_err ignored;
    char id[TW_FILES_ID_BYTES];
    const bool same = tw_files_id(folder, id, &ignored) == 0 && strcmp(id, s->id) == 0;
    if (same)
        snprintf(s->where, sizeof s->where, "%s", folder);
    s->n_models += !same;
}

static void look_at(search *s, const char *folder)
{
    char config[PATH_BYTES];
    if (snprintf(config, sizeof config, "%s/config.json", folder) < (int)sizeof config &&
        tw_file_exists(config))
        (tw_files_id_is(s->id) ? try_files : try_open)(s, folder);
}

/* Each folder in `folder` whose name begins so. */
static void each_folder(search *s, const char *folder, const char *begins,
                        void (*fn)(search *s, const char *folder))
{
    TW_CLEANUP(close_folder) DIR *d = opendir(folder);
    const struct dirent *e;
    char path[PATH_BYTES];
    while (d != NULL && s->where[0] == '\0' && tw_clock_now_ns() < s->until_ns &&
           (e = readdir(d)) != NULL)
        if (e->d_name[0] != '.' && strncmp(e->d_name, begins, strlen(begins)) == 0 &&
            snprintf(path, sizeof path, "%s/%s", folder, e->d_name) < (int)sizeof path &&
            tw_file_is_dir(path))
            fn(s, path);
}

/* Each .gguf in `folder`, of a split model the first. */
static void look_at_files(search *s, const char *folder)
{
    TW_CLEANUP(close_folder) DIR *d = opendir(folder);
    const struct dirent *e;
    char path[PATH_BYTES];
    size_t stem;
    unsigned no, n;
    while (d != NULL && s->where[0] == '\0' && !tw_files_id_is(s->id) &&
           tw_clock_now_ns() < s->until_ns && (e = readdir(d)) != NULL)
        if (tw_model_file_is(e->d_name) &&
            !(tw_gguf_split_name(e->d_name, &stem, &no, &n) && no > 1) &&
            snprintf(path, sizeof path, "%s/%s", folder, e->d_name) < (int)sizeof path &&
            !tw_file_is_dir(path))
            try_open(s, path);
}

static void look_at_snapshot(search *s, const char *folder)
{
    look_at(s, folder);
    if (s->where[0] == '\0')
        look_at_files(s, folder);
}

static void look_at_snapshots(search *s, const char *model)
{
    char path[PATH_BYTES];
    if (snprintf(path, sizeof path, "%s/snapshots", model) < (int)sizeof path)
        each_folder(s, path, "", look_at_snapshot);
}

static void parent_of(const char *path, char out[PATH_BYTES])
{
    snprintf(out, PATH_BYTES, "%s", path);
    size_t n = strlen(out);
    while (n > 1 && out[n - 1] == '/')
        out[--n] = '\0';
    char *slash = strrchr(out, '/');
    if (slash != NULL)
        slash[slash == out] = '\0';
}

static int expand(const char *path, char out[PATH_BYTES], tw_err *err)
{
    const char *home = getenv("HOME");
    const bool tilde = strncmp(path, "~/", 2) == 0;
    if (tilde && (home == NULL || home[0] != '/'))
        return tw_err_set(err, -ENOENT, "model %.100s: HOME is not set here", path);
    const int n = snprintf(out, PATH_BYTES, "%s%s", tilde ? home : "", tilde ? path + 1 : path);
    return n < PATH_BYTES ? 0 : tw_err_set(err, -ENAMETOOLONG, "model: too long a path");
}

/* The message has little room, and the end of a path says most. */
static const char *tail(const char *path, size_t n)
{
    const size_t len = strlen(path);
    return len > n ? path + len - n : path;
}

static int search_places(const char *path, const char *id, search *ret, tw_err *err)
{
    search s = {.id = id, .until_ns = tw_clock_now_ns() + LIMIT_NS};
    char beside[PATH_BYTES], hub[TW_HUB_PATH_BYTES] = "";
    tw_err ignored;
    parent_of(path, beside);
    if (beside[0] != '\0')
        each_folder(&s, beside, "", look_at);
    if (s.where[0] == '\0' && beside[0] != '\0')
        look_at_files(&s, beside);
    if (s.where[0] == '\0' && tw_hub_place_cache(hub, &ignored) == 0)
        each_folder(&s, hub, "models--", look_at_snapshots);
    if (s.where[0] == '\0')
        return tw_err_set(
            err, -ENOENT,
            "model ...%s: not here, and of %u others none has its id %.12s...: looked "
            "beside it and in %s: --copy copies it, --model-path says where",
            tail(path, 40), s.n_models, id, tail(hub, 50));
    tw_log(TW_LOG_INFO, "rank", "the model is not at %s; the one with its id is %s", path, s.where);
    *ret = s;
    return 0;
}

int tw_find_model(const char *path, const char *id, tw_model **ret, tw_err *err)
{
    char own[PATH_BYTES];
    tw_model *m = NULL;
    int rc = expand(path, own, err);
    if (rc == 0)
        rc = tw_model_open(own, &m, err);
    if (rc == 0 && (id == NULL || strcmp(id, tw_model_id(m)) == 0)) {
        *ret = m;
        return 0;
    }
    if (id == NULL || (rc != 0 && rc != -ENOENT))
        return rc;
    tw_model_close(m);
    search s;
    rc = search_places(own, id, &s, err);
    if (rc == 0)
        *ret = s.found;
    return rc;
}

int tw_find_model_path(const char *path, const char *id, char *ret, size_t ret_bytes, tw_err *err)
{
    char own[PATH_BYTES];
    search here = {.id = id}, s = {.id = id};
    int rc = expand(path, own, err);
    if (rc != 0)
        return rc;
    look_at(&here, own);
    if (here.where[0] == '\0')
        rc = search_places(own, id, &s, err);
    tw_model_close(here.found);
    tw_model_close(s.found);
    if (rc == 0)
        snprintf(ret, ret_bytes, "%s", here.where[0] != '\0' ? here.where : s.where);
    return rc;
}
