/* SPDX-License-Identifier: Apache-2.0 */
/* Rank 0: requests in, events out. One thread owns the rank; everybody else posts under the lock. */
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "engine/rank.h"
#include "engine/rate.h"
#include "engine/session.h"
#include "os/sys.h"

struct tw_engine {
    tw_rank rank;
    tw_model *model;
    const tw_tokenizer *tok; /* NULL: the model has none */
    tw_engine_opts opts;
    tw_coll *coll;
    bool has_thread, served; /* served: to a good end, as a rank above 0 */
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t cond;
    bool opened, stop, posted; /* posted: something for the thread to look at */
    tw_err broken;             /* code 0: fine */
    uint64_t last_id;
    tw_session *inbox;    /* newest first */
    tw_session *sessions; /* oldest first: waiting and running */
    tw_session **by_slot; /* [max_seqs], engine thread only */
    tw_engine_info info;  /* n_waiting without the inbox */
    tw_rate prompt_rate, made_rate;
    uint64_t busy_ns;
    uint64_t n_asked, n_told; /* of coll_stats: the engine thread answers what was asked */
    tw_coll_stats coll_stats;
    pthread_cond_t told;
    bool wants_profile; /* somebody waits for it: told when it is there */
    int profile_rc;
    tw_err profile_err;
    tw_profile profile;
};

/* Colder is greedy: logits divided by it would pass the largest float. */
static const float coldest = 1e-6f;

static void free_sessions(tw_session *s)
{
    while (s != NULL) {
        tw_session *next = s->next;
        tw_session_free(s);
        s = next;
    }
}

/* ---- what the engine thread does between steps ---- */

static void append(tw_session **list, tw_session *s)
{
    while (*list != NULL)
        list = &(*list)->next;
    s->next = NULL;
    *list = s;
}

/* Oldest first into sessions. Under the lock. */
static void take_inbox(struct tw_engine *e)
{
    tw_session *reversed = NULL;
    while (e->inbox != NULL) {
        tw_session *s = e->inbox;
        e->inbox = s->next;
        s->next = reversed;
        reversed = s;
    }
    while (reversed != NULL) {
        tw_session *s = reversed;
        reversed = s->next;
        append(&e->sessions, s);
    }
}

/* Ends cancelled sessions. Events are sent without the lock, so flags are read first. */
static void finish_cancelled(struct tw_engine *e)
{
    for (tw_session *s = e->sessions; s != NULL; s = s->next) {
        pthread_mutex_lock(&e->lock);
        bool cancel = s->cancel;
        pthread_mutex_unlock(&e->lock);
        if (cancel)
            tw_session_finish(s, TW_FINISH_CANCELLED, NULL, tw_clock_now_ns());
    }
}

static tw_seq_params params_of(const tw_session *s, uint32_t ctx)
{
    const tw_sampling *p = &s->req.sampling;
    const uint32_t room = ctx - (uint32_t)s->req.n_prompt;
    const uint32_t wish = s->req.max_tokens != 0 ? s->req.max_tokens : room;
    return (tw_seq_params){
        .n_prompt = (uint32_t)s->req.n_prompt,
        .max_tokens = TW_MIN(wish, room),
        .temperature = p->temperature >= coldest ? p->temperature : 0.0f,
        .top_p = p->top_p,
        .min_p = p->min_p,
        .top_k = p->top_k,
        .seed = p->seed,
        .choice = p->choice,
        .presence_penalty = p->presence_penalty,
        .frequency_penalty = p->frequency_penalty,
        .repetition_penalty = p->repetition_penalty,
        .flags = (s->req.ignore_eos ? TW_SEQ_IGNORE_EOS : 0u) |
                 (s->req.ret_logits != NULL ? TW_SEQ_WANT_LOGITS : 0u),
    };
}

/* Slots of sessions that are over, whatever the ranks think: told with the next plan. */
static void plan_drops(struct tw_engine *e)
{
    tw_plan *p = &e->rank.plan;
    for (uint32_t i = 0; i < e->rank.max_seqs; i++) {
        if (e->by_slot[i] == NULL || !e->by_slot[i]->done)
            continue;
        if (e->rank.seqs[i].state != TW_SEQ_FREE)
            p->drops[p->head.n_drop++] = i;
        e->by_slot[i]->slot = -1;
        e->by_slot[i] = NULL;
    }
}

static void plan_admits(struct tw_engine *e)
{
    tw_plan *p = &e->rank.plan;
    uint32_t slot = 0;
    for (tw_session *s = e->sessions; s != NULL; s = s->next) {
        if (s->slot >= 0 || s->done)
            continue;
        while (slot < e->rank.max_seqs && e->by_slot[slot] != NULL)
            slot++;
        if (slot == e->rank.max_seqs)
            return;
        s->slot = (int)slot;
        s->t_start_ns = tw_clock_now_ns();
        e->by_slot[slot] = s;
        p->admits[p->head.n_admit++] =
            (tw_plan_admit){.slot = slot, .params = params_of(s, e->rank.ctx)};
    }
}

