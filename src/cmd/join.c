/* SPDX-License-Identifier: Apache-2.0 */
/* What every rank does, head or not: model, facts, group, engine. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cmd/node.h"
#include "model/model.h"
#include "model/pack_store.h"
#include "os/sys.h"

static void draw_progress(void *ctx, uint64_t done_bytes, uint64_t total_bytes)
{
    static uint64_t last_ns, first_ns;
    const tw_node *n = ctx;
    uint64_t now = tw_clock_now_ns();
    if (first_ns == 0)
        first_ns = now;
    const bool end = done_bytes >= total_bytes;
    /* a model that loads at once needs no bar */
    if (now - first_ns < 300 * TW_NS_PER_MS || (now - last_ns < 100 * TW_NS_PER_MS && !end))
        return;
    last_ns = now;
    char bar[31];
    int n_full = total_bytes > 0 ? (int)(done_bytes * 30 / total_bytes) : 30;
    memset(bar, '.', 30);
    memset(bar, '#', (size_t)n_full);
    bar[30] = '\0';
    const double s = (double)(now - first_ns) / 1e9;
    fprintf(stderr, "\rloading %s [%s] %3d%% %.1f GB/s %s", tw_model_name(n->model), bar,
            total_bytes > 0 ? (int)(done_bytes * 100 / total_bytes) : 100,
            (double)done_bytes / 1e9 / (s > 0 ? s : 1), end ? "\n" : "");
    fflush(stderr);
}

/* Without a home folder there is no cache, and no error. */
static void find_packs(const tw_args *a, char folder[TW_PACK_PATH_BYTES], tw_engine_opts *o)
{
    tw_err ignored;
    if (a->no_packs || tw_pack_folder_find(folder, &ignored) != 0)
        return;
    o->pack_folder = folder;
    o->pack_limit_bytes = (uint64_t)a->packs_gib << 30;
}

int tw_node_join(tw_node *n, tw_coll_opts *co, tw_err *err)
{
    int rc = n->model != NULL ? 0 : tw_model_open(n->args.model, &n->model, err);
    if (rc != 0)
        return rc;
    tw_engine_opts o = n->args.engine;
    char packs[TW_PACK_PATH_BYTES];
    find_packs(&n->args, packs, &o);
    o.profile = n->args.profile || n->args.profile_trace != NULL;
    if (co->rank == 0 && isatty(STDERR_FILENO)) {
        o.progress = draw_progress;
        o.progress_ctx = n;
    }
    if (co->n_ranks > 1) {
        int cpus[TW_CPU_MAX];
        const unsigned n_cpus = tw_sys_cpus(cpus, TW_CPU_MAX);
        co->n_threads = o.n_threads != 0 ? o.n_threads : n_cpus / (o.n_local != 0 ? o.n_local : 1);
        tw_coll_fact *facts;
        size_t n_facts;
        rc = tw_engine_facts(n->model, &o, co->n_ranks, &facts, &n_facts, err);
        if (rc != 0)
            return rc;
        co->facts = facts;
        co->n_facts = n_facts;
        rc = tw_coll_open(co, &n->coll, err);
        tw_engine_facts_free(facts, n_facts);
        if (rc != 0)
            return rc;
        if (n->on_coll != NULL)
            n->on_coll(n);
    }
    atomic_store(&n->joined, true);
    return tw_engine_open(n->model, n->coll, &o, &n->engine, err);
}

void tw_node_leave(tw_node *n)
{
    tw_engine_close(n->engine);
    tw_coll_close(n->coll);
    tw_model_close(n->model);
    n->engine = NULL;
    n->coll = NULL;
    n->model = NULL;
}
