/* SPDX-License-Identifier: Apache-2.0 */
/* The machines of a plan: their memory now, and what they read and multiply. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scope.h"
#include "cluster/agent_peak.h"
#include "cluster/remote.h"
#include "cmd/far.h"
#include "cmd/plan.h"
#include "os/sys.h"

#define NODE_LIMIT_NS (5 * TW_NS_PER_S)
/* A virtual machine may be told of all of its host's cache, of which a core has but a part. */
#define CACHE_SURE (UINT64_C(32) << 20)

typedef struct node_job {
    tw_plan_node *node;
    tw_remote *remote;
    unsigned n_threads; /* as the rank there would get them; 0: its cores */
    bool anew;
    pthread_t thread;
    bool runs;
} node_job;

static int ask_memory(node_job *j, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    int rc = tw_remote_call(j->remote, "host-facts", NULL, NODE_LIMIT_NS, &got, err);
    const json_int_t bytes = json_integer_value(
        json_object_get(json_object_get(json_object_get(got, "facts"), "mem"), "available_bytes"));
    j->node->has_memory = rc == 0 && bytes > 0;
    j->node->available_bytes = bytes > 0 ? (uint64_t)bytes : 0;
    return rc;
}

static int ask_peak(node_job *j, tw_err *err)
{
    tw_agent_peak_words w;
    int rc = tw_remote_peak(j->remote, j->n_threads, j->anew, &w, err);
    if (rc != 0)
        return rc;
    j->node->has_peak = true;
    j->node->peak = (tw_peak_known){.peak = {.n_threads = w.n_threads,
                                             .read_gb_s = w.read_gb_s,
                                             .fma_gflops = w.fma_gflops},
                                    .measured_s = w.measured_s,
                                    .cache_bytes = w.cache_bytes};
    return 0;
}

static void *ask_node(void *arg)
{
    node_job *j = arg;
    tw_err err = {0};
    int rc = tw_remote_greet(j->remote, &err);
    if (rc == 0)
        rc = ask_memory(j, &err); /* before a gigabyte is taken to measure with */
    if (rc == 0)
        rc = ask_peak(j, &err);
    if (rc != 0)
        snprintf(j->node->why, sizeof j->node->why, "%.199s", err.msg);
    return NULL;
}

static unsigned threads_of(const tw_args *a, unsigned r)
{
    return a->nodes.v[r].threads != 0 ? a->nodes.v[r].threads : a->engine.n_threads;
}

/* What it said now is kept; when it says nothing, what it said before is taken. */
static void remember(const tw_args *a, unsigned r, tw_plan_node *k)
{
    const char *ssh = a->nodes.v[r].ssh;
    if (k->has_peak)
        tw_plan_peak_note(ssh, threads_of(a, r), &k->peak);
    else
        k->has_peak = k->is_memory = tw_plan_peak_recall(ssh, threads_of(a, r), &k->peak);
}

/* All at a time; one that does not answer costs its own time-out alone. */
static void ask_nodes(const tw_args *a, tw_plan_node *nodes, unsigned n, bool anew)
{
    node_job jobs[TW_RANKS_MAX] = {{.node = NULL}};
    for (unsigned r = 0; r < n; r++) {
        const tw_node_spec *s = &a->nodes.v[r];
        node_job *j = &jobs[r];
        tw_err err = {0};
        j->node = &nodes[r];
        j->anew = anew;
        if (nodes[r].is_here)
            continue;
        j->n_threads = threads_of(a, r);
        if (tw_remote_start(s->ssh, s->agent_path[0] != '\0' ? s->agent_path : NULL, &j->remote,
                            &err) == 0)
            j->runs = pthread_create(&j->thread, NULL, ask_node, j) == 0;
        else
            snprintf(nodes[r].why, sizeof nodes[r].why, "%.199s", err.msg);
    }
    for (unsigned r = 0; r < n; r++) {
        if (jobs[r].runs)
            pthread_join(jobs[r].thread, NULL);
        tw_remote_close(jobs[r].remote);
        if (!nodes[r].is_here)
            remember(a, r, &nodes[r]);
    }
}

static void name_node(const tw_args *a, unsigned i, tw_plan_node *k)
{
    char host[64] = "";
    (void)gethostname(host, sizeof host - 1);
    if (a->nodes.n > i)
        snprintf(k->name, sizeof k->name, "%s", a->nodes.v[i].name);
    else
        snprintf(k->name, sizeof k->name, "%s", k->is_here ? host : "one like it");
}

void tw_plan_nodes_fill(tw_plan_report *r, bool anew)
{
    const tw_args *a = r->args;
    const unsigned n = a->tp;
    for (unsigned i = 0; i < n; i++) {
        tw_plan_node *k = &r->nodes[i];
        unsigned i_local;
        const bool listed = a->nodes.n > i;
        k->is_here = i == 0 || a->local || (listed && strcmp(a->nodes.v[i].ssh, "local") == 0);
        k->n_sharing = 1;
        if (a->local)
            k->n_sharing = n;
        else if (listed)
            tw_far_place(a, i, &k->n_sharing, &i_local);
        if (k->is_here || r->is_assumed) {
            k->has_memory = true;
            k->available_bytes = tw_sys_mem_available_bytes();
        }
        if (k->is_here) {
            k->has_peak = true;
            k->peak = r->peak;
        }
        name_node(a, i, k);
    }
    if (!r->is_assumed && r->budgets[r->i_chosen].allowed)
        ask_nodes(a, r->nodes, n, anew);
}

static unsigned count_here(const tw_plan_report *r, unsigned n_ranks)
{
    unsigned n = 0;
    for (unsigned i = 0; i < TW_MIN(n_ranks, r->args->tp); i++)
        n += r->nodes[i].is_here;
    return n;
}

void tw_plan_limits(const tw_plan_report *r, unsigned n_ranks, tw_budget_limits *ret)
{
    for (unsigned i = 0; i < n_ranks; i++) {
        const tw_plan_node *k = i < r->args->tp ? &r->nodes[i] : NULL;
        const tw_peak_known *p = k != NULL && k->has_peak ? &k->peak : &r->peak;
        ret[i] = (tw_budget_limits){.read_gb_s = p->peak.read_gb_s,
                                    .fma_gflops = p->peak.fma_gflops,
                                    .n_sharing = 1,
                                    .n_threads = p->peak.n_threads,
                                    .cache_bytes = (double)TW_MIN(p->cache_bytes, CACHE_SURE)};
        if (r->args->local)
            ret[i].n_sharing = n_ranks;
        else if (k != NULL && k->is_here)
            ret[i].n_sharing = count_here(r, n_ranks);
        ret[i].n_threads /= TW_MAX(ret[i].n_sharing, 1u);
    }
}
