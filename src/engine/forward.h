/* SPDX-License-Identifier: Apache-2.0 */
/* The transformer, written once for all families: rows of tokens in, logits of this rank's part of
 * the vocabulary out. Owns the work memory of a step; allocates nothing after init.
 * Letters: M rows of a step, D, Q, H and K local heads, F local ffn, V local vocabulary. */
#ifndef TWINAX_ENGINE_FORWARD_H
#define TWINAX_ENGINE_FORWARD_H

#include "engine/kv.h"
#include "engine/moe.h"
#include "engine/profile.h"
#include "model/model.h"
#include "twinax/coll.h"

/* One sequence's part of a step: rows [row0, row0 + n_rows) are its positions pos0 ... */
typedef struct tw_span {
    uint32_t row0, n_rows, pos0;
    const uint32_t *pages;
    float *parts; /* of forward.parts, where several threads share the keys of a KV head */
} tw_span;

typedef struct tw_batch {
    uint32_t n_rows;     /* M */
    uint32_t *tokens;    /* [M] */
    uint32_t *positions; /* [M] */
    tw_span *spans;      /* [n_spans] */
    uint32_t n_spans;
    uint32_t *logit_rows; /* [n_logits] rows whose logits are wanted */
    uint32_t n_logits;
} tw_batch;

enum { TW_PART_FLOATS = 1 << 20 };

/* KV heads of a rank with the query heads that read them. */
typedef struct tw_group {
    uint32_t i_kv, head0, n_heads; /* local */
} tw_group;

/* An all-reduce that goes on while the team computes. */
typedef struct tw_flight {
    tw_coll *coll;
    bool is_up;
    uint64_t polled_ns;
    int rc; /* when it is not up any more */
    tw_err err;
} tw_flight;

typedef struct tw_forward {
    const tw_model *model;
    const tw_model_config *cfg;
    tw_shard shard;
    const tw_weights *weights;
    const tw_kern *kern;
    tw_team *team;
    tw_coll *coll; /* NULL: one rank */
    tw_kv *kv;
    tw_profiler *profiler;                    /* NULL: none */
    uint32_t max_rows, max_logits, max_pages; /* max_pages: of one sequence */
    unsigned n_threads;                       /* of team */
    bool has_group;                           /* coll is one */
    float *freqs;                             /* [Q/2] */
    float rope_scale;
    tw_group *groups; /* [n_groups] */
    uint32_t n_groups;
    float *parts; /* [TW_PART_FLOATS]: partials of rows that are cut at spans */
    void *work;   /* one mapping that holds all below */
    size_t work_bytes;
    float *x;            /* [M][D] residual stream */
    float *h;            /* [M][D] normalised */
    float *q, *k, *v;    /* [M][H*Q], [M][K*Q] x 2 */
    float *attn;         /* [M][H*Q] */
    float *gate, *up;    /* [M][F] of layers without experts */
    tw_moe moe;          /* of those with */
    float *cos, *sin;    /* [M][Q/2] */
    tw_xblock *xq;       /* [M][K / 32] of a product's x, for quantised weights */
    float *logits;       /* [max_logits][V] */
    float *partial;      /* [M][D], from tw_coll_alloc when there is a group */
    bool wire16;         /* --arith wire16 */
    float *high;         /* [M][D] wire16 without a group: the tree's upper half */
    tw_span *half_spans; /* [2 max_logits + 1] of a step's two halves, with one span in both */
    bool overlap; /* the next step exchanges while it computes, where tw_overlap_is_possible */
    tw_flight flight;
    tw_flight *in_flight; /* NULL: nothing goes on while this computes */
    uint8_t *scratch;     /* [n_threads][scratch_bytes] */
    size_t scratch_bytes;
    uint32_t n_embedded;            /* rows read since the embedding's pages were let go */
    uint64_t arith_ns, exchange_ns; /* since init */
} tw_forward;

/* The caller fills model ... kv and max_* first. */
TW_MUST_CHECK int tw_forward_init(tw_forward *f, tw_err *err);
void tw_forward_done(tw_forward *f);
/* What init takes, from cfg, shard, max_*, n_threads, has_group and wire16 alone. */
size_t tw_forward_count_bytes(tw_forward *f);
/* Whether a step of this batch can exchange while it computes (overlap.c). */
bool tw_overlap_is_possible(const tw_forward *f, const tw_batch *b);
/* Logits land in f->logits [n_logits][V]. */
TW_MUST_CHECK int tw_forward_run(tw_forward *f, const tw_batch *b, tw_err *err);

#endif
