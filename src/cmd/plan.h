/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax plan`: its parts. */
#ifndef TWINAX_CMD_PLAN_H
#define TWINAX_CMD_PLAN_H

#include "cmd/args.h"
#include "cmd/compare.h"
#include "cmd/peak.h"
#include "engine/plan.h"
#include "fmt/json.h"

/* What no counting sees: program, tokenizer, the link's own buffers, pages of the embedding. */
enum { TW_PLAN_BESIDE_BYTES = 192 << 20 };

typedef struct tw_plan_peak {
    tw_peak peak;
    uint64_t measured_s; /* wall clock */
} tw_plan_peak;

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
    char why[200]; /* why its memory is not known */
    uint32_t max_ctx;
} tw_plan_node;

typedef struct tw_plan_report {
    const tw_args *args;
    const tw_model *model;
    tw_plan_peak peak;
    tw_plan_link link;
    bool is_assumed; /* no nodes were named: machines like this one */
    tw_budget budgets[TW_BUDGET_SPLITS];
    tw_budget_speed speeds[TW_BUDGET_SPLITS];
    unsigned i_chosen; /* of budgets */
    tw_plan_node nodes[TW_RANKS_MAX];
    uint32_t max_ctx; /* of the chosen split; 0: it does not fit */
    char binds[200];  /* what limits it */
} tw_plan_report;

/* plan_cache.c: numbers of this machine, in $XDG_CACHE_HOME/twinax/measured.json. Measured when not
 * known for this processor and so many threads, or anew. */
TW_MUST_CHECK int tw_plan_peak_get(unsigned n_threads, bool anew, tw_plan_peak *ret, tw_err *err);
/* The best path that compare has measured to a node; what cannot be written is forgotten. */
void tw_plan_link_note(const compare_report *r);
/* By the node's ssh name. False: never measured. */
bool tw_plan_link_known(const char *ssh, tw_plan_link *ret);

/* plan_link.c: what lies between rank 0 and rank 1 of n; typical numbers of its class where it was
 * never measured. */
void tw_plan_link_find(const tw_args *a, unsigned n_ranks, tw_plan_link *ret);

/* plan_print.c */
void tw_plan_print(const tw_plan_report *r);
json_t *tw_plan_json(const tw_plan_report *r);

#endif
