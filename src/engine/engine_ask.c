/* SPDX-License-Identifier: Apache-2.0 */
/* What any thread may ask of an engine. */
#include <errno.h>
#include <math.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "engine/engine_inside.h"
#include "os/sys.h"

static bool is_within(float x, float least, float most)
{
    return x >= least && x <= most; /* false for NaN */
}

/* Wide, but no logit of a sound model leaves the floats by them: one request's numbers must not
 * look like damaged weights, which end the engine. */
static int check_sampling(const tw_sampling *p, tw_err *err)
{
    if (is_within(p->temperature, 0.0f, 100.0f) && p->top_p > 0.0f && p->top_p <= 1.0f &&
        is_within(p->min_p, 0.0f, 1.0f) && is_within(p->repetition_penalty, 0.001f, 1000.0f) &&
        fabsf(p->presence_penalty) <= 1000.0f && fabsf(p->frequency_penalty) <= 1000.0f)
        return 0;
    return tw_err_set(err, -EINVAL,
                      "sampling wants temperature 0..100, top_p in (0, 1], min_p 0..1, "
                      "repetition_penalty 0.001..1000, the other penalties -1000..1000");
}

static int check_request(const tw_engine *e, const tw_request *r, tw_err *err)
{
    if (!e->has_thread || r->on_event == NULL)
        return tw_err_set(err, -EINVAL, "%s",
                          e->has_thread ? "a request without on_event has nobody to answer"
                                        : "requests go to rank 0");
    if (r->n_prompt == 0)
        return tw_err_set(err, -EINVAL, "the prompt is empty: at least one token is wanted");
    if (r->n_prompt >= e->rank.ctx)
        return tw_err_set(err, -E2BIG,
                          "the prompt has %zu tokens, the context %u: shorten it or raise --ctx",
                          r->n_prompt, e->rank.ctx);
    if (r->timed_from >= r->n_prompt)
        return tw_err_set(err, -EINVAL, "time from prompt token %zu on: the prompt has %zu tokens",
                          r->timed_from, r->n_prompt);
    for (size_t i = 0; i < r->n_prompt; i++)
        if (r->prompt[i] >= e->info.vocab)
            return tw_err_set(err, -EINVAL, "prompt token %u is outside the vocabulary of %u",
                              r->prompt[i], e->info.vocab);
    return check_sampling(&r->sampling, err);
}

int tw_engine_submit(tw_engine *e, const tw_request *r, uint64_t *ret_id, tw_err *err)
{
    tw_session *s = NULL;
    int rc = check_request(e, r, err);
    if (rc == 0)
        rc = tw_session_new(r, e->tok, &s, err);
    if (rc != 0)
        return rc;
    s->t_submit_ns = tw_clock_now_ns();
    pthread_mutex_lock(&e->lock);
    if (e->broken.code != 0 || e->stop) {
        rc = e->broken.code != 0 ? e->broken.code : -ESHUTDOWN;
        tw_err_set(err, rc, "%s", e->broken.code != 0 ? e->broken.msg : "the engine is closing");
        tw_session_free(s);
    } else {
        s->id = ++e->last_id;
        *ret_id = s->id;
        s->next = e->inbox;
        e->inbox = s;
        e->posted = true;
        pthread_cond_broadcast(&e->cond);
    }
    pthread_mutex_unlock(&e->lock);
    return rc;
}

void tw_engine_cancel(tw_engine *e, uint64_t id)
{
    pthread_mutex_lock(&e->lock);
    tw_session *lists[] = {e->inbox, e->sessions};
    for (unsigned i = 0; i < TW_ARRAY_LEN(lists); i++)
        for (tw_session *s = lists[i]; s != NULL; s = s->next)
            if (s->id == id)
                s->cancel = true;
    e->posted = true;
    pthread_cond_broadcast(&e->cond);
    pthread_mutex_unlock(&e->lock);
}

int tw_engine_health(tw_engine *e, tw_err *err)
{
    pthread_mutex_lock(&e->lock);
    int rc = e->broken.code;
    if (rc != 0 && err != NULL)
        *err = e->broken;
    pthread_mutex_unlock(&e->lock);
    return rc == 0 && e->coll != NULL ? tw_coll_health(e->coll, err) : rc;
}

void tw_engine_get_info(const tw_engine *engine, tw_engine_info *ret)
{
    union {
        const tw_engine *c;
        tw_engine *m;
    } u = {.c = engine}; /* a lock is not state */
    tw_engine *e = u.m;
    pthread_mutex_lock(&e->lock);
    *ret = e->info;
    for (const tw_session *s = e->inbox; s != NULL; s = s->next)
        ret->n_waiting++;
    ret->is_keeping = e->opened && tw_weights_is_keeping(&e->rank.weights);
    pthread_mutex_unlock(&e->lock);
}

void tw_engine_get_stats(tw_engine *e, uint64_t wait_ns, tw_engine_stats *ret)
{
    const uint64_t until = tw_clock_now_ns() + wait_ns;
    const struct timespec ts = {(time_t)(until / TW_NS_PER_S), (int)(until % TW_NS_PER_S)};
    *ret = (tw_engine_stats){.rss_bytes = tw_sys_rss_bytes(), .has_coll = e->coll != NULL};
    tw_engine_get_info(e, &ret->info);
    pthread_mutex_lock(&e->lock);
    const uint64_t mine = ++e->n_asked;
    e->posted = true; /* an idle engine looks again */
    pthread_cond_broadcast(&e->cond);
    int rc = 0;
    while (rc == 0 && e->n_told < mine && !e->stop && e->coll != NULL)
        rc = pthread_cond_timedwait(&e->told, &e->lock, &ts);
    ret->coll_is_old = e->coll != NULL && e->n_told < mine;
    ret->coll = e->coll_stats;
    ret->busy_ns = e->busy_ns;
    const uint64_t now = tw_clock_now_ns();
    ret->n_prompt_10s = tw_rate_sum(&e->prompt_rate, now);
    ret->n_generated_10s = tw_rate_sum(&e->made_rate, now);
    pthread_mutex_unlock(&e->lock);
}

int tw_engine_profile(tw_engine *e, tw_profile *ret, tw_err *err)
{
    if (!e->has_thread || e->rank.profiler == NULL)
        return tw_err_set(err, -EINVAL, "no profile is kept: the engine was not asked to");
    pthread_mutex_lock(&e->lock);
    e->wants_profile = e->posted = true;
    e->profile_rc = -ECANCELED;
    (void)!tw_err_set(&e->profile_err, -ECANCELED, "the engine ended before its profile");
    pthread_cond_broadcast(&e->cond);
    while (e->wants_profile && !e->stop && e->broken.code == 0)
        pthread_cond_wait(&e->told, &e->lock);
    const int rc = e->broken.code != 0 ? e->broken.code : e->profile_rc;
    if (rc == 0)
        *ret = e->profile;
    else if (err != NULL)
        *err = e->broken.code != 0 ? e->broken : e->profile_err;
    pthread_mutex_unlock(&e->lock);
    return rc;
}

void tw_sampling_defaults(const tw_model *m, tw_sampling *ret)
{
    const tw_gen_config *g = tw_model_get_gen(m);
    *ret = (tw_sampling){.temperature = g->do_sample ? g->temperature : 0.0f,
                         .top_p = g->top_p,
                         .min_p = g->min_p,
                         .top_k = g->top_k,
                         .repetition_penalty = 1.0f};
}
