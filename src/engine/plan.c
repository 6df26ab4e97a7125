/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/plan.h"

#include <errno.h>
#include <stdio.h>

#include "base/scope.h"

/* What the kernels reach, measured (docs/plan.md). Of the fma peak: products of a chunk, its attention,
 * products of one row, its attention. Of the read bandwidth decode reaches nearly all. */
static const double prefill_share = 0.80, prefill_attn_share = 0.45, decode_fma_share = 0.40,
                    decode_attn_share = 0.12, decode_share = 0.92;
/* Threads wait for each other between the jobs of a layer. */
static const double team_layer_ms = 0.010;

enum { CTX_STEP = 64 };

static double matrix_flops(const tw_model_config *c, const tw_shard *s)
{
    const double d = c->d_model, q = (double)s->n_heads * c->head_dim,
                 kv = (double)s->n_kv * c->head_dim;
    const double attn = d * q + 2 * d * kv + q * d, dense = 3 * d * s->n_ffn;
    const double experts = d * c->n_experts + 3 * d * s->n_expert_ffn * c->experts_per_tok;
    /* the last one's logits are one row of a chunk */
    return 2 * (attn * c->n_layers + dense * (c->n_layers - c->n_expert_layers) +
                experts * c->n_expert_layers);
}

static int fill_rank(const tw_model *m, const tw_engine_opts *o, const tw_budget *b, unsigned rank,
                     tw_budget_rank *r, tw_err *err)
{
    const tw_model_config *c = tw_model_get_config(m);
    tw_rank_bytes taken;
    int rc = tw_shard_init(c, b->n_ranks, rank, &r->shard, err);
    if (rc == 0)
        rc = tw_weights_count_bytes(m, &r->shard, &r->weights, err);
    if (rc == 0)
        rc = tw_rank_count_bytes(c, o, b->n_ranks, rank, &taken, err);
    if (rc != 0)
        return rc;
    if (c->n_experts > 0)
        r->idle_weights = tw_weights_count_expert_bytes(m, &r->shard) / c->n_experts *
                          (c->n_experts - c->experts_per_tok);
    r->kv = taken.kv;
    r->work = taken.work;
    r->arrays = taken.arrays;
    r->total = r->weights + r->kv + r->work + r->arrays;
    r->kv_token_bytes =
        (uint64_t)c->n_layers * 2 * r->shard.n_kv * c->head_dim * (o->kv == TW_KV_F32 ? 4u : 2u);
    r->flops_token = matrix_flops(c, &r->shard);
    return 0;
}

static void judge(tw_budget *b, uint32_t n_kv_heads)
{
    double sum = 0, most = 0, n_kv = 0;
    for (unsigned i = 0; i < b->n_ranks; i++) {
        sum += (double)b->ranks[i].weights;
        most = TW_MAX(most, (double)b->ranks[i].weights);
        n_kv += b->ranks[i].shard.n_kv;
    }
    b->imbalance = most * b->n_ranks / sum - 1;
    b->kv_copies = n_kv / n_kv_heads;
}

int tw_budget_make(const tw_model *m, const tw_engine_opts *opts, unsigned n_ranks, tw_budget *ret,
                   tw_err *err)
{
    const tw_model_config *c = tw_model_get_config(m);
    tw_engine_opts o = *opts;
    tw_engine_resolve(c, &o);
    tw_budget b = {.n_ranks = n_ranks,
                   .n_layers = c->n_layers,
                   .d_model = c->d_model,
                   .n_heads = c->n_heads,
                   .head_dim = c->head_dim,
                   .ctx = o.ctx,
                   .max_seqs = o.max_seqs,
                   .chunk = o.chunk};
    tw_shard shard;
    tw_err why = {0};
    if (o.ctx > c->max_ctx)
        return tw_err_set(err, -EINVAL, "--ctx %u: the model was made for at most %u positions",
                          o.ctx, c->max_ctx);
    if (o.n_threads == 0)
        return tw_err_set(err, -EINVAL, "a plan wants the number of threads");
    b.allowed = tw_shard_init(c, n_ranks, 0, &shard, &why) == 0;
    if (!b.allowed)
        snprintf(b.why, sizeof b.why, "%s", why.msg);
    for (unsigned i = 0; i < n_ranks && b.allowed; i++) {
        int rc = fill_rank(m, &o, &b, i, &b.ranks[i], err);
        if (rc != 0)
            return rc;
    }
    if (b.allowed)
        judge(&b, c->n_kv_heads);
    *ret = b;
    return 0;
}

