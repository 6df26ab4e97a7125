/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax plan`: what a model needs and gives on these machines, before anything of it is loaded. */
#include "cmd/plan.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"
#include "cmd/commands.h"
#include "cmd/far.h"
#include "cmd/out.h"
#include "cmd/pull_model.h"
#include "model/model.h"

typedef struct plan_opts {
    tw_args args; /* first: tables of others are used */
    bool anew;
} plan_opts;

/* ---- nodes ---- */

/* Named, configured, or machines like this one. */
static int find_nodes(tw_args *a, bool *ret_assumed, tw_err *err)
{
    tw_args probe = *a;
    *ret_assumed = false;
    probe.has_tp = false;
    probe.tp = 1;
    if (a->nodes_list == NULL && !a->local && a->has_tp) { /* are any configured? */
        int rc = tw_far_find_nodes(&probe, err);
        *ret_assumed = rc == 0 && probe.nodes.n == 0;
        if (*ret_assumed || (rc != 0 && probe.nodes.n == 0))
            return rc;
        *err = (tw_err){0};
    }
    int rc = tw_far_find_nodes(a, err);
    *ret_assumed = *ret_assumed || (rc == 0 && a->nodes.n == 0 && !a->local);
    return rc;
}

/* ---- numbers ---- */

static int make_splits(tw_plan_report *r, const tw_engine_opts *o, tw_err *err)
{
    int rc = 0;
    for (unsigned i = 0; i < TW_BUDGET_SPLITS && rc == 0; i++)
        rc = tw_budget_make(r->model, o, 1u << i, &r->budgets[i], err);
    return rc;
}

static void predict_splits(tw_plan_report *r)
{
    const tw_budget_way way = {.latency_us = r->link.latency_us, .gbit_s = r->link.gbit_s};
    tw_budget_limits here[TW_RANKS_MAX];
    tw_plan_limits(r, 1, here);
    here[0].read_gb_s = r->trial_peak.read_gb_s;
    here[0].fma_gflops = r->trial_peak.fma_gflops;
    if (r->has_trial)
        tw_budget_tune(tw_model_get_config(r->model), &r->budgets[0], &r->trial, &here[0]);
    for (unsigned i = 0; i < TW_BUDGET_SPLITS; i++) {
        tw_budget_limits l[TW_RANKS_MAX];
        const tw_budget *b = &r->budgets[i];
        tw_plan_limits(r, 1u << i, l);
        for (unsigned k = 0; k < 1u << i; k++) {
            l[k].decode_tune = here[0].decode_tune;
            l[k].prefill_tune = here[0].prefill_tune;
        }
        if (b->allowed)
            tw_budget_predict(b, l, &way, b->ctx / TW_PLAN_DEPTH_SHARE, &r->speeds[i]);
    }
}

/* What is left for one rank of those that share a machine. */
static uint64_t room(const tw_plan_node *k)
{
    const uint64_t share = k->available_bytes / TW_MAX(k->n_sharing, 1u);
    return share > TW_PLAN_BESIDE_BYTES ? share - TW_PLAN_BESIDE_BYTES : 0;
}

static int find_max_ctx(tw_plan_report *r, const tw_engine_opts *o, unsigned n, tw_err *err)
{
    const uint32_t most = tw_model_get_config(r->model)->max_ctx;
    r->max_ctx = most;
    snprintf(r->binds, sizeof r->binds, "the model's own limit");
    for (unsigned i = 0; i < n; i++) {
        tw_plan_node *k = &r->nodes[i];
        if (!k->has_memory)
            continue;
        int rc = tw_budget_max_ctx(r->model, o, n, i, room(k), &k->max_ctx, err);
        if (rc != 0)
            return rc;
        if (k->max_ctx < most / 64 * 64 && k->max_ctx < r->max_ctx) {
            r->max_ctx = k->max_ctx;
            snprintf(r->binds, sizeof r->binds, "the memory of %s%s", k->name,
                     i == 0 ? " (this machine)" : "");
        }
    }
    return 0;
}

/* On a line that goes again. */
static void tell(const char *text)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K%s", text);
}

/* Of all ranks on this machine together: they share what so many threads get. */
static unsigned count_threads_here(const tw_args *a)
{
    unsigned n_local = a->local ? a->tp : 1, i_local;
    const unsigned cores = tw_peak_threads(0);
    if (a->nodes.n > 0)
        tw_far_place(a, 0, &n_local, &i_local);
    const unsigned n = a->engine.n_threads * TW_MAX(n_local, 1u);
    return a->engine.n_threads == 0 ? cores : TW_MIN(n, TW_MAX(cores, a->engine.n_threads));
}

static int fill(tw_plan_report *r, bool anew, tw_err *err)
{
    const tw_args *a = r->args;
    tw_engine_opts o = a->engine;
    const unsigned n = a->tp;
    o.n_threads = tw_peak_threads(o.n_threads);
    while (1u << r->i_chosen < n)
        r->i_chosen++;
    int rc = make_splits(r, &o, err);
    if (rc == 0) {
        tell(anew ? "measuring, some seconds ..."
                  : "asking, measuring where it was never done ...");
        rc = tw_peak_get(count_threads_here(a), anew, &r->peak, err);
    }
    if (rc == 0)
        tw_plan_nodes_fill(r, anew);
    if (rc == 0 && r->budgets[0].allowed)
        tw_plan_trial_fill(r, &o, anew);
    tell("");
    if (rc != 0)
        return rc;
    tw_plan_link_find(a, n, &r->link);
    predict_splits(r);
    if (!r->budgets[r->i_chosen].allowed)
        return 0;
    tw_plan_binds_fill(r);
    return find_max_ctx(r, &o, n, err);
}

static int plan(const plan_opts *p, const tw_args *a, bool is_assumed, tw_err *err)
{
    tw_model *m = NULL;
    TW_CLEANUP(tw_mem_freep) tw_plan_report *r = tw_mem_calloc(1, sizeof *r);
    if (r == NULL)
        return tw_err_set(err, -ENOMEM, "no memory");
    int rc = tw_model_open(a->model, &m, err);
    if (rc != 0)
        return rc;
    tw_model_set_quant(m, tw_engine_quant_type(&a->engine));
    r->args = a;
    r->model = m;
    r->is_assumed = is_assumed;
    rc = fill(r, p->anew, err);
    if (rc == 0 && a->json) {
        TW_CLEANUP(tw_json_freep) json_t *v = tw_plan_json(r);
        (void)!json_dumpf(v, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
        putchar('\n');
    } else if (rc == 0) {
        tw_plan_print(r);
    }
    if (rc == 0)
        rc = tw_out_flush(err);
    if (rc == 0 && !r->budgets[r->i_chosen].allowed)
        rc = tw_err_set(err, -EINVAL, "%s", r->budgets[r->i_chosen].why);
    else if (rc == 0 && r->max_ctx < r->budgets[r->i_chosen].ctx)
        rc = tw_err_set(err, -ENOMEM, "%s does not fit with --ctx %u --max-seqs %u: limited by %s",
                        tw_model_name(m), r->budgets[r->i_chosen].ctx,
                        r->budgets[r->i_chosen].max_seqs, r->binds);
    tw_model_close(m);
    return rc;
}

static int cmd_plan(int argc, char **argv)
{
    plan_opts p = {.anew = false};
    tw_err err = {0};
    int first = 0;
    bool is_assumed = false;
    tw_args_init(&p.args);
    int rc = tw_options_parse(tw_command_plan.tables, argc, argv, &p, &first, &err);
    if (rc == 0 && first + 1 != argc)
        rc = tw_err_set(&err, -EINVAL,
                        first == argc ? "no MODEL given" : "only one MODEL is wanted");
    if (rc == 0) {
        p.args.model = argv[first];
        rc = find_nodes(&p.args, &is_assumed, &err);
    }
    if (rc != 0)
        return tw_command_misused(&tw_command_plan, &err);
    rc = tw_pull_model(&p.args.model, &err);
    if (rc == 0)
        rc = plan(&p, &p.args, is_assumed, &err);
    return tw_command_end(&tw_command_plan, rc, &err);
}

static const tw_option options[] = {
    {"measure",
     .help = "measure the machines' limits again: else those of an earlier time are taken",
     .type = TW_OPT_FLAG, .offset = offsetof(plan_opts, anew)},
    {"json", .help = "one JSON object", .type = TW_OPT_FLAG,
     .offset = offsetof(plan_opts, args.json)},
    {.name = NULL},
};

static const tw_option_table tables[] = {
    {NULL, options},
    {"ranks", tw_options_ranks},
    {"other machines (docs/nodes.md)", tw_options_nodes},
    {"model", tw_options_model},
    {NULL, NULL},
};

static const tw_note plan_examples[] = {
    {"twinax plan MODEL", "on the nodes of twinax.conf, or here alone"},
    {"twinax plan MODEL --tp 2 --ctx 32768 --max-seqs 8", "as it is to be served: does it fit?"},
    {NULL, NULL},
};

const tw_command tw_command_plan = {
    .name = "plan",
    .args = "MODEL",
    .summary = "what a model needs and gives on these machines",
    .about =
        "Bytes of each node, which splits are allowed and why others are not, speed to expect and "
        "whose limit binds, the largest context that fits. Each node is asked for its memory, and "
        "measures what it reads and multiplies, once; some of the model's layers are tried here, "
        "once, without their weights. Loads nothing. Exit status 1 when "
        "the model does not fit as asked.",
    .tables = tables,
    .run = cmd_plan,
    .group = TW_GROUP_MODEL,
    .examples = plan_examples,
};
