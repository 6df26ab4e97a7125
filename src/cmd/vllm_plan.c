/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"
#include "cmd/vllm_run.h"
#include "os/file.h"
#include "vllm/choose.h"

enum { EXTRA_BYTES = 4096, EXTRA_WORDS = 64 };

const char *tw_vllm_run_node(const tw_vllm_run *r, size_t i)
{
    return r->n_nodes > 1 ? r->args->nodes.v[i].name : "here";
}

static int read_facts(tw_vllm_run *r, size_t i, tw_err *err)
{
    tw_facts_opts o = {.containers = i == 0 && r->args->vllm.venv == NULL};
    r->facts[i] = tw_mem_calloc(1, sizeof *r->facts[i]);
    if (r->facts[i] == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the facts of %zu machines", r->n_nodes);
    if (r->n_nodes > 1 && r->args->nodes.v[i].interface[0] != '\0')
        o.interface = r->args->nodes.v[i].interface;
    return i == 0 ? tw_facts_read(&o, r->facts[i], err)
                  : tw_far_facts(r->far, (unsigned)i, &o, r->facts[i], err);
}

/* ---- where vLLM is ---- */

static bool is_on_path(const char *name)
{
    const char *path = getenv("PATH");
    char at[600];
    while (path != NULL && *path != '\0') {
        const size_t n = strcspn(path, ":");
        snprintf(at, sizeof at, "%.*s/%s", (int)n, path, name);
        if (access(at, X_OK) == 0)
            return true;
        path += n + (path[n] == ':');
    }
    return false;
}

static bool is_users_own(const tw_facts *f, const char *box)
{
    for (size_t i = 0; i < f->container.n_boxes; i++)
        if (strcmp(f->container.boxes[i].name, box) == 0)
            return f->container.boxes[i].made_by[0] != '\0';
    return false;
}

static int take_venv(tw_vllm_run *r, tw_err *err)
{
    char vllm[300];
    snprintf(r->place.name, sizeof r->place.name, "%s", r->args->vllm.venv);
    snprintf(vllm, sizeof vllm, "%s/bin/vllm", r->place.name);
    r->place.where = TW_VLLM_IN_VENV;
    return access(vllm, X_OK) == 0 ? 0
                                   : tw_err_set(err, -ENOENT,
                                                "--venv %s: no bin/vllm there: wanted a virtual "
                                                "environment with vllm and ray",
                                                r->args->vllm.venv);
}

static int find_place(tw_vllm_run *r, tw_err *err)
{
    const tw_vllm_wishes *w = &r->args->vllm;
    if (w->venv != NULL && w->container != NULL)
        return tw_err_set(err, -EINVAL, "--venv and --container: one of them");
    if (w->venv != NULL)
        return take_venv(r, err);
    const char *box = w->container != NULL ? w->container : tw_vllm_find_box(r->facts[0]);
    if (box == NULL && is_on_path("vllm")) {
        r->place.where = TW_VLLM_ON_PATH;
        return 0;
    }
    if (box == NULL)
        return tw_err_set(
            err, -ENOENT,
            "no vLLM here: no container called vllm-therock-gfx1151 or vllm, no vllm "
            "on PATH; twinax toolbox refresh gets it, or --venv DIR says where it is");
    r->place.where = TW_VLLM_IN_CONTAINER;
    snprintf(r->place.name, sizeof r->place.name, "%s", box);
    r->place.as_user = is_users_own(r->facts[0], box);
    snprintf(r->place.home, sizeof r->place.home, "%s", "/run/host@SELF@"); /* hold_part.c */
    return 0;
}

/* ---- what is wanted ---- */

static enum tw_vllm_transport wire_of(const tw_args *a, const tw_facts *head)
{
    if (a->vllm.wire != TW_VLLM_AUTO)
        return (enum tw_vllm_transport)a->vllm.wire;
    if (a->transport == TW_TRANSPORT_TCP)
        return TW_VLLM_ETHERNET;
    if (a->transport != TW_TRANSPORT_RDMA)
        return TW_VLLM_AUTO;
    for (size_t i = 0; i < head->net.n_ifs; i++)
        if (head->net.ifs[i].kind == TW_NET_INFINIBAND)
            return TW_VLLM_INFINIBAND;
    return TW_VLLM_ROCE;
}

/* --vllm-args, cut at its spaces into out[EXTRA_WORDS + 1]; text has the words. */
static int take_extra(const char *asked, char text[EXTRA_BYTES], const char **out, tw_err *err)
{
    const size_t len = asked != NULL ? strlen(asked) : 0;
    size_t n = 0;
    char *rest = NULL;
    if (len >= EXTRA_BYTES)
        return tw_err_set(err, -EINVAL, "--vllm-args: %zu bytes, at most %d can be passed on", len,
                          EXTRA_BYTES - 1);
    if (len > 0)
        memcpy(text, asked, len + 1);
    for (char *w = strtok_r(text, " ", &rest); w != NULL; w = strtok_r(NULL, " ", &rest))
        if (n++ < EXTRA_WORDS)
            out[n - 1] = w;
    out[TW_MIN(n, (size_t)EXTRA_WORDS)] = NULL;
    return n <= EXTRA_WORDS
               ? 0
               : tw_err_set(err, -EINVAL, "--vllm-args: %zu words, at most %d can be passed on", n,
                            EXTRA_WORDS);
}

static void add_node(const tw_vllm_run *r, size_t i, tw_vllm_ask *ask)
{
    const tw_args *a = r->args;
    ask->nodes[i] = (tw_vllm_node){.name = tw_vllm_run_node(r, i),
                                   .ip = i == 0 ? r->ip : a->nodes.v[i].ip,
                                   .facts = r->facts[i]};
    if (r->n_nodes > 1 && a->nodes.v[i].rdma_device[0] != '\0')
        ask->nodes[i].device = a->nodes.v[i].rdma_device;
    else
        ask->nodes[i].device = a->rdma_device;
}

static int make_plan(tw_vllm_run *r, tw_err *err)
{
    const tw_args *a = r->args;
    char words[EXTRA_BYTES] = "";
    const char *extra[EXTRA_WORDS + 1];
    int rc = take_extra(a->vllm.extra, words, extra, err);
    if (rc != 0)
        return rc;
    tw_vllm_ask ask = {.n_nodes = r->n_nodes,
                       .links = tw_vllm_run_links_model(r),
                       .transport = wire_of(a, r->facts[0]),
                       .place = &r->place,
                       .serve = {.model = a->model,
                                 .served_name = r->served_name,
                                 .host = a->host,
                                 .port = a->port,
                                 .tp = (uint32_t)r->n_nodes,
                                 .ctx = a->engine.ctx,
                                 .max_seqs = a->engine.max_seqs,
                                 .memory = (double)a->vllm.memory,
                                 .graphs = a->vllm.graphs,
                                 .trust_remote_code = a->vllm.trust,
                                 .attention = a->vllm.attention,
                                 .speculative = a->vllm.speculative,
                                 .extra = extra,
                                 .executor = (enum tw_vllm_executor)a->vllm.executor}};
    char(*texts)[TW_VLLM_PATH_BYTES] = tw_mem_alloc(r->n_nodes * sizeof *texts);
    if (texts == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for a plan");
    for (size_t i = 0; i < r->n_nodes; i++) {
        add_node(r, i, &ask);
        if (a->model == NULL) /* Ray alone */
            continue;
        ask.models[i] = tw_vllm_run_model_word(r, i, texts[i]);
        ask.folders[i] = r->models[i][0] == '/' ? r->models[i] : NULL;
    }
    rc = tw_vllm_plan(&ask, &r->plan, err);
    tw_mem_free(texts);
    return rc;
}

int tw_vllm_run_plan(tw_vllm_run *r, tw_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < r->n_nodes && rc == 0; i++)
        rc = read_facts(r, i, err);
    if (rc == 0)
        rc = find_place(r, err);
    if (rc == 0)
        rc = make_plan(r, err);
    return rc;
}
