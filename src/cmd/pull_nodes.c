/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/pull_nodes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cluster/config_file.h"
#include "cmd/far.h"
#include "cmd/model_file.h"
#include "cmd/out.h"
#include "cmd/pull_model.h"
#include "cmd/push.h"
#include "hub/cache.h"
#include "hub/scan.h"
#include "os/file.h"
#include "os/secret.h"

int tw_pull_find_nodes(const tw_pull_nodes_opts *o, tw_nodes *ret, tw_err *err)
{
    int rc = 0;
    *ret = (tw_nodes){.n = 0};
    if (o->local && o->nodes_list != NULL)
        return tw_err_set(err, -EINVAL, "--local and --nodes: one of them");
    if (o->nodes_list != NULL) {
        rc = tw_nodes_parse(o->nodes_list, ret, err);
    } else if (!o->local) {
        TW_CLEANUP(tw_mem_freep) tw_config_found *f = tw_mem_calloc(1, sizeof *f);
        if (f == NULL)
            return tw_err_set(err, -ENOMEM, "no memory for the configuration");
        rc = tw_config_find(f, err);
        if (f->warning[0] != '\0')
            tw_log(TW_LOG_WARN, "config", "%s", f->warning);
        if (rc == 0)
            *ret = f->config.nodes;
    }
    if (rc == 0 && o->agent_path != NULL && strlen(o->agent_path) >= sizeof ret->v[0].agent_path)
        return tw_err_set(err, -EINVAL, "--agent-path: too long");
    for (size_t i = 0; rc == 0 && i < ret->n && o->agent_path != NULL; i++)
        snprintf(ret->v[i].agent_path, sizeof ret->v[i].agent_path, "%s", o->agent_path);
    return rc;
}

static int set_specs(const tw_pull_nodes_opts *o, const tw_nodes *nodes, tw_share_job *j,
                     tw_err *err)
{
    char own[64] = "";
    TW_CLEANUP(tw_mem_freep) tw_args *a = tw_mem_calloc(1, sizeof *a);
    if (a == NULL)
        return tw_err_set(err, -ENOMEM, "no memory");
    a->nodes = *nodes;
    a->tp = (unsigned)nodes->n;
    int rc = o->from_net ? 0 : tw_far_own_address(a, own, sizeof own, err);
    j->n = (unsigned)nodes->n;
    for (unsigned i = 0; i < j->n && rc == 0; i++) {
        const tw_node_spec *s = &nodes->v[i];
        tw_share_spec *to = &j->nodes[i];
        const bool is_here = strcmp(s->ssh, "local") == 0;
        const char *ip = i == 0 ? own : s->ip[0] == '\0' && is_here ? "127.0.0.1" : s->ip;
        snprintf(to->name, sizeof to->name, "%s", s->name);
        snprintf(to->ip, sizeof to->ip, "%.*s", (int)strcspn(ip, "%"), ip);
        to->ssh = s->ssh;
        to->agent_path = s->agent_path[0] != '\0' ? s->agent_path : NULL;
        if (to->ip[0] == '\0' && !o->from_net)
            rc = tw_err_set(err, -EINVAL,
                            "nodes: the cluster address of %s is not known: give it as %s=IP, or "
                            "fetch everything there too: --from-net",
                            s->name, s->name);
    }
    return rc;
}

/* Those that getting the list has opened. */
static void close_remotes(tw_share_job *j)
{
    for (unsigned i = 0; i < j->n; i++)
        tw_remote_close(j->nodes[i].remote);
}

int tw_pull_nodes(const tw_pull_nodes_opts *o, const tw_nodes *nodes, const char *text,
                  const tw_hub_name *name, tw_err *err)
{
    TW_CLEANUP(tw_hub_place_done) tw_hub_place place = {.offline = false};
    TW_CLEANUP(tw_hub_list_done) tw_hub_list list = {.n = 0};
    TW_CLEANUP(tw_mem_freep) tw_share_job *j = tw_mem_calloc(1, sizeof *j);
    TW_CLEANUP(tw_mem_freep)
    tw_share_state *ended = tw_mem_calloc(TW_SHARE_NODES_MAX, sizeof *ended);
    tw_nodes_show show;
    if (j == NULL || ended == NULL)
        return tw_err_set(err, -ENOMEM, "no memory");
    tw_secret_guard();
    int rc = tw_hub_place_get(&place, err);
    if (rc == 0)
        rc = set_specs(o, nodes, j, err);
    if (rc == 0)
        rc = tw_pull_nodes_list(o, &place, text, name, j, &list, err);
    if (rc != 0) {
        close_remotes(j);
        return rc;
    }
    tw_nodes_show_init(&show, text, o->json);
    j->model = text;
    j->list = &list;
    j->hub = place.endpoint;
    j->hub_token = place.token;
    j->range_bytes = o->range_bytes;
    j->n_connections = o->n_connections;
    j->from_net = o->from_net;
    j->verify = o->verify;
    j->push = o->push;
    j->progress = tw_nodes_show_progress;
    j->say = tw_nodes_show_say;
    j->arg = &show;
    rc = tw_share_run(j, ended, err);
    tw_nodes_show_end(&show);
    close_remotes(j);
    if (rc != 0)
        return rc;
    if (!o->quiet)
        tw_nodes_show_result(&show, &list, ended, j->n);
    return tw_out_flush(err);
}

/* file: of the snapshot, "" for all of it. */
static bool is_here(const tw_hub_place *p, const tw_hub_name *name, const char *file,
                    char found[TW_HUB_PATH_BYTES], tw_err *why)
{
    char path[TW_HUB_PATH_BYTES];
    return tw_hub_find(p, name, found, why) == 0 &&
           (file[0] == '\0' ||
            (tw_hub_path(path, why, "%s/%s", found, file) == 0 && tw_file_exists(path)));
}

int tw_pull_model_nodes(const tw_args *a, tw_err *err)
{
    TW_CLEANUP(tw_hub_place_done) tw_hub_place p = {.offline = false};
    char found[TW_HUB_PATH_BYTES];
    tw_model_file_name part = {.file = ""};
    tw_hub_choice needed = {.n_include = 0};
    tw_hub_name name;
    tw_err why = {0};
    const char *text = a->model;
    if (a->nodes.n < 2 || tw_file_exists(text))
        return 0;
    if (tw_model_file_parse(text, &part)) {
        needed = (tw_hub_choice){.include = {part.pattern}, .n_include = 1};
        text = part.repo;
    } else if (!tw_hub_name_is(text)) {
        return 0;
    }
    int rc = tw_hub_name_parse(text, &name, err);
    if (rc == 0)
        rc = tw_hub_place_get(&p, err);
    if (rc != 0 || p.offline || is_here(&p, &name, part.file, found, &why))
        return rc;
    const tw_pull_nodes_opts o = {.quiet = true,
                                  .choice = &needed,
                                  .push = tw_push_face_of(a->push)};
    fprintf(stderr, "%s is not in the cache: pulling it from %s\n", a->model, p.endpoint);
    rc = tw_pull_nodes(&o, &a->nodes, text, &name, err);
    if (rc != 0 && rc != -EINTR && is_here(&p, &name, part.file, found, &why))
        rc = 0; /* it is here: who lacks it gets it from us, or says why not */
    return rc;
}
