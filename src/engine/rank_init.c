/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "engine/rank.h"
#include "os/cpus.h"
#include "os/file.h"
#include "os/sys.h"

enum { CTX_CAP = 8192, SEQS_DEFAULT = 4, CHUNK_DEFAULT = 256 };

static const uint64_t load_limit_ns =
    3600 * TW_NS_PER_S; /* heartbeats find the dead much earlier */

enum tw_dtype tw_engine_quant_type(const tw_engine_opts *o)
{
    if (o->quant == TW_QUANT_NONE)
        return TW_F32;
    return o->quant == TW_QUANT_Q4 ? TW_Q4_0 : TW_Q8_0;
}

void tw_engine_resolve(const tw_model_config *c, tw_engine_opts *o)
{
    if (o->ctx == 0)
        o->ctx = TW_MIN(c->max_ctx, (uint32_t)CTX_CAP);
    if (o->max_seqs == 0)
        o->max_seqs = SEQS_DEFAULT;
    if (o->chunk == 0)
        o->chunk = CHUNK_DEFAULT;
    o->chunk = TW_MIN(o->chunk, o->ctx);
    if (o->kv == TW_KV_AUTO)
        o->kv = c->dtype == TW_F32 ? TW_KV_F32 : TW_KV_BF16;
    if (o->n_local == 0)
        o->n_local = 1;
}

/* This rank's cores: of those that the process may use its share, in one node of memory where that is
 * possible (what its threads load first lies there then); no pinning when ranks or threads outnumber
 * cores. */
static int make_team(tw_rank *r, const tw_engine_opts *o, tw_err *err)
{
    int cpus[TW_CPU_MAX];
    const unsigned n_cpus = TW_MIN(tw_sys_cpus(cpus, TW_CPU_MAX), (unsigned)TW_CPU_MAX);
    unsigned n = o->n_threads != 0 ? o->n_threads : TW_MAX(n_cpus / o->n_local, 1u);
    const bool pin = (uint64_t)n * o->n_local <= n_cpus;
    r->n_threads = n;
    r->n_numa = tw_cpus_order("/sys", cpus, n_cpus);
    /* Where memory is one, threads side by side: further apart they would be on cores' twins. */
    const size_t apart = r->n_numa > 1 ? n_cpus / o->n_local : n;
    return tw_team_new(n, pin ? cpus + o->i_local * apart : NULL, &r->team, err);
}

/* Zeroed; NULL when it fails, or is only counted. */
static void *take(tw_rank *r, size_t n, size_t size_bytes)
{
    r->array_bytes += (uint64_t)n * size_bytes;
    return r->only_count ? NULL : tw_mem_calloc(n, size_bytes);
}

static void *take_pages(tw_rank *r, size_t bytes)
{
    r->array_bytes += bytes;
    return r->only_count ? NULL : tw_pages_new(bytes);
}

/* In registered memory where there is a group. */
static void *take_shared(tw_rank *r, size_t bytes)
{
    if (r->coll == NULL)
        return take(r, 1, bytes);
    r->array_bytes += bytes;
    return tw_coll_alloc(r->coll, bytes);
}

static int take_arrays(tw_rank *r, tw_err *err)
{
    const uint32_t n = r->max_seqs, rows = r->chunk + n, pages = TW_DIV_UP(r->ctx, (uint32_t)64);
    const size_t v = r->cfg->vocab;
    r->seqs = take(r, n, sizeof(*r->seqs));
    r->page_tables = take(r, (size_t)n * pages, sizeof(*r->page_tables));
    r->counts = take_pages(r, n * v * sizeof(*r->counts));
    r->batch.tokens = take(r, rows, sizeof(uint32_t));
    r->batch.positions = take(r, rows, sizeof(uint32_t));
    r->batch.spans = take(r, (size_t)n * 2, sizeof(tw_span));
    r->batch.logit_rows = take(r, n, sizeof(uint32_t));
    r->logit_slots = take(r, n, sizeof(uint32_t));
    r->choices = take(r, n, sizeof(*r->choices));
    r->part0 = take(r, r->n_ranks, sizeof(uint32_t));
    r->part_n = take(r, r->n_ranks, sizeof(uint32_t));
    r->full = take_pages(r, v * sizeof(float));
    r->order = take_pages(r, 2 * v * sizeof(*r->order));
    r->plan_max_bytes = tw_plan_max_bytes(n, r->chunk);
    r->plan_bytes = take(r, 1, r->plan_max_bytes);
    if (r->only_count)
        return 0;
    if (!r->seqs || !r->page_tables || !r->counts || !r->batch.tokens || !r->batch.positions ||
        !r->batch.spans || !r->batch.logit_rows || !r->logit_slots || !r->choices || !r->part0 ||
        !r->part_n || !r->full || !r->order || !r->plan_bytes)
        return tw_err_set(err, -ENOMEM, "no memory for %u sequences of %u positions", n, r->ctx);
    for (uint32_t i = 0; i < n; i++) {
        r->seqs[i].pages = r->page_tables + (size_t)i * pages;
        r->seqs[i].counts = r->counts + i * v;
    }
    return tw_plan_init(&r->plan, n, err);
}