/* Prompt tokens, oldest session first, up to the chunk. */
static void plan_feeds(struct tw_engine *e)
{
    tw_plan *p = &e->rank.plan;
    uint32_t n_left = e->rank.chunk;
    for (tw_session *s = e->sessions; s != NULL && n_left > 0; s = s->next) {
        uint32_t n_want = (uint32_t)s->req.n_prompt - s->n_fed;
        if (s->slot < 0 || s->done || n_want == 0)
            continue;
        uint32_t n = TW_MIN(n_want, n_left);
        p->feeds[p->head.n_feed++] = (tw_plan_feed){.slot = (uint32_t)s->slot,
                                                    .n_tokens = n,
                                                    .tokens = s->req.prompt + s->n_fed};
        s->n_fed += n;
        n_left -= n;
    }
}

static void make_plan(struct tw_engine *e)
{
    e->rank.plan.head = (tw_plan_head){.step = e->rank.step};
    plan_drops(e);
    plan_admits(e);
    plan_feeds(e);
    if (e->rank.overlap == TW_OVERLAP_ON ||
        (e->rank.overlap == TW_OVERLAP_AUTO && tw_overlap_choose(&e->rank.overlap_choice)))
        e->rank.plan.head.flags |= TW_PLAN_OVERLAP;
}

/* Others see sessions only through these numbers: state and slot are the engine thread's. Under the
 * lock. */
static void count_sessions(struct tw_engine *e)
{
    e->info.n_running = e->info.n_waiting = 0;
    for (const tw_session *s = e->sessions; s != NULL; s = s->next) {
        e->info.n_running += s->slot >= 0 && !s->done;
        e->info.n_waiting += s->slot < 0 && !s->done;
    }
}

/* Removes sessions that are done and hold no slot. */
static void sweep(struct tw_engine *e)
{
    pthread_mutex_lock(&e->lock); /* cancel walks the list */
    for (tw_session **at = &e->sessions; *at != NULL;) {
        tw_session *s = *at;
        if (s->done && s->slot < 0) {
            *at = s->next;
            tw_session_free(s);
        } else {
            at = &s->next;
        }
    }
    count_sessions(e);
    pthread_mutex_unlock(&e->lock);
}

static bool someone_waits(const struct tw_engine *e)
{
    for (const tw_session *s = e->sessions; s != NULL; s = s->next)
        if (s->slot < 0 && !s->done)
            return true;
    return false;
}

/* Must the next step have a plan? Arrivals, prompts in work, cancels and stops. */
static bool wants_plan(struct tw_engine *e)
{
    bool has_free = false, wants = false, waits = false;
    for (uint32_t i = 0; i < e->rank.max_seqs; i++) {
        const tw_session *s = e->by_slot[i];
        has_free = has_free || s == NULL;
        wants = wants || (s != NULL && (s->done || s->n_fed < s->req.n_prompt));
    }
    pthread_mutex_lock(&e->lock);
    waits = e->inbox != NULL || someone_waits(e);
    for (const tw_session *s = e->sessions; s != NULL; s = s->next)
        wants = wants || (s->cancel && !s->done);
    pthread_mutex_unlock(&e->lock);
    return wants || (waits && has_free);
}

static void emit_choices(struct tw_engine *e, bool has_plan, uint64_t began_ns)
{
    const uint64_t now = tw_clock_now_ns();
    uint64_t n_fed = 0, n_made = 0;
    for (uint32_t i = 0; has_plan && i < e->rank.plan.head.n_feed; i++)
        n_fed += e->rank.plan.feeds[i].n_tokens;
    for (uint32_t i = 0; i < e->rank.n_choices; i++) {
        const tw_choice *c = &e->rank.choices[i];
        tw_session *s = e->by_slot[c->slot];
        if (s == NULL || s->done) /* the surplus token after a stop or cancel */
            continue;
        n_made++;
        if (c->ended && c->why == TW_FINISH_STOP)
            s->n_generated++; /* the end token counts, and is not text */
        else if (tw_session_token(s, c->id, now) != 0)
            continue;
        if (c->ended)
            tw_session_finish(s, c->why, NULL, now);
    }
    pthread_mutex_lock(&e->lock);
    e->info.n_steps++;
    e->info.n_generated_tokens += n_made;
    e->info.n_prompt_tokens += n_fed;
    tw_rate_add(&e->prompt_rate, now, n_fed);
    tw_rate_add(&e->made_rate, now, n_made);
    e->busy_ns += now - began_ns;
    count_sessions(e);
    pthread_mutex_unlock(&e->lock);
}

/* Between two steps the collectives' counters are nobody else's. */
static void tell_stats(struct tw_engine *e)
{
    pthread_mutex_lock(&e->lock);
    const uint64_t n_asked = e->n_asked;
    const bool asked = n_asked != e->n_told;
    pthread_mutex_unlock(&e->lock);
    if (!asked)
        return;
    tw_coll_stats now = {0};
    if (e->coll != NULL)
        tw_coll_get_stats(e->coll, &now);
    pthread_mutex_lock(&e->lock);
    e->coll_stats = now;
    e->n_told = n_asked;
    pthread_cond_broadcast(&e->told);
    pthread_mutex_unlock(&e->lock);
}

