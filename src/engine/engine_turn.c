/* SPDX-License-Identifier: Apache-2.0 */
/* What the engine thread does between steps. */
#include "base/clock.h"
#include "base/scope.h"
#include "engine/engine_inside.h"

/* Colder is greedy: logits divided by it would pass the largest float. */
static const float coldest = 1e-6f;

static void append(tw_session **list, tw_session *s)
{
    while (*list != NULL)
        list = &(*list)->next;
    s->next = NULL;
    *list = s;
}

/* Oldest first into sessions. Under the lock. */
void tw_engine_take_inbox(struct tw_engine *e)
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

/* Prompt tokens of s that a step may take: none from both sides of where its time begins. */
static uint32_t wanted(tw_session *s)
{
    const uint32_t timed_from = (uint32_t)s->req.timed_from;
    if (s->n_fed < timed_from)
        return timed_from - s->n_fed;
    if (s->n_fed == timed_from && timed_from > 0)
        s->t_timed_ns = tw_clock_now_ns();
    return (uint32_t)s->req.n_prompt - s->n_fed;
}

/* Prompt tokens, oldest session first, up to the chunk. */
static void plan_feeds(struct tw_engine *e)
{
    tw_plan *p = &e->rank.plan;
    uint32_t n_left = e->rank.chunk;
    for (tw_session *s = e->sessions; s != NULL && n_left > 0; s = s->next) {
        if (s->slot < 0 || s->done || s->n_fed == s->req.n_prompt)
            continue;
        uint32_t n = TW_MIN(wanted(s), n_left);
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
void tw_engine_count_sessions(struct tw_engine *e)
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
    tw_engine_count_sessions(e);
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
    tw_engine_count_sessions(e);
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
    tw_engine_take_inbox(e);
    tw_engine_count_sessions(e);
    bool go_on = !e->stop;
    pthread_mutex_unlock(&e->lock);
    return go_on;
}

int tw_engine_send_plan(struct tw_engine *e, tw_err *err)
{
    if (e->coll == NULL)
        return 0;
    size_t n = tw_plan_encode(&e->rank.plan, e->rank.plan_bytes);
    return tw_coll_plan_send(e->coll, e->rank.plan_bytes, n, err);
}

float *tw_engine_logits_of(void *ctx, uint32_t slot)
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
    int rc = tw_engine_send_plan(e, err);
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

int tw_engine_run(struct tw_engine *e, tw_err *err)
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
            int rc = tw_engine_send_plan(e, err);
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
