/* SPDX-License-Identifier: Apache-2.0 */
/* The model before vLLM: found in the caches, pulled once and shared, given to nodes that lack it, as with
 * the native engine. vLLM gets a folder, so that nothing is fetched twice. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cmd/files_id.h"
#include "cmd/give_model.h"
#include "cmd/pull_model.h"
#include "cmd/pull_nodes.h"
#include "cmd/vllm_run.h"
#include "hub/scan.h"
#include "model/model.h"
#include "os/file.h"

/* Wherever a program starts, it is this folder. */
static int set_path(const char *m, char out[TW_VLLM_PATH_BYTES])
{
    size_t n = 0;
    if (m[0] != '/' && tw_file_exists(m)) {
        if (getcwd(out, TW_VLLM_PATH_BYTES) == NULL)
            return -errno;
        n = strlen(out);
        out[n++] = '/';
    }
    const int len = snprintf(out + n, TW_VLLM_PATH_BYTES - n, "%s", m);
    return len >= 0 && (size_t)len < TW_VLLM_PATH_BYTES - n ? 0 : -ENAMETOOLONG;
}

/* By which other nodes know it: any family's, for vLLM knows more of them. */
static int identify(const char *path, char id[TW_FILES_ID_BYTES], tw_err *err)
{
    tw_model *m = NULL;
    tw_err ignored;
    if (tw_model_open(path, &m, &ignored) != 0)
        return tw_files_id(path, id, err);
    snprintf(id, TW_FILES_ID_BYTES, "%s", tw_model_id(m));
    tw_model_close(m);
    return 0;
}

static int find_on_nodes(tw_vllm_run *r, tw_args *a, tw_err *err)
{
    int rc = tw_give_model(r->far, a, err);
    for (unsigned i = 1; i < r->n_nodes && rc == 0; i++)
        rc = tw_give_model_path(r->far, a, i, r->models[i], sizeof r->models[i], err);
    return rc;
}

static bool are_same(const tw_vllm_run *r)
{
    for (size_t i = 1; i < r->n_nodes; i++)
        if (strcmp(r->models[i], r->models[0]) != 0)
            return false;
    return true;
}

/* What it is called by the API: a folder by its last part, a name of the hub as it was said. */
static void set_name(tw_vllm_run *r)
{
    const char *asked = r->args->model;
    const bool is_name = tw_hub_name_is(asked) && !tw_file_exists(asked);
    char path[TW_VLLM_PATH_BYTES];
    size_t n = strlen(r->models[0]);
    snprintf(path, sizeof path, "%s", r->models[0]);
    while (n > 1 && path[n - 1] == '/')
        path[--n] = '\0';
    const char *slash = strrchr(path, '/');
    snprintf(r->served_name, sizeof r->served_name, "%.*s",
             is_name ? (int)strcspn(asked, "@") : (int)sizeof r->served_name - 1,
             is_name || slash == NULL ? asked : slash + 1);
}

/* --print asks nobody: a name that is not in the cache stays one. */
static int show_only(tw_vllm_run *r, tw_err *err)
{
    TW_CLEANUP(tw_hub_place_done) tw_hub_place p = {.offline = false};
    tw_hub_name name;
    tw_err ignored;
    const char *m = r->args->model;
    char found[TW_HUB_PATH_BYTES];
    if (!tw_file_exists(m) && tw_hub_name_is(m) && tw_hub_name_parse(m, &name, &ignored) == 0 &&
        tw_hub_place_get(&p, &ignored) == 0 && tw_hub_find(&p, &name, found, &ignored) == 0)
        m = found;
    int rc = set_path(m, r->models[0]);
    for (size_t i = 1; i < r->n_nodes && rc == 0; i++)
        rc = set_path(m, r->models[i]);
    set_name(r);
    return rc == 0 ? 0 : tw_err_set(err, rc, "%.100s: the path is too long", m);
}

int tw_vllm_run_model(tw_vllm_run *r, tw_err *err)
{
    TW_CLEANUP(tw_mem_freep) tw_args *a = tw_mem_alloc(sizeof *a);
    char id[TW_FILES_ID_BYTES];
    if (a == NULL)
        return tw_err_set(err, -ENOMEM, "no memory");
    if (r->args->model == NULL) /* Ray alone */
        return 0;
    if (r->args->vllm.print)
        return show_only(r, err);
    *a = *r->args;
    a->model_asked = a->model;
    int rc = r->n_nodes > 1 ? tw_pull_model_nodes(a, err) : 0;
    if (rc == 0)
        rc = tw_pull_model(&a->model, err);
    if (rc != 0)
        return rc;
    if (set_path(a->model, r->models[0]) != 0)
        return tw_err_set(err, -ENAMETOOLONG, "%.100s: the path is too long", a->model);
    set_name(r);
    if (!tw_file_exists(r->models[0]))
        return tw_err_set(err, -ENOENT,
                          "model %.150s: no such folder; wanted one in Hugging Face layout, or "
                          "org/name",
                          a->model);
    if (r->n_nodes < 2)
        return 0;
    a->model = r->models[0];
    rc = identify(a->model, id, err);
    a->model_id = id;
    if (rc == 0)
        rc = find_on_nodes(r, a, err);
    if (rc == 0 && !are_same(r) && r->shared.is_up && r->args->vllm.executor == TW_VLLM_RAY)
        return tw_err_set(err, -EXDEV,
                          "%.60s has the model at %.150s, not as here: a Ray that is up takes one "
                          "path for all: `twinax down` first, or --executor mp",
                          tw_vllm_run_node(r, r->n_nodes - 1), r->models[r->n_nodes - 1]);
    if (rc == 0 && !are_same(r))
        tw_log(TW_LOG_INFO, "vllm",
               "the nodes have the model in different folders: each uses its own");
    return rc;
}

/* A toolbox sees its user's home as it is; all else of the machine only below /run/host. */
static bool are_in_home(const tw_vllm_run *r)
{
    const char *home = getenv("HOME");
    const size_t n = home != NULL ? strlen(home) : 0;
    for (size_t i = 0; i < r->n_nodes; i++)
        if (n < 2 || strncmp(r->models[i], home, n) != 0 || r->models[i][n] != '/')
            return false;
    return true;
}

/* Ray's workers take the first node's word for where it is; a container may see it elsewhere. */
bool tw_vllm_run_links_model(const tw_vllm_run *r)
{
    const bool elsewhere =
        r->place.where == TW_VLLM_IN_CONTAINER && !(r->place.as_user && are_in_home(r));
    const bool differs = r->args->vllm.executor == TW_VLLM_RAY && !are_same(r);
    return !r->shared.is_up && (elsewhere || differs);
}

const char *tw_vllm_run_model_word(const tw_vllm_run *r, size_t i, char out[TW_VLLM_PATH_BYTES])
{
    if (!tw_vllm_run_links_model(r) || r->args->vllm.print)
        return r->models[i];
    snprintf(out, TW_VLLM_PATH_BYTES, "/tmp/twinax-%.32s-%s/model", r->run,
             r->args->vllm.executor == TW_VLLM_RAY ? "ray" : "serve");
    return out;
}
