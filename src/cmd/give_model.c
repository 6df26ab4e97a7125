/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/give_model.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cmd/files_id.h"
#include "cmd/model_file.h"
#include "cmd/out.h"
#include "cmd/pull_model.h"
#include "cmd/pull_nodes.h"
#include "cmd/setup.h"
#include "hub/list_here.h"
#include "model/model.h"
#include "os/file.h"
#include "os/signal.h"

#define HAS_LIMIT_NS (30 * TW_NS_PER_S)
/* No organisation of the hub can be called so. */
#define LOCAL_ORG "twinax.local"

typedef struct gift {
    const char *path;      /* of the model's folder here, or of its .gguf file */
    char folder[PATH_MAX]; /* that has its files */
    const char *id;
    const char *asked; /* MODEL */
    char model[TW_HUB_REPO_BYTES + 64];
    bool is_folder; /* none of the hub's cache: consent is wanted */
    char why[220];  /* where the first node that lacks it has looked */
    tw_hub_list list;
} gift;

/* 1: it has a model with that id, 0: it has not. An agent that cannot tell is left alone. */
static int has_it(tw_remote *n, const char *path, const char *id, char why[220], tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    int rc = tw_remote_call(n, "pull",
                            json_pack("{s:s, s:s, s:s}", "do", "has", "path", path, "model_id", id),
                            HAS_LIMIT_NS, &got, err);
    if (rc == -ENOSYS)
        return 1;
    const char *words = json_string_value(json_object_get(got, "why"));
    snprintf(why, 220, "%s", words != NULL ? words : "it has not that model");
    for (char *c = why; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
    return rc != 0 ? rc : json_is_true(json_object_get(got, "has"));
}

static bool on_hashed(void *arg, uint64_t n)
{
    (void)arg;
    (void)n;
    return !tw_signal_asked_to_stop();
}

/* Without links; false: there is none. */
static bool real_path(const char *path, char out[PATH_MAX])
{
    return realpath(path, out) != NULL; /* budget: into our own memory */
}

/* Returns the file's name. */
static const char *folder_of(const char *path, char out[PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    const int n = slash == NULL ? 1 : (int)TW_MAX(slash - path, (ptrdiff_t)1);
    snprintf(out, PATH_MAX, "%.*s", n, slash == NULL ? "." : path);
    return slash == NULL ? path : slash + 1;
}

/* As real_path, but a .gguf file keeps its name: in the cache it is a link to one without. */
static bool model_path(const char *path, char out[PATH_MAX])
{
    char folder[PATH_MAX], real[PATH_MAX];
    if (!tw_model_file_is(path) || tw_file_is_dir(path))
        return real_path(path, out);
    const char *name = folder_of(path, folder);
    errno = ENAMETOOLONG;
    return real_path(folder, real) && snprintf(out, PATH_MAX, "%s/%s", real, name) < PATH_MAX;
}

/* ".../models--ORG--NAME/snapshots/COMMIT": what the cache calls it. */
static bool commit_of(const char *path, char ret[41])
{
    char real[PATH_MAX];
    if (!real_path(path, real))
        return false;
    const char *last = strrchr(real, '/');
    if (last == NULL || !tw_hub_is_commit(last + 1) || last - real < 10 ||
        strncmp(last - 10, "/snapshots", 10) != 0)
        return false;
    snprintf(ret, 41, "%s", last + 1);
    return true;
}

/* "/a/My model/" -> "My-model" */
static void name_of(const char *path, char *out, size_t out_bytes)
{
    char real[PATH_MAX];
    const char *p = real_path(path, real) ? real : path;
    const char *slash = strrchr(p, '/');
    size_t n = 0;
    for (p = slash != NULL ? slash + 1 : p; *p != '\0' && n + 1 < out_bytes && n < 80; p++) {
        const bool good = isalnum((unsigned char)*p) || (n > 0 && *p == '_');
        if (good || (n > 0 && out[n - 1] != '-' && out[n - 1] != '.'))
            out[n++] = good ? *p : *p == '.' ? '.' : '-';
    }
    while (n > 0 && (out[n - 1] == '-' || out[n - 1] == '.'))
        n--;
    if (n == 0)
        out[n++] = 'm';
    out[n] = '\0';
}

/* Of a .gguf file's folder only the file, and its parts: *ret_pattern. */
static tw_hub_choice choose_files(gift *g, char ret_pattern[TW_MODEL_PATTERN_BYTES])
{
    if (!tw_model_file_is(g->path) || tw_file_is_dir(g->path)) {
        snprintf(g->folder, sizeof g->folder, "%s", g->path);
        return (tw_hub_choice){.n_include = 0};
    }
    tw_model_file_pattern(folder_of(g->path, g->folder), ret_pattern);
    return (tw_hub_choice){.include = {ret_pattern}, .n_include = 1};
}

static int make_list(gift *g, bool copy, const char *node, tw_err *err)
{
    char commit[41], name[96], pattern[TW_MODEL_PATTERN_BYTES];
    const bool in_cache = commit_of(g->path, commit);
    const tw_hub_choice needed = choose_files(g, pattern);
    tw_hub_list_here_opts o = {.folder = g->folder, .commit = commit, .on_bytes = on_hashed};
    g->is_folder = !in_cache || !tw_hub_name_is(g->asked) || tw_file_exists(g->asked);
    if (g->is_folder && !copy && !isatty(STDIN_FILENO)) /* nobody can say yes */
        return tw_err_set(err, -ENOENT, "%.60s: %s", node, g->why);
    if (g->is_folder) {
        snprintf(commit, sizeof commit, "%.40s",
                 tw_files_id_is(g->id) ? strchr(g->id, ':') + 1 : g->id);
        name_of(g->path, name, sizeof name);
        snprintf(g->model, sizeof g->model, LOCAL_ORG "/%s@%s", name, commit);
        o.name = g->asked;
        o.choice = &needed;
        fprintf(stderr, "%s: hashing its files\n", g->asked);
    } else {
        snprintf(g->model, sizeof g->model, "%s", g->asked);
    }
    return tw_hub_list_here(&o, &g->list, err);
}

/* Consent to copy: --copy, or a person's. lacking: "box2, box3" */
static int ask(const gift *g, bool copy, const char *lacking, tw_err *err)
{
    char size[16], question[400];
    tw_pull_size(tw_hub_list_bytes(&g->list), size);
    if (copy)
        return 0;
    snprintf(question, sizeof question,
             "%.100s (%s) is not on %.200s: copy it over the cluster link? [y/N] ", g->asked, size,
             lacking);
    if (tw_setup_says_yes(question))
        return 0;
    return tw_err_set(err, -ECANCELED, "%.100s: nothing was copied", g->asked);
}

/* job: its nodes are those that lack it, behind this machine. */
static int give(gift *g, tw_share_job *j, bool copy, bool json, tw_err *err)
{
    TW_CLEANUP(tw_mem_freep)
    tw_share_state *ended = tw_mem_calloc(TW_SHARE_NODES_MAX, sizeof *ended);
    tw_nodes_show show;
    char lacking[200] = "";
    if (ended == NULL)
        return tw_err_set(err, -ENOMEM, "no memory");
    int rc = make_list(g, copy, j->nodes[1].name, err);
    for (unsigned i = 1; i < j->n; i++)
        snprintf(lacking + strlen(lacking), sizeof lacking - strlen(lacking), "%s%.60s",
                 i > 1 ? ", " : "", j->nodes[i].name);
    if (rc == 0 && g->is_folder)
        rc = ask(g, copy, lacking, err);
    if (rc != 0)
        return rc;
    tw_nodes_show_init(&show, g->asked, json);
    fprintf(stderr, "%s: giving it to %s over the cluster link\n", g->asked, lacking);
    j->model = g->model;
    j->list = &g->list;
    j->hub = "";
    j->source = g->folder;
    j->no_net = true;
    j->progress = tw_nodes_show_progress;
    j->say = tw_nodes_show_say;
    j->arg = &show;
    rc = tw_share_run(j, ended, err);
    tw_nodes_show_end(&show);
    if (rc == 0 && json)
        tw_nodes_show_result(&show, &g->list, ended, j->n);
    return rc;
}

static void set_spec(tw_share_spec *to, const tw_node_spec *s, const char *ip, tw_remote *remote)
{
    const bool is_here = strcmp(s->ssh, "local") == 0;
    ip = ip != NULL ? ip : s->ip[0] == '\0' && is_here ? "127.0.0.1" : s->ip;
    *to = (tw_share_spec){.ssh = s->ssh, .remote = remote};
    snprintf(to->name, sizeof to->name, "%s", s->name);
    snprintf(to->ip, sizeof to->ip, "%.*s", (int)strcspn(ip, "%"), ip);
    to->agent_path = s->agent_path[0] != '\0' ? s->agent_path : NULL;
}

int tw_give_model(tw_far *f, const tw_args *a, tw_err *err)
{
    TW_CLEANUP(tw_mem_freep) tw_share_job *j = tw_mem_calloc(1, sizeof *j);
    gift g = {.path = a->model, .id = a->model_id};
    char own[64], path[4096], ignored[220];
    g.asked = a->model_asked != NULL ? a->model_asked : a->model;
    if (j == NULL)
        return tw_err_set(err, -ENOMEM, "no memory");
    if (a->model_id == NULL) /* no model: bench coll */
        return 0;
    int rc = tw_far_own_address(a, own, sizeof own, err);
    if (rc == 0)
        set_spec(&j->nodes[j->n++], &a->nodes.v[0], own, NULL);
    for (unsigned r = 1; r < a->tp && rc == 0; r++) {
        tw_remote *n = tw_far_remote(f, r);
        if (tw_far_has_model_path(a, r))
            continue;
        rc = tw_far_model_path(a, r, path, sizeof path, err);
        if (rc == 0)
            rc = has_it(n, path, a->model_id, j->n > 1 ? ignored : g.why, err);
        if (rc == 0)
            set_spec(&j->nodes[j->n++], &a->nodes.v[r], NULL, n);
        rc = rc > 0 ? 0 : rc;
    }
    for (unsigned i = 1; i < j->n && rc == 0; i++)
        if (j->nodes[i].ip[0] == '\0')
            return 0; /* no address to give it over: its rank will say that it lacks it */
    if (rc == 0 && j->n > 1)
        rc = give(&g, j, a->copy, false, err);
    tw_hub_list_done(&g.list);
    return rc;
}

int tw_give_model_path(tw_far *f, const tw_args *a, unsigned r, char *ret, size_t ret_bytes,
                       tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    tw_remote *n = tw_far_remote(f, r);
    char path[4096];
    int rc = tw_far_model_path(a, r, path, sizeof path, err);
    if (rc == 0 && tw_far_has_model_path(a, r)) {
        snprintf(ret, ret_bytes, "%s", path);
        return 0;
    }
    if (rc == 0)
        rc = tw_remote_call(n, "pull",
                            json_pack("{s:s, s:s, s:s}", "do", "has", "path", path, "model_id",
                                      a->model_id),
                            HAS_LIMIT_NS, &got, err);
    if (rc != 0)
        return rc;
    if (!json_is_true(json_object_get(got, "has")))
        return tw_err_set(err, -ENOENT, "%.60s: %.170s", a->nodes.v[r].name,
                          tw_json_text_at(got, "why"));
    snprintf(ret, ret_bytes, "%s", tw_json_text_at(got, "path"));
    return 0;
}

/* ---- pull FOLDER ---- */

static void close_remotes(tw_share_job *j)
{
    for (unsigned i = 1; i < j->n; i++)
        tw_remote_close(j->nodes[i].remote);
}

static int connect_nodes(tw_share_job *j, const tw_nodes *nodes, const char *own,
                         const tw_push_face *push, tw_err *err)
{
    int rc = 0;
    set_spec(&j->nodes[j->n++], &nodes->v[0], own, NULL);
    for (size_t i = 1; i < nodes->n && rc == 0; i++) {
        tw_share_spec *s = &j->nodes[j->n];
        set_spec(s, &nodes->v[i], NULL, NULL);
        rc = tw_remote_start(s->ssh, s->agent_path, &s->remote, err);
        j->n += rc == 0;
    }
    for (unsigned i = 1; i < j->n && rc == 0; i++) {
        tw_share_spec *s = &j->nodes[i];
        rc = tw_remote_push_greet(push, s->remote, err);
        rc = tw_remote_push_mend(push, s->name, s->ssh, rc, &s->remote, err);
        if (rc == 0 && s->ip[0] == '\0')
            rc = tw_err_set(err, -EINVAL,
                            "nodes: the cluster address of %s is not known: give it as %s=IP",
                            s->name, s->name);
    }
    return rc;
}

/* Those that have it leave the job. */
static int drop_who_has(tw_share_job *j, const char *path, gift *g, tw_err *err)
{
    unsigned n = 1;
    for (unsigned i = 1; i < j->n; i++) {
        char ignored[220];
        int rc = has_it(j->nodes[i].remote, path, g->id, n > 1 ? ignored : g->why, err);
        if (rc < 0)
            return rc;
        if (rc == 0) {
            const tw_share_spec keep = j->nodes[i];
            j->nodes[i] = j->nodes[n];
            j->nodes[n++] = keep;
        } else {
            fprintf(stderr, "%s: has it\n", j->nodes[i].name);
        }
    }
    for (unsigned i = n; i < j->n; i++)
        tw_remote_close(j->nodes[i].remote);
    j->n = n;
    return 0;
}

int tw_copy_model(const char *folder, const tw_nodes *nodes, bool copy, bool json,
                  const tw_push_face *push, tw_err *err)
{
    TW_CLEANUP(tw_mem_freep) tw_share_job *j = tw_mem_calloc(1, sizeof *j);
    TW_CLEANUP(tw_mem_freep) tw_args *a = tw_mem_calloc(1, sizeof *a);
    char own[64], real[PATH_MAX];
    tw_model *m = NULL;
    gift g = {.path = real, .asked = folder};
    if (j == NULL || a == NULL)
        return tw_err_set(err, -ENOMEM, "no memory");
    if (!model_path(folder, real))
        return tw_err_set(err, -errno, "%.150s: %s", folder, strerror(errno));
    a->nodes = *nodes;
    a->tp = (unsigned)nodes->n;
    int rc = tw_model_open(folder, &m, err);
    if (rc == 0)
        g.id = tw_model_id(m);
    if (rc == 0)
        rc = tw_far_own_address(a, own, sizeof own, err);
    if (rc == 0)
        rc = connect_nodes(j, nodes, own, push, err);
    if (rc == 0)
        rc = drop_who_has(j, real, &g, err);
    if (rc == 0 && j->n > 1)
        rc = give(&g, j, copy, json, err);
    close_remotes(j);
    tw_hub_list_done(&g.list);
    tw_model_close(m);
    return rc == 0 ? tw_out_flush(err) : rc;
}
