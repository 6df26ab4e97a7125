/* SPDX-License-Identifier: Apache-2.0 */
/* Rank 0: requests in, events out. Opening, its thread, closing. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/engine_inside.h"

static void free_sessions(tw_session *s)
{
    while (s != NULL) {
        tw_session *next = s->next;
        tw_session_free(s);
        s = next;
    }
}

static void fill_info(struct tw_engine *e, int rc)
{
    const size_t partial = e->coll != NULL ? (size_t)e->rank.fwd.max_rows * 4 : 0;
    e->info.n_threads = e->rank.n_threads;
    e->info.ctx = e->rank.ctx;
    e->info.max_seqs = e->rank.max_seqs;
    e->info.weight_bytes = e->rank.weights.bytes;
    e->info.is_mapped = e->rank.weights.is_mapped;
    e->info.kv_bytes = e->rank.kv.pool_bytes;
    e->info.work_bytes = e->rank.fwd.work_bytes + e->rank.array_bytes;
    if (rc == 0)
        e->info.work_bytes += partial * e->rank.cfg->d_model;
    e->info.cpu = rc == 0 ? e->rank.kern->name : "";
}

static void publish_open(struct tw_engine *e, int rc, const tw_err *err)
{
    pthread_mutex_lock(&e->lock);
    e->broken = *err;
    e->broken.code = rc;
    e->opened = true;
    fill_info(e, rc);
    pthread_cond_broadcast(&e->cond);
    pthread_mutex_unlock(&e->lock);
}

static void end_all(struct tw_engine *e, int rc, const tw_err *err)
{
    pthread_mutex_lock(&e->lock);
    if (rc != 0) {
        e->broken = *err;
        e->broken.code = rc;
    }
    e->stop = true; /* no submit from here on */
    pthread_cond_broadcast(&e->told);
    tw_engine_take_inbox(e);
    pthread_mutex_unlock(&e->lock);
    for (tw_session *s = e->sessions; s != NULL; s = s->next)
        tw_session_finish(s, rc != 0 ? TW_FINISH_ERROR : TW_FINISH_CANCELLED, rc != 0 ? err : NULL,
                          tw_clock_now_ns());
    pthread_mutex_lock(&e->lock);
    free_sessions(e->sessions);
    e->sessions = NULL;
    tw_engine_count_sessions(e);
    pthread_mutex_unlock(&e->lock);
    memset(e->by_slot, 0, e->rank.max_seqs * sizeof(*e->by_slot)); /* the end runs a last step */
}

/* The others may be in the middle of decoding by themselves: run along until they listen. */
static void tell_end(struct tw_engine *e)
{
    tw_err ignored;
    while (!e->rank.plan_follows)
        if (tw_rank_apply(&e->rank, false, &ignored) != 0 ||
            tw_rank_step(&e->rank, true, &ignored) != 0)
            return;
    e->rank.plan.head = (tw_plan_head){.step = e->rank.step, .flags = TW_PLAN_END};
    if (tw_engine_send_plan(e, &ignored) != 0)
        return;
}

static void *engine_main(void *arg)
{
    struct tw_engine *e = arg;
    tw_err err = {0};
    int rc = tw_rank_init(&e->rank, e->model, e->coll, &e->opts, &err);
    e->rank.logits_sink = tw_engine_logits_of;
    e->rank.sink_ctx = e;
    publish_open(e, rc, &err);
    if (rc != 0)
        return NULL;
    rc = tw_engine_run(e, &err);
    end_all(e, rc, &err);
    if (rc == 0)
        tell_end(e);
    return NULL;
}

static int start_thread(struct tw_engine *e, tw_err *err)
{
    /* Before the ranks agree that they can serve. */
    e->by_slot = tw_mem_calloc(e->opts.max_seqs, sizeof(*e->by_slot));
    if (e->by_slot == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for %u sequences", e->opts.max_seqs);
    sigset_t all, old;
    sigfillset(&all);
    sigdelset(&all, SIGBUS);                  /* its own reading of a map: bus.h */
    pthread_sigmask(SIG_SETMASK, &all, &old); /* others are the main thread's */
    int rc = pthread_create(&e->thread, NULL, engine_main, e);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0)
        return tw_err_set(err, -rc, "cannot start the engine thread: %s", strerror(rc));
    e->has_thread = true;
    pthread_mutex_lock(&e->lock);
    while (!e->opened)
        pthread_cond_wait(&e->cond, &e->lock);
    rc = e->broken.code;
    if (rc != 0)
        *err = e->broken;
    pthread_mutex_unlock(&e->lock);
    return rc;
}

int tw_engine_open(tw_model *m, tw_coll *group, const tw_engine_opts *o, tw_engine **ret,
                   tw_err *err)
{
    tw_err local;
    struct tw_engine *e = tw_mem_calloc(1, sizeof(*e));
    if (e == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the engine");
    err = err != NULL ? err : &local;
    e->model = m;
    e->opts = *o;
    tw_engine_resolve(tw_model_get_config(m), &e->opts);
    e->coll = group;
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->cond, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&e->told, &attr);
    pthread_condattr_destroy(&attr);
    e->info.n_ranks = group != NULL ? tw_coll_n_ranks(group) : 1;
    e->info.vocab = tw_model_get_config(m)->vocab;
    int rc;
    if (group != NULL && tw_coll_rank(group) != 0) {
        rc = tw_rank_init(&e->rank, m, group, o, err);
        fill_info(e, rc);
    } else {
        rc = tw_model_tokenizer(m, &e->tok, err);
        rc = rc == 0 || rc == -ENOENT ? start_thread(e, err) : rc;
    }
    if (rc != 0) {
        tw_engine_close(e);
        return rc;
    }
    *ret = e;
    return 0;
}

int tw_engine_serve_rank(tw_engine *e, tw_err *err)
{
    const int rc = tw_rank_serve(&e->rank, err);
    e->served = rc == 0;
    return rc;
}

/* A short run would else never have its weights kept. Who has lost his group goes at once. */
static void end_keep(struct tw_engine *e)
{
    const bool well = e->has_thread ? e->broken.code == 0 : e->served;
    const uint64_t wait_ns = e->has_thread ? 3 * TW_NS_PER_S : 1 * TW_NS_PER_S;
    (void)tw_weights_end_keep(&e->rank.weights, well ? wait_ns : 0, NULL);
}

void tw_engine_close(tw_engine *e)
{
    if (e == NULL)
        return;
    if (e->has_thread) {
        pthread_mutex_lock(&e->lock);
        e->stop = true;
        pthread_cond_broadcast(&e->cond);
        pthread_mutex_unlock(&e->lock);
        pthread_join(e->thread, NULL);
    }
    end_keep(e);
    tw_rank_done(&e->rank);
    free_sessions(e->inbox);
    free_sessions(e->sessions);
    tw_mem_free(e->by_slot);
    pthread_cond_destroy(&e->cond);
    pthread_cond_destroy(&e->told);
    pthread_mutex_destroy(&e->lock);
    tw_mem_free(e);
}