/* Sleeps until something is posted, unless there is work already. False: stop. */
static bool wait_for_work(struct tw_engine *e)
{
    tell_stats(e);
    pthread_mutex_lock(&e->lock);
    const bool idle = tw_rank_is_idle(&e->rank) && !someone_waits(e);
    /* Whoever wants a profile has posted that once, perhaps while something was still generated. */
    while (idle && !e->stop && !e->posted && !e->wants_profile)
        pthread_cond_wait(&e->cond, &e->lock);
    e->posted = false;
    take_inbox(e);
    count_sessions(e);
    bool go_on = !e->stop;
    pthread_mutex_unlock(&e->lock);
    return go_on;
}

static int send_plan(struct tw_engine *e, tw_err *err)
{
    if (e->coll == NULL)
        return 0;
    size_t n = tw_plan_encode(&e->rank.plan, e->rank.plan_bytes);
    return tw_coll_plan_send(e->coll, e->rank.plan_bytes, n, err);
}

static float *logits_of(void *ctx, uint32_t slot)
{
    struct tw_engine *e = ctx;
    return e->by_slot[slot] != NULL ? e->by_slot[slot]->req.ret_logits : NULL;
}

/* Where somebody waits for it and nothing is being generated. Its failure is the group's. */
static int tell_profile(struct tw_engine *e, tw_err *err)
{
    pthread_mutex_lock(&e->lock);
    const bool wanted = e->wants_profile;
    pthread_mutex_unlock(&e->lock);
    if (!wanted || !e->rank.plan_follows || !tw_rank_is_idle(&e->rank))
        return 0;
    e->rank.plan.head = (tw_plan_head){.step = e->rank.step, .flags = TW_PLAN_PROFILE};
    int rc = send_plan(e, err);
    if (rc == 0)
        rc = tw_profiler_gather(e->rank.profiler, &e->profile, err);
    e->rank.plan.head = (tw_plan_head){.flags = 0};
    pthread_mutex_lock(&e->lock);
    e->profile_rc = rc;
    if (rc != 0)
        e->profile_err = *err;
    e->wants_profile = false;
    pthread_cond_broadcast(&e->told);
    pthread_mutex_unlock(&e->lock);
    return rc;
}

static int run(struct tw_engine *e, tw_err *err)
{
    uint64_t step_end_ns = 0;
    while (wait_for_work(e)) {
        if (tw_rank_is_idle(&e->rank))
            step_end_ns = 0; /* had slept, perhaps: nobody waited for it */
        int told_rc = tell_profile(e, err);
        if (told_rc != 0)
            return told_rc;
        const bool has_plan = e->rank.plan_follows;
        finish_cancelled(e);
        if (has_plan)
            make_plan(e);
        sweep(e);
        if (has_plan) {
            const tw_plan_head *h = &e->rank.plan.head;
            if (h->n_drop + h->n_admit + h->n_feed == 0 && tw_rank_is_idle(&e->rank))
                continue;
            int rc = send_plan(e, err);
            if (rc != 0)
                return rc;
        }
        const uint64_t began_ns = tw_clock_now_ns();
        if (step_end_ns != 0)
            tw_profiler_note(e->rank.profiler, TW_PROFILE_SERVER, (uint32_t)e->rank.step, 0,
                             step_end_ns);
        int rc = tw_rank_apply(&e->rank, has_plan, err);
        if (rc == 0)
            rc = tw_rank_step(&e->rank, wants_plan(e), err);
        if (rc != 0)
            return rc;
        step_end_ns = tw_profiler_now(e->rank.profiler);
        emit_choices(e, has_plan, began_ns);
    }
    return 0;
}

/* ---- the thread ---- */

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
    take_inbox(e);
    pthread_mutex_unlock(&e->lock);
    for (tw_session *s = e->sessions; s != NULL; s = s->next)
        tw_session_finish(s, rc != 0 ? TW_FINISH_ERROR : TW_FINISH_CANCELLED, rc != 0 ? err : NULL,
                          tw_clock_now_ns());
    pthread_mutex_lock(&e->lock);
    free_sessions(e->sessions);
    e->sessions = NULL;
    count_sessions(e);
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
    if (send_plan(e, &ignored) != 0)
        return;
}

static void *engine_main(void *arg)
{
    struct tw_engine *e = arg;
    tw_err err = {0};
    int rc = tw_rank_init(&e->rank, e->model, e->coll, &e->opts, &err);
    e->rank.logits_sink = logits_of;
    e->rank.sink_ctx = e;
    publish_open(e, rc, &err);
    if (rc != 0)
        return NULL;
    rc = run(e, &err);
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
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are the main thread's */
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

/* ---- any thread ---- */

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
