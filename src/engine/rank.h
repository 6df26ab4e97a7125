/* SPDX-License-Identifier: Apache-2.0 */
/* What every rank does: apply a plan, run the step, agree on the next tokens. Rank 0 and the others
 * run the same code on the same sequences; only rank 0 knows requests (engine.c). */
#ifndef TWINAX_ENGINE_RANK_H
#define TWINAX_ENGINE_RANK_H

#include "engine/forward.h"
#include "engine/overlap_choice.h"
#include "engine/pace.h"
#include "engine/sample.h"
#include "engine/step.h"

/* Head of the candidate message; rows follow, tw_row_wire_bytes each. */
typedef struct tw_vote_head {
    uint64_t step;
    uint32_t flags; /* of rank 0: TW_VOTE_PLAN_FOLLOWS */
    uint32_t n_rows;
} tw_vote_head;

enum { TW_VOTE_PLAN_FOLLOWS = 1 };

/* What a step chose for one sequence. */
typedef struct tw_choice {
    uint32_t slot, id;
    bool ended;         /* the sequence is over and its slot is free again */
    enum tw_finish why; /* when ended */
} tw_choice;

typedef struct tw_rank {
    tw_model *model;
    const tw_model_config *cfg;
    tw_coll *coll; /* NULL: one rank */
    unsigned rank, n_ranks;
    uint32_t ctx, max_seqs, chunk;
    tw_team *team;
    unsigned n_threads, n_numa; /* n_numa: nodes of memory that this machine has */
    const tw_kern *kern;
    tw_weights weights;
    tw_kv kv;
    tw_forward fwd;
    tw_seq *seqs;          /* [max_seqs] */
    uint32_t *page_tables; /* [max_seqs][ctx / 64] */
    uint16_t *counts;      /* [max_seqs][V] */
    tw_plan plan;
    uint8_t *plan_bytes; /* [plan_max_bytes] */
    size_t plan_max_bytes;
    tw_batch batch;
    uint32_t *logit_slots; /* [max_seqs] slot of each logits row */
    uint8_t *votes;        /* [R][vote_max_bytes], from tw_coll_alloc */
    size_t vote_max_bytes;
    uint32_t part_max;        /* largest rank's share of V */
    uint32_t *part0, *part_n; /* [R] every rank's share of V */
    float *parts;             /* [R][part_max] for gathered logits */
    float *full;              /* [V] */
    tw_candidate *order;      /* [2 V] scratch of a full pick */
    tw_choice *choices;       /* [max_seqs] of the last step */
    uint32_t n_choices;
    uint64_t step;
    bool only_count;      /* take nothing, count array_bytes */
    uint64_t array_bytes; /* taken beside weights, KV and fwd's */
    tw_pace pace;
    tw_overlap_choice overlap_choice;                /* of rank 0 */
    enum tw_overlap overlap;                         /* the same */
    tw_profiler *profiler;                           /* NULL: none */
    bool plan_follows;                               /* the next step needs a plan */
    float *(*logits_sink)(void *ctx, uint32_t slot); /* rank 0: where wanted logits go */
    void *sink_ctx;
} tw_rank;

/* The type that matrices get, for tw_model_set_quant. */
enum tw_dtype tw_engine_quant_type(const tw_engine_opts *o);
/* Resolves the options' zeros against the model. */
void tw_engine_resolve(const tw_model_config *c, tw_engine_opts *o);

/* What a rank would take beside its weights, counted by the code that takes it; o is resolved. */
typedef struct tw_rank_bytes {
    uint64_t kv, work, arrays;
} tw_rank_bytes;
TW_MUST_CHECK int tw_rank_count_bytes(const tw_model_config *c, const tw_engine_opts *o,
                                      unsigned n_ranks, unsigned rank, tw_rank_bytes *ret,
                                      tw_err *err);

/* Loads the shard, takes the memory, waits until every rank has loaded. In the thread that will run
 * the steps. */
TW_MUST_CHECK int tw_rank_init(tw_rank *r, tw_model *m, tw_coll *coll, const tw_engine_opts *o,
                               tw_err *err);
void tw_rank_done(tw_rank *r);

/* Applies r->plan (or an empty one) and lays out the batch. */
TW_MUST_CHECK int tw_rank_apply(tw_rank *r, bool has_plan, tw_err *err);
/* Runs the batch; r->choices has what came out. plan_follows: rank 0's wish, ignored elsewhere. */
TW_MUST_CHECK int tw_rank_step(tw_rank *r, bool plan_follows, tw_err *err);
bool tw_rank_is_idle(const tw_rank *r); /* no sequence is in any slot */
/* The other ranks' loop. */
TW_MUST_CHECK int tw_rank_serve(tw_rank *r, tw_err *err);

#endif
