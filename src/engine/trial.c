/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/trial.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "engine/forward.h"
#include "engine/rank.h"
#include "os/sys.h"

enum { N_CHUNKS = 3, N_STEPS_MAX = 64 };
static const uint64_t enough_bytes = 256 << 20; /* more than any cache */
static const uint64_t decode_ns = 300 * TW_NS_PER_MS, prefill_ns = 1500 * TW_NS_PER_MS;

typedef struct trial {
    tw_model_config cfg; /* the model's, with fewer layers */
    tw_team *team;
    tw_weights weights;
    tw_kv kv;
    tw_forward fwd;
    uint32_t *tokens, *positions, *pages; /* [chunk], [chunk], [n_pages] */
    uint32_t depth;
} trial;

/* How many layers are enough; their bytes. */
static int size_up(const tw_model *m, const tw_shard *s, uint32_t *ret_n, uint64_t *ret_bytes,
                   tw_err *err)
{
    const tw_model_config *c = tw_model_get_config(m);
    const uint64_t room = tw_sys_mem_available_bytes() / 4;
    uint64_t all = 0, bytes = 0;
    int rc = tw_weights_count_layer_bytes(m, s, c->n_layers, &all, err);
    if (rc != 0)
        return rc;
    const uint64_t n = TW_DIV_UP(enough_bytes * c->n_layers, TW_MAX(all, 1u));
    const uint32_t n_layers = (uint32_t)TW_MIN(n, (uint64_t)c->n_layers);
    rc = tw_weights_count_layer_bytes(m, s, n_layers, &bytes, err);
    if (rc == 0 && bytes > room)
        return tw_err_set(err, -ENOMEM,
                          "%u layers of it take %llu MiB, more than a quarter of what "
                          "is available",
                          n_layers, (unsigned long long)(bytes >> 20));
    *ret_n = n_layers;
    *ret_bytes = bytes;
    return rc;
}

static int make_team(trial *t, unsigned n_threads, tw_err *err)
{
    int cpus[TW_CPU_MAX];
    const bool pin = n_threads <= tw_sys_cpus(cpus, TW_CPU_MAX);
    return tw_team_new(n_threads, pin ? cpus : NULL, &t->team, err);
}

static int take(trial *t, const tw_model *m, const tw_engine_opts *o, uint32_t depth, tw_err *err)
{
    const uint32_t n_pages = TW_DIV_UP(depth + o->chunk, (uint32_t)TW_KV_BLOCK);
    tw_forward *f = &t->fwd;
    int rc = tw_weights_blank(m, &f->shard, t->cfg.n_layers, &t->weights, err);
    if (rc == 0)
        rc = tw_kv_init(&t->kv, t->cfg.n_layers, f->shard.n_kv, t->cfg.head_dim,
                        o->kv == TW_KV_F32 ? TW_F32 : TW_BF16, n_pages, err);
    if (rc != 0)
        return rc;
    memset(t->kv.pool, 0, t->kv.pool_bytes); /* pages that nobody wrote are all one page */
    t->tokens = tw_mem_calloc(o->chunk, sizeof(*t->tokens));
    t->positions = tw_mem_calloc(o->chunk, sizeof(*t->positions));
    t->pages = tw_mem_calloc(n_pages, sizeof(*t->pages));
    if (t->tokens == NULL || t->positions == NULL || t->pages == NULL)
        return tw_err_set(err, -ENOMEM, "no memory to try a step of %u rows", o->chunk);
    for (uint32_t i = 0; i < n_pages; i++)
        t->pages[i] = i;
    for (uint32_t i = 0; i < o->chunk; i++)
        t->tokens[i] = i % t->cfg.vocab;
    f->model = m;
    f->cfg = &t->cfg;
    f->weights = &t->weights;
    f->team = t->team;
    f->kv = &t->kv;
    f->wire16 = o->arith == TW_ARITH_WIRE16;
    f->max_rows = o->chunk;
    f->max_logits = 1;
    f->max_pages = n_pages;
    return tw_forward_init(f, err);
}

