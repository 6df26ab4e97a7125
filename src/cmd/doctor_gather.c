/* SPDX-License-Identifier: Apache-2.0 */
/* Facts of the machines themselves, and what can be proven between them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"
#include "cluster/proof.h"
#include "cmd/doctor.h"
#include "cmd/find_config.h"
#include "cmd/push.h"
#include "host/setup_plan.h"
#include "os/file.h"

#define LOAD_S 2.0

/* ---- which machines ---- */

static int read_config(const doctor_opts *o, tw_config *ret, tw_err *err)
{
    if (o->nodes_list != NULL)
        return tw_nodes_parse(o->nodes_list, &ret->nodes, err);
    TW_CLEANUP(tw_mem_freep) tw_config_found *f = tw_mem_calloc(1, sizeof *f);
    if (f == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the configuration");
    int rc = tw_find_config(f, err);
    if (rc == 0)
        *ret = f->config;
    return rc;
}

static void set_config(const doctor_opts *o, const tw_config *c, tw_check_config *ret)
{
    for (int k = TW_CHECK_ENGINE_AUTO; k <= TW_CHECK_ENGINE_VLLM; k++)
        if (strcmp(c->serve.engine, tw_check_engine_name((enum tw_check_engine)k)) == 0)
            ret->engine = (enum tw_check_engine)k;
    ret->transport = strcmp(c->transport, "rdma") == 0  ? TW_CHECK_BY_RDMA
                     : strcmp(c->transport, "tcp") == 0 ? TW_CHECK_BY_TCP
                     : strcmp(c->transport, "shm") == 0 ? TW_CHECK_BY_TCP
                                                        : TW_CHECK_BY_AUTO;
    if (o->has_engine)
        ret->engine = (enum tw_check_engine)o->engine;
    if (o->has_transport)
        ret->transport = (enum tw_check_transport)o->transport;
    snprintf(ret->model, sizeof ret->model, "%.159s", o->model != NULL ? o->model : c->serve.model);
}

/* The numbers alone: a zone is that node's own matter. */
static void copy_ip(char *out, size_t out_bytes, const char *ip)
{
    snprintf(out, out_bytes, "%.*s", (int)strcspn(ip, "%"), ip);
}

static void set_nodes(const doctor_opts *o, const tw_config *c, tw_check_world *w)
{
    w->n_nodes = TW_MAX(c->nodes.n, (size_t)1);
    for (size_t i = 0; i < w->n_nodes; i++) {
        const tw_node_spec *s = &c->nodes.v[i];
        tw_check_node *n = &w->nodes[i];
        const char *name = c->nodes.n > 0 ? tw_config_interface(c, s) : c->interface;
        snprintf(n->name, sizeof n->name, "%s", c->nodes.n > 0 ? s->name : "this machine");
        snprintf(n->ssh, sizeof n->ssh, "%s", c->nodes.n > 0 ? s->ssh : "local");
        copy_ip(n->ip, sizeof n->ip, s->ip);
        snprintf(n->interface, sizeof n->interface, "%s",
                 o->interface != NULL ? o->interface : name);
    }
}

/* Only a folder can be looked for on the nodes; a name of the hub is found by who loads it. */
static void set_model(const doctor_opts *o, const tw_config *c, size_t i, char *out,
                      size_t out_bytes)
{
    const char *given = c->nodes.n > 0 ? c->nodes.v[i].model_path : "";
    const char *common = o->model != NULL ? o->model : c->serve.model;
    char here[2048];
    if (given[0] == '\0' && common[0] != '/' && tw_file_exists(common) &&
        getcwd(here, sizeof here) != NULL) {
        if (snprintf(out, out_bytes, "%s/%s", here, common) >= (int)out_bytes)
            out[0] = '\0';
        return;
    }
    given = given[0] == '\0' ? common : given;
    snprintf(out, out_bytes, "%.*s", (int)out_bytes - 1, given[0] == '/' ? given : "");
}

/* ---- gathering ---- */

static void show_progress(void *ctx, const char *what)
{
    (void)ctx;
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\x1b[K%s%s", what, what[0] != '\0' ? " ..." : "");
    fflush(stderr);
}

static int own_memory(tw_check_record *r, size_t i, tw_err *err)
{
    r->facts[i] = tw_mem_calloc(1, sizeof *r->facts[i]);
    return r->facts[i] != NULL ? 0 : tw_err_set(err, -ENOMEM, "no memory for the facts");
}

/* This machine alone: no agent, no ssh. */
static int gather_here(const doctor_opts *o, const tw_config *c, tw_check_record *r, tw_err *err)
{
    char model[256];
    set_model(o, c, 0, model, sizeof model);
    tw_facts_opts opts = {.containers = true, .model_path = model[0] != '\0' ? model : NULL};
    if (r->world.nodes[0].interface[0] != '\0')
        opts.interface = r->world.nodes[0].interface;
    int rc = own_memory(r, 0, err);
    if (!o->silent)
        show_progress(NULL, "facts of this machine");
    if (rc == 0)
        rc = tw_facts_read(&opts, r->facts[0], err);
    if (!o->silent)
        show_progress(NULL, "");
    if (rc == 0)
        r->world.nodes[0].facts = r->facts[0];
    return rc;
}

static json_t *facts_request(const tw_check_world *w)
{
    json_t *peers = json_array();
    for (size_t i = 0; i < w->n_nodes; i++)
        if (w->nodes[i].ip[0] != '\0')
            json_array_append_new(peers, json_string(w->nodes[i].ip));
    return json_pack("{s:o, s:b}", "peers", peers, "containers", 1);
}

static void set_targets(const doctor_opts *o, const tw_config *c, const tw_check_world *w,
                        tw_proof_job *j)
{
    j->n = w->n_nodes;
    for (size_t i = 0; i < j->n; i++) {
        const char *path =
            c->nodes.v[i].agent_path[0] != '\0' ? c->nodes.v[i].agent_path : o->agent_path;
        snprintf(j->v[i].name, sizeof j->v[i].name, "%s", w->nodes[i].name);
        snprintf(j->v[i].ssh, sizeof j->v[i].ssh, "%s", w->nodes[i].ssh);
        snprintf(j->v[i].interface, sizeof j->v[i].interface, "%s", w->nodes[i].interface);
        snprintf(j->v[i].agent_path, sizeof j->v[i].agent_path, "%s", path != NULL ? path : "");
        set_model(o, c, i, j->v[i].model, sizeof j->v[i].model);
    }
    /* How the nodes reach the head is known by its own name, when it has one. */
    snprintf(j->back_to, sizeof j->back_to, "%s",
             strcmp(w->nodes[0].ssh, "local") != 0 ? w->nodes[0].ssh : w->nodes[0].ip);
    j->push = tw_push_face_of(o->push);
    j->load_s = o->no_load ? 0 : LOAD_S;
    j->progress = o->silent ? NULL : show_progress;
}

/* What the checks take for the cluster's address and interface is what gets proven. */
static void set_addresses(const tw_check_world *w, tw_proof_job *j)
{
    for (size_t i = 0; i < j->n; i++) {
        tw_check_use u;
        tw_check_use_find(w, i, &u);
        if (w->nodes[i].facts == NULL || u.net == NULL)
            continue;
        copy_ip(j->v[i].ip, sizeof j->v[i].ip,
                w->nodes[i].ip[0] != '\0' ? w->nodes[i].ip
                : u.addr != NULL          ? u.addr->ip
                                          : "");
        snprintf(j->v[i].interface, sizeof j->v[i].interface, "%s", u.net->name);
        j->v[i].mtu = u.net->mtu;
    }
    /* One machine under several names has one address: there is no way between. */
    for (size_t i = 0; i < j->n; i++)
        for (size_t k = 0; k < i; k++)
            if (strcmp(j->v[i].ip, j->v[k].ip) == 0)
                j->v[i].ip[0] = '\0';
}

static void take_facts(tw_check_record *r, const tw_proof_job *j)
{
    for (size_t i = 0; i < j->n; i++) {
        tw_check_node *n = &r->world.nodes[i];
        n->facts = j->v[i].remote != NULL ? r->facts[i] : NULL;
        if (n->facts == NULL)
            snprintf(n->why, sizeof n->why, "%s", j->v[i].why.msg);
    }
}

static int gather_all(const doctor_opts *o, const tw_config *c, tw_check_record *r, tw_proof_job *j,
                      tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *request = facts_request(&r->world);
    int rc = request != NULL ? 0 : tw_err_set(err, -ENOMEM, "no memory for the facts");
    r->proofs = tw_mem_calloc(1, sizeof *r->proofs);
    if (rc == 0 && r->proofs == NULL)
        rc = tw_err_set(err, -ENOMEM, "no memory for the proofs");
    for (size_t i = 0; i < r->world.n_nodes && rc == 0; i++)
        rc = own_memory(r, i, err);
    set_targets(o, c, &r->world, j);
    if (rc == 0)
        rc = tw_proof_connect(j, err);
    if (rc == 0)
        rc = tw_proof_facts(j, request, r->facts, err);
    if (rc != 0)
        return rc;
    take_facts(r, j);
    set_addresses(&r->world, j);
    r->world.proofs = r->proofs;
    return tw_proofs_make(j, r->proofs, err);
}

int tw_doctor_gather(const doctor_opts *o, tw_check_record *ret, tw_err *err)
{
    TW_CLEANUP(tw_mem_freep) tw_config *c = tw_mem_calloc(1, sizeof *c);
    TW_CLEANUP(tw_mem_freep) tw_proof_job *j = tw_mem_calloc(1, sizeof *j);
    if (c == NULL || j == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the nodes");
    int rc = read_config(o, c, err);
    if (rc != 0)
        return rc;
    set_config(o, c, &ret->world.config);
    set_nodes(o, c, &ret->world);
    if (ret->world.n_nodes == 1)
        return gather_here(o, c, ret, err);
    rc = gather_all(o, c, ret, j, err);
    if (!o->silent)
        show_progress(NULL, "");
    tw_proof_close(j);
    return rc;
}

/* ---- mending ---- */

/* One more in a list of words, once. */
static void add_step(const char *step, char *list, size_t list_bytes)
{
    const size_t len = strlen(list);
    if (tw_setup_only_has(list, step))
        return;
    snprintf(list + len, list_bytes - len, "%s%s", len > 0 ? "," : "", step);
}

/* Words for another command; its parser may move them. */
typedef struct words {
    char *v[16];
    int n;
    bool failed;
} words;

static void put_word(words *w, const char *text)
{
    char *copy = tw_mem_strdup(text);
    w->failed = w->failed || copy == NULL;
    if (copy != NULL)
        w->v[w->n++] = copy;
}

static void put_option(words *w, const char *name, const char *value)
{
    if (value == NULL)
        return;
    put_word(w, name);
    put_word(w, value);
}

static void free_words(words *w)
{
    while (w->n > 0)
        tw_mem_free(w->v[--w->n]);
}

/* The machines and the cable are those that were judged. */
static int run_setup(const doctor_opts *o, const char *only)
{
    TW_CLEANUP(free_words) words w = {.n = 0};
    char *v[TW_ARRAY_LEN(w.v)];
    int n_words = 0;
    put_word(&w, "setup");
    put_option(&w, "--only", only);
    put_option(&w, "--nodes", o->nodes_list);
    put_option(&w, "--agent-path", o->agent_path);
    put_option(&w, "--interface", o->interface);
    put_option(&w, "--transport",
               o->has_transport ? tw_check_transport_name((enum tw_check_transport)o->transport)
                                : NULL);
    if (o->push)
        put_word(&w, "--push");
    memcpy(v, w.v, sizeof v);
    const tw_command *setup = w.failed ? NULL : tw_command_find(1, v, &n_words);
    if (setup == NULL) {
        fprintf(stderr, "twinax doctor: %s\n",
                w.failed ? "no memory" : "this build has no setup; the commands are above");
        return TW_EXIT_FAILED;
    }
    fflush(stdout);
    return setup->run(w.n, v);
}

int tw_doctor_fix(const doctor_opts *o, const doctor_results *v)
{
    char only[256] = "";
    for (size_t i = 0; i < v->n; i++)
        if (v->v[i].status >= TW_CHECK_WARN && v->v[i].step != NULL)
            add_step(v->v[i].step, only, sizeof only);
    if (only[0] == '\0') {
        fprintf(stderr, "twinax doctor: nothing here that setup could mend\n");
        return tw_checks_worst(v->v, v->n) == TW_CHECK_FAIL ? TW_EXIT_FAILED : TW_EXIT_OK;
    }
    return run_setup(o, only);
}