/* Buffers that collectives read and write. */
static int take_exchange(tw_rank *r, tw_err *err)
{
    for (unsigned i = 0; i < r->n_ranks; i++) {
        tw_shard s;
        int rc = tw_shard_init(r->cfg, r->n_ranks, i, &s, err);
        if (rc != 0)
            return rc;
        if (!r->only_count) {
            r->part0[i] = s.vocab0;
            r->part_n[i] = s.n_vocab;
        }
        r->part_max = TW_MAX(r->part_max, s.n_vocab);
    }
    r->vote_max_bytes = sizeof(tw_vote_head) + r->max_seqs * sizeof(tw_row_best);
    size_t votes = r->vote_max_bytes * r->n_ranks;
    size_t parts = r->n_ranks > 1 ? (size_t)r->part_max * r->n_ranks * sizeof(float) : 0;
    r->votes = take_shared(r, votes);
    r->parts = parts > 0 ? take_shared(r, parts) : NULL;
    if (r->only_count || (r->votes != NULL && (r->parts != NULL || parts == 0)))
        return 0;
    return tw_err_set(err, -ENOMEM, "no memory for exchanged candidates and logits (%zu KiB)",
                      (votes + parts) >> 10);
}

int tw_rank_count_bytes(const tw_model_config *c, const tw_engine_opts *o, unsigned n_ranks,
                        unsigned rank, tw_rank_bytes *ret, tw_err *err)
{
    tw_rank r = {.cfg = c,
                 .n_ranks = n_ranks,
                 .rank = rank,
                 .ctx = o->ctx,
                 .max_seqs = o->max_seqs,
                 .chunk = o->chunk,
                 .only_count = true};
    tw_forward f = {.cfg = c,
                    .max_rows = o->chunk + o->max_seqs,
                    .max_logits = o->max_seqs,
                    .max_pages = TW_DIV_UP(o->ctx, (uint32_t)TW_KV_BLOCK),
                    .n_threads = o->n_threads,
                    .has_group = n_ranks > 1,
                    .wire16 = o->arith == TW_ARITH_WIRE16};
    size_t kv = 0;
    int rc = tw_shard_init(c, n_ranks, rank, &f.shard, err);
    if (rc == 0)
        rc = take_arrays(&r, err);
    if (rc == 0)
        rc = take_exchange(&r, err);
    if (rc != 0)
        return rc;
    if (!tw_kv_count_bytes(c->n_layers, f.shard.n_kv, c->head_dim,
                           o->kv == TW_KV_F32 ? TW_F32 : TW_BF16, o->max_seqs * f.max_pages, &kv))
        return tw_err_set(err, -EOVERFLOW, "KV cache of %u x %u positions overflows; lower --ctx",
                          o->max_seqs, o->ctx);
    *ret = (tw_rank_bytes){.kv = kv, .work = tw_forward_count_bytes(&f), .arrays = r.array_bytes};
    return 0;
}

static int check_opts(const tw_rank *r, const tw_engine_opts *o, tw_err *err)
{
    if (o->i_local >= o->n_local)
        return tw_err_set(err, -EINVAL, "local rank %u of %u: there is none", o->i_local,
                          o->n_local);
    if ((uint64_t)r->max_seqs * r->ctx > INT32_MAX || (uint64_t)r->chunk + r->max_seqs > INT32_MAX)
        return tw_err_set(err, -EINVAL, "%u sequences of %u positions are too many: lower --ctx",
                          r->max_seqs, r->ctx);
    return 0;
}

struct load_watch {
    const tw_engine_opts *o;
    tw_coll *coll;
    tw_err *err;
};

/* Weights may load for minutes; who has lost his group in the meantime goes. */
static int watch_load(void *ctx, uint64_t done_bytes, uint64_t total_bytes)
{
    const struct load_watch *w = ctx;
    if (w->o->progress != NULL)
        w->o->progress(w->o->progress_ctx, done_bytes, total_bytes);
    return w->coll != NULL ? tw_coll_health(w->coll, w->err) : 0;
}

