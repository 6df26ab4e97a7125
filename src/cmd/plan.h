/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax plan`: its parts. */
#ifndef TWINAX_CMD_PLAN_H
#define TWINAX_CMD_PLAN_H

#include "cmd/args.h"
#include "cmd/compare.h"
#include "cmd/peak_known.h"
#include "engine/plan.h"
#include "fmt/json.h"

/* What no counting sees: program, tokenizer, the link's own buffers, pages of the embedding. */
enum { TW_PLAN_BESIDE_BYTES = 192 << 20 };
enum { TW_PLAN_DEPTH_SHARE = 4 }; /* speeds are of a context that is filled to a quarter */

typedef struct tw_plan_link {
    char name[64]; /* "RDMA", "ethernet 1 Gbit/s" */
    double latency_us, gbit_s;
    uint64_t measured_s; /* by `twinax compare`; 0: typical of its class */
} tw_plan_link;

/* One rank's place. */
typedef struct tw_plan_node {
    char name[64];
    bool is_here;
    bool has_memory;          /* available_bytes is known */
    uint64_t available_bytes; /* shared by n_sharing ranks */
    unsigned n_sharing;
    char why[200];  /* why its memory is not known */
    bool has_peak;  /* else it is taken to be like this machine */
    bool is_memory; /* it does not answer now: what it said before */
    tw_peak_known peak;
    uint32_t max_ctx;
} tw_plan_node;

typedef struct tw_plan_report {
    const tw_args *args;
    const tw_model *model;
    tw_peak_known peak; /* of this machine */
    bool has_trial;     /* else why_no_trial says why: the shares of the peaks are typical ones */
    tw_trial trial;     /* of the model's layers on this machine, with all its threads */
    tw_peak trial_peak; /* of the machine at that time */
    char why_no_trial[200];
    tw_plan_link link;
    bool is_assumed; /* no nodes were named: machines like this one */
    tw_budget budgets[TW_BUDGET_SPLITS];
    tw_budget_speed speeds[TW_BUDGET_SPLITS];
    unsigned i_chosen; /* of budgets */
    tw_plan_node nodes[TW_RANKS_MAX];
    uint32_t max_ctx; /* of the chosen split; 0: it does not fit */
    char binds[200];  /* what limits it */
    char decode_binds[200], prefill_binds[200];
} tw_plan_report;

/* plan_cache.c: in measured.json (measured.h), by the node's ssh name.
 * The best path that compare has measured to a node. */
void tw_plan_link_note(const compare_report *r);
/* False: never measured. */
bool tw_plan_link_known(const char *ssh, tw_plan_link *ret);
/* What a node said of itself last. n_threads as asked for: 0: its cores. */
void tw_plan_peak_note(const char *ssh, unsigned n_threads, const tw_peak_known *k);
bool tw_plan_peak_recall(const char *ssh, unsigned n_threads, tw_peak_known *ret);

/* plan_nodes.c: who the ranks of the chosen split are; asks those elsewhere for memory and limits,
 * all at a time. */
void tw_plan_nodes_fill(tw_plan_report *r, bool anew);
/* The limits of a split over these nodes; those beyond them are like this machine. */
void tw_plan_limits(const tw_plan_report *r, unsigned n_ranks, tw_budget_limits *ret);

/* plan_trial.c: tries the model's layers here, or recalls an earlier trial (not anew). */
void tw_plan_trial_fill(tw_plan_report *r, const tw_engine_opts *o, bool anew);

/* plan_binds.c: what limits the chosen split's speeds, in words. */
void tw_plan_binds_fill(tw_plan_report *r);

/* plan_link.c: what lies between rank 0 and rank 1 of n; typical numbers of its class where it was
 * never measured. */
void tw_plan_link_find(const tw_args *a, unsigned n_ranks, tw_plan_link *ret);

/* plan_print.c */
void tw_plan_print(const tw_plan_report *r);
json_t *tw_plan_json(const tw_plan_report *r);

#endif