/* One all-reduce of bytes over ranks: at each of log2(R) levels one message each way. */
static double exchange_ms(const tw_budget *b, const tw_budget_way *w, double bytes)
{
    double levels = 0;
    for (unsigned r = b->n_ranks; r > 1; r /= 2)
        levels++;
    if (levels == 0)
        return 0;
    const double wire_us = w->gbit_s > 0 ? bytes * 8 / (w->gbit_s * 1e3) : 0;
    return levels * (w->latency_us + wire_us) / 1e3;
}

static void add_rank(tw_budget_wait *w, unsigned i, double ms, bool by_memory)
{
    if (i == 0 || ms > w->most_ms) {
        w->i_slowest = i;
        w->by_memory = by_memory;
    }
    w->most_ms = i == 0 ? ms : TW_MAX(w->most_ms, ms);
    w->least_ms = i == 0 ? ms : TW_MIN(w->least_ms, ms);
}

/* Of a token: a score and a sum for each earlier position of each head. */
static double attn_flops(const tw_budget *b, unsigned rank, uint32_t depth)
{
    return 4.0 * depth * b->ranks[rank].shard.n_heads * b->head_dim * b->n_layers;
}

/* ms for so many flops at this share of a rank's part of its machine. */
static double compute_ms(const tw_budget_limits *l, double flops, double share)
{
    return flops * TW_MAX(l->n_sharing, 1u) / (l->fma_gflops * share * 1e6);
}

static double read_ms(const tw_budget_limits *l, double bytes)
{
    return bytes * TW_MAX(l->n_sharing, 1u) / (l->read_gb_s * decode_share * 1e6);
}

/* Of one token, whatever is slower: reading the weights or multiplying with them. */
static double decode_ms(const tw_budget *b, unsigned rank, const tw_budget_limits *l,
                        uint32_t depth, bool *ret_by_memory)
{
    const tw_budget_rank *r = &b->ranks[rank];
    const double kv = (double)r->kv_token_bytes * depth;
    const double weights = (double)(r->weights - r->idle_weights);
    const bool cached = ((double)r->weights + kv) * TW_MAX(l->n_sharing, 1u) < l->cache_bytes;
    const double products = r->flops_token + 2.0 * r->shard.n_vocab * b->d_model;
    const double w_ms = compute_ms(l, products, decode_fma_share);
    const double kv_ms = compute_ms(l, attn_flops(b, rank, depth), decode_attn_share);
    *ret_by_memory = !cached && read_ms(l, weights) > w_ms;
    if (cached)
        return w_ms + kv_ms;
    return TW_MAX(w_ms, read_ms(l, weights)) + TW_MAX(kv_ms, read_ms(l, kv));
}

/* Of one token of a chunk. */
static double prefill_ms(const tw_budget *b, unsigned rank, const tw_budget_limits *l,
                         uint32_t depth)
{
    return compute_ms(l, b->ranks[rank].flops_token, prefill_share) +
           compute_ms(l, attn_flops(b, rank, depth), prefill_attn_share);
}

static double tuned(double ms, double tune)
{
    return tune > 0 ? ms * tune : ms;
}

