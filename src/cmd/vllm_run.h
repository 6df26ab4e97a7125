/* SPDX-License-Identifier: Apache-2.0 */
/* Part of cmd/vllm: one run, as its steps hand it on. */
#ifndef TWINAX_CMD_VLLM_RUN_H
#define TWINAX_CMD_VLLM_RUN_H

#include <sys/stat.h>

#include "cluster/life_state.h"
#include "cmd/far.h"
#include "cmd/vllm_again.h"
#include "cmd/vllm_held.h"
#include "cmd/vllm_news.h"
#include "vllm/count.h"
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
    struct stat token; /* the file that r's token is from: another life of Ray has another */
} tw_vllm_shared;

enum { TW_VLLM_PATH_BYTES = 4096 };

typedef struct tw_vllm_run {
    const tw_args *args;
    tw_vllm_again *again;
    size_t n_nodes;
    tw_far *far; /* NULL: this machine alone */
    tw_facts *facts[TW_VLLM_NODES_MAX];
    tw_vllm_place place;
    json_t *plan;
    char run[17], token[65];
    char models[TW_VLLM_NODES_MAX][TW_VLLM_PATH_BYTES]; /* whole path on each node */
    char served_name[256];                              /* what the API calls it */
    char ip[64];                                        /* of this machine, on the cluster */
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
    /* Of each node's wire: before vLLM, once the API answers, after the first answer. */
    tw_vllm_count count_before[TW_VLLM_NODES_MAX], count_ready[TW_VLLM_NODES_MAX],
        count_after[TW_VLLM_NODES_MAX];
    uint64_t answer_ns;      /* what the first answer took */
    _Atomic bool is_counted; /* count_* do not change any more */
    _Atomic bool is_proven;  /* by them */
} tw_vllm_run;

const char *tw_vllm_run_node(const tw_vllm_run *r, size_t i); /* its name */

/* vllm_model.c: on every node; then models and served_name are set. */
TW_MUST_CHECK int tw_vllm_run_model(tw_vllm_run *r, tw_err *err);
/* Whether holders make a link to it in the run's own folder, which is called the same everywhere. */
bool tw_vllm_run_links_model(const tw_vllm_run *r);
/* What node i's vllm serve is told; out: where a new text goes. */
const char *tw_vllm_run_model_word(const tw_vllm_run *r, size_t i, char out[TW_VLLM_PATH_BYTES]);

/* vllm_plan.c: facts of all nodes, where vLLM is, the plan. */
TW_MUST_CHECK int tw_vllm_run_plan(tw_vllm_run *r, tw_err *err);
/* vllm_start.c: Ray up on all nodes, bounded; then vllm serve; until the API answers. */
TW_MUST_CHECK int tw_vllm_run_start(tw_vllm_run *r, tw_err *err);
/* Asks Ray itself again, where somebody wants to know (must_count). */
void tw_vllm_run_count(tw_vllm_run *r);
/* Something of it has gone; why. */
bool tw_vllm_run_lost(tw_vllm_run *r, char *why, size_t why_bytes);

TW_MUST_CHECK int tw_vllm_run_check(tw_vllm_run *r, tw_err *err); /* somebody has gone; -EINTR */

/* vllm_await.c: until the API answers; bounded by the time without progress. */
TW_MUST_CHECK int tw_vllm_run_await(tw_vllm_run *r, tw_err *err);

/* vllm_proof.c: what each wire has counted so far. */
void tw_vllm_run_wires(tw_vllm_run *r, tw_vllm_count *ret);
/* Fills what is not known yet of count_before: a node's first word comes with its part. */
void tw_vllm_run_wires_first(tw_vllm_run *r);
/* A first answer, and that its bytes went over the wire that was planned: says so, or is an error. */
TW_MUST_CHECK int tw_vllm_run_prove(tw_vllm_run *r, tw_err *err);

/* vllm_status.c: what `twinax status` is told; ctx is the run. */
json_t *tw_vllm_run_status(void *ctx);

#endif