static int load(tw_rank *r, const tw_engine_opts *o, tw_err *err)
{
    struct load_watch watch = {.o = o, .coll = r->coll, .err = err};
    tw_pack_opts packs = {.folder = o->pack_folder, .limit_bytes = o->pack_limit_bytes};
    int rc = check_opts(r, o, err);
    if (rc != 0)
        return rc;
    const uint32_t pages = r->max_seqs * TW_DIV_UP(r->ctx, (uint32_t)TW_KV_BLOCK);
    if (r->ctx > r->cfg->max_ctx)
        return tw_err_set(err, -EINVAL, "--ctx %u: the model was made for at most %u positions",
                          r->ctx, r->cfg->max_ctx);
    r->kern = tw_kern_get(o->cpu);
    if (r->kern == NULL)
        return tw_err_set(err, -EINVAL, "TW_CPU=%s: not on this machine; there are: %s", o->cpu,
                          tw_kern_names());
    tw_forward *f = &r->fwd;
    rc = tw_shard_init(r->cfg, r->n_ranks, r->rank, &f->shard, err);
    if (rc == 0)
        rc = make_team(r, o, err);
    if (rc == 0)
        rc = take_arrays(r, err);
    if (rc == 0)
        rc = take_exchange(r, err);
    if (rc == 0)
        rc = tw_profiler_new(r->coll, o->profile, &r->profiler, err);
    packs.copy = r->n_numa > 1;
    if (rc == 0)
        rc = tw_weights_load_cached(r->model, &f->shard, r->team, watch_load, &watch, &packs,
                                    &r->weights, err);
    if (rc == 0)
        rc = tw_kv_init(&r->kv, r->cfg->n_layers, f->shard.n_kv, r->cfg->head_dim,
                        o->kv == TW_KV_F32 ? TW_F32 : TW_BF16, pages, err);
    if (rc != 0)
        return rc;
    f->model = r->model;
    f->cfg = r->cfg;
    f->weights = &r->weights;
    f->kern = r->kern;
    f->team = r->team;
    f->coll = r->coll;
    f->kv = &r->kv;
    f->profiler = r->profiler;
    f->wire16 = o->arith == TW_ARITH_WIRE16;
    f->max_rows = r->chunk + r->max_seqs;
    f->max_logits = r->max_seqs;
    f->max_pages = TW_DIV_UP(r->ctx, (uint32_t)TW_KV_BLOCK);
    return tw_forward_init(f, err);
}

/* Every rank says whether it has loaded; the first that has not gives the error of all. */
static int agree_loaded(tw_rank *r, int rc, tw_err *err)
{
    if (r->coll == NULL)
        return rc;
    struct {
        int32_t code;
        char msg[240];
    } *all = tw_coll_alloc(r->coll, sizeof(*all) * r->n_ranks);
    if (all == NULL)
        return rc != 0 ? rc : tw_err_set(err, -ENOMEM, "no memory to agree on the load");
    all[r->rank].code = rc;
    if (rc != 0)
        memcpy(all[r->rank].msg, err->msg, sizeof(all->msg));
    tw_err lost = {0};
    int rc2 = tw_coll_all_gather_start(r->coll, &all[r->rank], sizeof(*all), all, &lost);
    if (rc2 == 0)
        rc2 = tw_coll_wait(r->coll, load_limit_ns, &lost);
    if (rc != 0)
        return rc; /* our own cause says more */
    if (rc2 != 0) {
        *err = lost;
        return rc2;
    }
    for (unsigned i = 0; i < r->n_ranks; i++)
        if (all[i].code != 0)
            return tw_err_set(err, all[i].code, "rank %u: %.220s", i, all[i].msg);
    return 0;
}

int tw_rank_init(tw_rank *r, tw_model *m, tw_coll *coll, const tw_engine_opts *opts, tw_err *err)
{
    tw_engine_opts o = *opts;
    memset(r, 0, sizeof(*r));
    r->model = m;
    r->cfg = tw_model_get_config(m);
    tw_engine_resolve(r->cfg, &o);
    tw_model_set_quant(m, tw_engine_quant_type(&o));
    r->coll = coll;
    r->rank = coll != NULL ? tw_coll_rank(coll) : 0;
    r->n_ranks = coll != NULL ? tw_coll_n_ranks(coll) : 1;
    r->ctx = o.ctx;
    r->max_seqs = o.max_seqs;
    r->chunk = o.chunk;
    r->overlap = o.overlap;
    r->plan_follows = true;
    int rc = agree_loaded(r, load(r, &o, err), err);
    if (rc != 0)
        tw_rank_done(r);
    return rc;
}

void tw_rank_done(tw_rank *r)
{
    tw_forward_done(&r->fwd);
    tw_kv_done(&r->kv);
    tw_weights_done(&r->weights);
    tw_team_free(r->team);
    tw_profiler_free(r->profiler);
    tw_plan_done(&r->plan);
    tw_mem_free(r->seqs);
    tw_mem_free(r->page_tables);
    tw_mem_free(r->batch.tokens);
    tw_mem_free(r->batch.positions);
    tw_mem_free(r->batch.spans);
    tw_mem_free(r->batch.logit_rows);
    tw_mem_free(r->logit_slots);
    tw_mem_free(r->choices);
    tw_mem_free(r->part0);
    tw_mem_free(r->part_n);
    tw_mem_free(r->plan_bytes);
    if (r->coll == NULL)
        tw_mem_free(r->votes);
    const size_t v = r->cfg != NULL ? r->cfg->vocab : 0;
    tw_pages_free(r->counts, r->max_seqs * v * sizeof(*r->counts));
    tw_pages_free(r->full, v * sizeof(float));
    tw_pages_free(r->order, 2 * v * sizeof(*r->order));
    memset(r, 0, sizeof(*r));
}