void tw_budget_predict(const tw_budget *b, const tw_budget_limits *l, const tw_budget_way *w,
                       uint32_t depth, tw_budget_speed *ret)
{
    const double chunk = b->chunk, n_exchanges = 2.0 * b->n_layers, row = 4.0 * b->d_model;
    tw_budget_speed s = {.decode_tok_s = 0};
    for (unsigned i = 0; i < b->n_ranks; i++) {
        const double team = l[i].n_threads > 1 ? team_layer_ms * b->n_layers : 0;
        bool by_memory = false;
        const double ms = decode_ms(b, i, &l[i], depth, &by_memory);
        const double prefill = team + prefill_ms(b, i, &l[i], depth) * chunk;
        add_rank(&s.decode, i, tuned(team + ms, l[i].decode_tune), by_memory);
        add_rank(&s.prefill, i, tuned(prefill, l[i].prefill_tune), false);
    }
    s.decode_read_ms = s.decode.most_ms;
    s.prefill_compute_ms = s.prefill.most_ms;
    s.decode_exchange_ms = (n_exchanges + 1) * exchange_ms(b, w, row); /* + 1: the candidates */
    s.prefill_exchange_ms = n_exchanges * exchange_ms(b, w, row * chunk);
    *ret = s;
    ret->decode_tok_s = 1e3 / (ret->decode_read_ms + ret->decode_exchange_ms);
    ret->prefill_tok_s = 1e3 * chunk / (ret->prefill_compute_ms + ret->prefill_exchange_ms);
}

void tw_budget_tune(const tw_model_config *c, const tw_budget *b, const tw_trial *t,
                    tw_budget_limits *l)
{
    tw_budget cut = *b;
    tw_budget_rank *r = &cut.ranks[0];
    tw_budget_limits plain = *l;
    tw_budget_speed s;
    tw_model_config few;
    tw_model_config_cut(c, t->n_layers, &few);
    plain.decode_tune = plain.prefill_tune = 0;
    cut.n_layers = t->n_layers;
    cut.chunk = t->chunk;
    r->weights = (uint64_t)t->weight_bytes;
    r->idle_weights =
        r->idle_weights / TW_MAX(c->n_expert_layers, 1u) * few.n_expert_layers; /* of experts */
    r->flops_token = matrix_flops(&few, &r->shard);
    r->kv_token_bytes = r->kv_token_bytes / c->n_layers * t->n_layers;
    r->shard.n_vocab = 0; /* the trial makes no logits */
    tw_budget_predict(&cut, &plain, &(tw_budget_way){.gbit_s = 1}, t->depth, &s);
    l->decode_tune = t->decode_ms / s.decode_read_ms;
    l->prefill_tune = t->prefill_ms / s.prefill_compute_ms;
}

/* The bytes of everything that is taken; they only grow with ctx. */
static int total_at(const tw_model_config *c, const tw_engine_opts *o, unsigned n_ranks,
                    unsigned rank, uint32_t ctx, uint64_t *ret, tw_err *err)
{
    tw_engine_opts at = *o;
    tw_rank_bytes taken;
    at.ctx = ctx;
    int rc = tw_rank_count_bytes(c, &at, n_ranks, rank, &taken, err);
    if (rc == 0)
        *ret = taken.kv + taken.work + taken.arrays;
    return rc;
}

int tw_budget_max_ctx(const tw_model *m, const tw_engine_opts *opts, unsigned n_ranks,
                      unsigned rank, uint64_t bytes, uint32_t *ret, tw_err *err)
{
    const tw_model_config *c = tw_model_get_config(m);
    tw_engine_opts o = *opts;
    tw_shard shard;
    uint64_t weights = 0;
    tw_engine_resolve(c, &o);
    int rc = tw_shard_init(c, n_ranks, rank, &shard, err);
    if (rc == 0)
        rc = tw_weights_count_bytes(m, &shard, &weights, err);
    if (rc != 0)
        return rc;
    uint32_t lo = 0, hi = TW_MIN(c->max_ctx, (uint32_t)(INT32_MAX / o.max_seqs)) / CTX_STEP;
    while (lo < hi) {
        const uint32_t mid = lo + (hi - lo + 1) / 2;
        uint64_t total = 0;
        rc = total_at(c, &o, n_ranks, rank, mid * CTX_STEP, &total, err);
        if (rc != 0 && rc != -EOVERFLOW)
            return rc;
        if (rc == 0 && weights + total <= bytes)
            lo = mid;
        else
            hi = mid - 1;
    }
    *ret = lo * CTX_STEP;
    return 0;
}
