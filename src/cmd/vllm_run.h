/* SPDX-License-Identifier: Apache-2.0 */
/* Part of cmd/vllm: one run, as its steps hand it on. */
#ifndef TWINAX_CMD_VLLM_RUN_H
#define TWINAX_CMD_VLLM_RUN_H

#include "cmd/far.h"
#include "cmd/vllm_held.h"
#include "cmd/vllm_news.h"
#include "vllm/part.h"
#include "vllm/plan.h"
#include "vllm/ray_status.h"

typedef struct tw_vllm_run {
    const tw_args *args;
    size_t n_nodes;
    tw_far *far; /* NULL: this machine alone */
    tw_facts *facts[TW_VLLM_NODES_MAX];
    tw_vllm_place place;
    json_t *plan;
    char run[17], token[65];
    char model[4096]; /* name, or whole path */
    char ip[64];      /* of this machine, on the cluster */
    tw_vllm_secrets secrets;
    tw_vllm_news news;
    tw_vllm_held ray, serve;
    uint64_t began_ns;
    _Atomic uint64_t ready_ns; /* 0: not yet */
    tw_ray_status counted;     /* what Ray itself said, once it was complete */
} tw_vllm_run;

const char *tw_vllm_run_node(const tw_vllm_run *r, size_t i); /* its name */

/* vllm_plan.c: facts of all nodes, where vLLM is, the plan. */
TW_MUST_CHECK int tw_vllm_run_plan(tw_vllm_run *r, tw_err *err);
/* vllm_start.c: Ray up on all nodes, bounded; then vllm serve; until the API answers. */
TW_MUST_CHECK int tw_vllm_run_start(tw_vllm_run *r, tw_err *err);

/* vllm_status.c: what `twinax status` is told; ctx is the run. */
json_t *tw_vllm_run_status(void *ctx);

#endif
