/* SPDX-License-Identifier: Apache-2.0 */
/* Part of cmd/vllm: one run, as its steps hand it on. */
#ifndef TWINAX_CMD_VLLM_RUN_H
#define TWINAX_CMD_VLLM_RUN_H

#include "cluster/life_state.h"
#include "cmd/far.h"
#include "cmd/vllm_held.h"
#include "cmd/vllm_news.h"
#include "vllm/part.h"
#include "vllm/plan.h"
#include "vllm/ray_status.h"
#include "vllm/versions.h"

/* vllm_ray.c: a Ray of an earlier command, or this one's for later ones. */
typedef struct tw_vllm_shared {
    bool is_up; /* another's: nothing of it is ours to end */
    bool is_offered;
    tw_life_record record;
    json_t *says; /* its status */
    char token_path[TW_LIFE_PATH_BYTES];
} tw_vllm_shared;

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
    tw_ray_status counted;     /* what Ray itself said, once it was complete; under news.lock */
    uint64_t counted_ns;       /* when; likewise */
    atomic_bool must_count;    /* somebody asks for its count, which is old */
    tw_vllm_shared shared;
    tw_vllm_versions versions[TW_VLLM_NODES_MAX];
} tw_vllm_run;

const char *tw_vllm_run_node(const tw_vllm_run *r, size_t i); /* its name */

/* vllm_plan.c: facts of all nodes, where vLLM is, the plan. */
TW_MUST_CHECK int tw_vllm_run_plan(tw_vllm_run *r, tw_err *err);
/* vllm_start.c: Ray up on all nodes, bounded; then vllm serve; until the API answers. */
TW_MUST_CHECK int tw_vllm_run_start(tw_vllm_run *r, tw_err *err);
/* Asks Ray itself again, where somebody wants to know (must_count). */
void tw_vllm_run_count(tw_vllm_run *r);
/* Something of it has gone; why. */
bool tw_vllm_run_lost(tw_vllm_run *r, char *why, size_t why_bytes);

/* vllm_status.c: what `twinax status` is told; ctx is the run. */
json_t *tw_vllm_run_status(void *ctx);

#endif