/* The median step of n rows around position depth, ms, in at most so much time. */
static int time_steps(trial *t, uint32_t n, unsigned n_steps, uint64_t limit_ns, double *ret_ms,
                      tw_err *err)
{
    double ms[N_STEPS_MAX];
    const uint32_t pos0 = t->depth - TW_MIN(t->depth, n / 2);
    tw_span span = {.n_rows = n, .pos0 = pos0, .pages = t->pages};
    for (uint32_t i = 0; i < n; i++)
        t->positions[i] = pos0 + i;
    const tw_batch b = {
        .n_rows = n, .tokens = t->tokens, .positions = t->positions, .spans = &span, .n_spans = 1};
    const uint64_t begin = tw_clock_now_ns();
    unsigned n_done = 0;
    uint64_t now = begin;
    while (n_done < n_steps && (n_done == 0 || now - begin < limit_ns)) {
        int rc = tw_forward_run(&t->fwd, &b, err);
        if (rc != 0)
            return rc;
        const uint64_t then = now;
        now = tw_clock_now_ns();
        unsigned at = n_done++; /* kept in order */
        for (; at > 0 && ms[at - 1] > (double)(now - then) / 1e6; at--)
            ms[at] = ms[at - 1];
        ms[at] = (double)(now - then) / 1e6;
    }
    *ret_ms = ms[n_done / 2];
    return 0;
}

static int time_both(trial *t, tw_trial *ret, tw_err *err)
{
    double warm;
    t->depth = ret->depth;
    int rc = time_steps(t, 1, 1, 0, &warm, err);
    if (rc == 0)
        rc = time_steps(t, ret->chunk, N_CHUNKS, prefill_ns, &ret->prefill_ms, err);
    if (rc == 0)
        rc = time_steps(t, 1, N_STEPS_MAX, decode_ns, &ret->decode_ms, err);
    return rc;
}

static int run(trial *t, const tw_model *m, const tw_engine_opts *o, unsigned n_threads,
               uint32_t depth, tw_trial *ret, tw_err *err)
{
    t->fwd.kern = tw_kern_get(o->cpu);
    if (t->fwd.kern == NULL)
        return tw_err_set(err, -EINVAL, "TW_CPU=%s: not on this machine; there are: %s", o->cpu,
                          tw_kern_names());
    uint32_t n_layers = 0;
    uint64_t bytes = 0;
    int rc = tw_shard_init(tw_model_get_config(m), 1, 0, &t->fwd.shard, err);
    if (rc == 0)
        rc = size_up(m, &t->fwd.shard, &n_layers, &bytes, err);
    tw_model_config_cut(tw_model_get_config(m), n_layers, &t->cfg);
    if (rc == 0)
        rc = make_team(t, n_threads, err);
    if (rc == 0)
        rc = take(t, m, o, depth, err);
    if (rc != 0)
        return rc;
    tw_trial got = {.n_layers = n_layers,
                    .chunk = o->chunk,
                    .depth = depth,
                    .weight_bytes = (double)bytes};
    rc = time_both(t, &got, err);
    if (rc == 0)
        *ret = got;
    return rc;
}

int tw_trial_run(const tw_model *m, const tw_engine_opts *o, unsigned n_threads, uint32_t depth,
                 tw_trial *ret, tw_err *err)
{
    trial *t TW_CLEANUP(tw_mem_freep) = tw_mem_calloc(1, sizeof(*t));
    if (t == NULL)
        return tw_err_set(err, -ENOMEM, "no memory to try a layer");
    int rc = run(t, m, o, n_threads, depth, ret, err);
    tw_forward_done(&t->fwd);
    tw_kv_done(&t->kv);
    tw_weights_done(&t->weights);
    tw_mem_free(t->tokens);
    tw_mem_free(t->positions);
    tw_mem_free(t->pages);
    tw_team_free(t->team);
    return rc;
}
