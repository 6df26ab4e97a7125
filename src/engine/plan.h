/* SPDX-License-Identifier: Apache-2.0 */
/* What a model will need and give, before anything of it is loaded: bytes of each rank, which splits
 * are allowed, speed by this machine's measured limits. Pure arithmetic over an opened model; the
 * bytes come from the code that takes them. (Step plans are step.h.)
 * Must not know machines, addresses, how the limits were measured. */
#ifndef TWINAX_ENGINE_PLAN_H
#define TWINAX_ENGINE_PLAN_H

#include "engine/rank.h"
#include "engine/trial.h"

enum { TW_BUDGET_SPLITS = 4 }; /* TP 1, 2, 4, 8 */

typedef struct tw_budget_rank {
    uint64_t weights, kv, work, arrays, total; /* bytes; work: activations of a step */
    uint64_t idle_weights;                     /* of experts that a token does not take */
    uint64_t kv_token_bytes;                   /* of one position of one sequence */
    double flops_token;                        /* of a prompt's token, attention apart */
    tw_shard shard;
} tw_budget_rank;

typedef struct tw_budget {
    unsigned n_ranks;
    bool allowed;
    char why[240];    /* when not */
    double imbalance; /* the largest rank's weights over the mean, minus 1 */
    double kv_copies; /* KV heads of all ranks over the model's: > 1, some are kept twice */
    uint32_t n_layers, d_model, n_heads, head_dim;
    uint32_t ctx, max_seqs, chunk; /* resolved */
    tw_budget_rank ranks[TW_RANKS_MAX];
} tw_budget;

/* -EINVAL when the options make no sense for the model; a split that is not allowed is no error. */
TW_MUST_CHECK int tw_budget_make(const tw_model *m, const tw_engine_opts *o, unsigned n_ranks,
                                 tw_budget *ret, tw_err *err);

/* What one rank's machine gives. */
typedef struct tw_budget_limits {
    double read_gb_s, fma_gflops;
    unsigned n_sharing; /* ranks on this machine, which share all of it */
    unsigned n_threads; /* of this rank */
    double cache_bytes; /* what fits is not read from memory; 0: unknown */
    /* What a trial took over what the shares of the peaks say (tw_budget_tune); 0: none was made. */
    double decode_tune, prefill_tune;
} tw_budget_limits;

/* What the way between two gives. */
typedef struct tw_budget_way {
    double latency_us; /* of one small all-reduce */
    double gbit_s;     /* one direction */
} tw_budget_way;

/* All wait for the slowest. */
typedef struct tw_budget_wait {
    double most_ms, least_ms; /* the slowest rank, the fastest */
    unsigned i_slowest;
    bool by_memory; /* the slowest waits for its memory, not for its arithmetic */
} tw_budget_wait;

typedef struct tw_budget_speed {
    double decode_tok_s, prefill_tok_s;
    /* Where a token's time goes, ms: reading weights and KV, exchanging. */
    double decode_read_ms, decode_exchange_ms;
    double prefill_compute_ms, prefill_exchange_ms; /* of a chunk */
    tw_budget_wait decode, prefill;                 /* without exchanges */
} tw_budget_speed;

/* One sequence at depth positions; l [b->n_ranks]. Decode is bound by reading, or by arithmetic where
 * the weights fit the cache, prefill by arithmetic, at the shares of the peaks that the canonical
 * kernels reach (docs/plan.md). */
void tw_budget_predict(const tw_budget *b, const tw_budget_limits *l, const tw_budget_way *w,
                       uint32_t depth, tw_budget_speed *ret);

/* Holds a trial of some of the model's layers on a machine against what would be predicted of just
 * these there. b: of one rank; l: all of the machine, whose tunes are filled. */
void tw_budget_tune(const tw_model_config *c, const tw_budget *b, const tw_trial *t,
                    tw_budget_limits *l);

/* The largest context (a multiple of 64, at most the model's) with which rank fits into bytes; 0:
 * not even 64 positions. */
TW_MUST_CHECK int tw_budget_max_ctx(const tw_model *m, const tw_engine_opts *o, unsigned n_ranks,
                                    unsigned rank, uint64_t bytes, uint32_t *ret, tw_err *err);

#endif
