/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/rank.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/scope.h"

enum { IN_PROMPT = 0x8000, COUNT_MAX = 0x7fff };

bool tw_rank_is_idle(const tw_rank *r)
{
    for (uint32_t i = 0; i < r->max_seqs; i++)
        if (r->seqs[i].state != TW_SEQ_FREE)
            return false;
    return true;
}

/* ---- plan -> sequences -> batch ---- */

static void release(tw_rank *r, tw_seq *s)
{
    tw_kv_give(&r->kv, s->pages, s->n_pages);
    s->n_pages = 0;
    s->state = TW_SEQ_FREE;
}

static bool has_penalty(const tw_seq_params *p)
{
    return p->presence_penalty != 0.0f || p->frequency_penalty != 0.0f ||
           p->repetition_penalty != 1.0f;
}

static int admit(tw_rank *r, const tw_plan_admit *a, tw_err *err)
{
    tw_seq *s = &r->seqs[a->slot];
    if (s->state != TW_SEQ_FREE || a->params.n_prompt == 0 || a->params.n_prompt >= r->ctx)
        return tw_err_set(err, -EPROTO, "step plan admits %u tokens into slot %u, which %s",
                          a->params.n_prompt, a->slot,
                          s->state != TW_SEQ_FREE ? "is taken" : "is free but too short");
    s->state = TW_SEQ_PREFILL;
    s->params = a->params;
    s->len = s->n_generated = s->last = 0;
    s->has_counts = has_penalty(&a->params);
    if (s->has_counts)
        memset(s->counts, 0, (size_t)r->cfg->vocab * sizeof(*s->counts));
    return 0;
}

static int add_rows(tw_rank *r, tw_seq *s, const uint32_t *tokens, uint32_t n, tw_err *err)
{
    tw_batch *b = &r->batch;
    const uint32_t n_want = TW_DIV_UP(s->len + n, (uint32_t)TW_KV_BLOCK);
    if (s->len + n > r->ctx || tw_kv_take(&r->kv, s->pages, s->n_pages, n_want) != 0)
        return tw_err_set(err, -EPROTO, "step plan passes the context of %u positions", r->ctx);
    s->n_pages = TW_MAX(n_want, s->n_pages);
    b->spans[b->n_spans++] =
        (tw_span){.row0 = b->n_rows, .n_rows = n, .pos0 = s->len, .pages = s->pages};
    for (uint32_t i = 0; i < n; i++) {
        if (tokens[i] >= r->cfg->vocab)
            return tw_err_set(err, -EPROTO, "token %u is outside the vocabulary of %u", tokens[i],
                              r->cfg->vocab);
        b->tokens[b->n_rows] = tokens[i];
        b->positions[b->n_rows++] = s->len + i;
        if (s->has_counts && s->state == TW_SEQ_PREFILL)
            s->counts[tokens[i]] |= IN_PROMPT;
    }
    s->len += n;
    return 0;
}

static void want_logits(tw_rank *r, uint32_t slot)
{
    r->logit_slots[r->batch.n_logits] = slot;
    r->batch.logit_rows[r->batch.n_logits++] = r->batch.n_rows - 1;
}

static int feed(tw_rank *r, const tw_plan_feed *f, tw_err *err)
{
    tw_seq *s = &r->seqs[f->slot];
    if (s->state != TW_SEQ_PREFILL || s->len + f->n_tokens > s->params.n_prompt)
        return tw_err_set(err, -EPROTO, "step plan feeds %u tokens to slot %u, which wants %u",
                          f->n_tokens, f->slot,
                          s->state == TW_SEQ_PREFILL ? s->params.n_prompt - s->len : 0);
    int rc = add_rows(r, s, f->tokens, f->n_tokens, err);
    if (rc == 0 && s->len == s->params.n_prompt)
        want_logits(r, f->slot);
    return rc;
}

int tw_rank_apply(tw_rank *r, bool has_plan, tw_err *err)
{
    const tw_plan *p = &r->plan;
    tw_batch *b = &r->batch;
    b->n_rows = b->n_spans = b->n_logits = 0;
    if (has_plan && p->head.step != r->step)
        return tw_err_set(err, -EPROTO, "step plan is for step %llu, wanted %llu",
                          (unsigned long long)p->head.step, (unsigned long long)r->step);
    r->fwd.overlap = has_plan && (p->head.flags & TW_PLAN_OVERLAP) != 0;
    for (uint32_t i = 0; has_plan && i < p->head.n_drop; i++)
        if (r->seqs[p->drops[i]].state != TW_SEQ_FREE)
            release(r, &r->seqs[p->drops[i]]);
    for (uint32_t i = 0; has_plan && i < p->head.n_admit; i++) {
        int rc = admit(r, &p->admits[i], err);
        if (rc != 0)
            return rc;
    }
    for (uint32_t i = 0; i < r->max_seqs; i++) {
        tw_seq *s = &r->seqs[i];
        if (s->state != TW_SEQ_DECODE)
            continue;
        int rc = add_rows(r, s, &s->last, 1, err);
        if (rc != 0)
            return rc;
        want_logits(r, i);
    }
    for (uint32_t i = 0; has_plan && i < p->head.n_feed; i++) {
        int rc = feed(r, &p->feeds[i], err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* ---- logits -> tokens ---- */

/* Every rank's part of a row into r->full [V]. */
static int gather_row(tw_rank *r, const float *mine, tw_err *err)
{
    if (r->coll == NULL) {
        memcpy(r->full, mine, (size_t)r->cfg->vocab * sizeof(float));
        return 0;
    }
    float *own = r->parts + (size_t)r->rank * r->part_max;
    memcpy(own, mine, (size_t)r->part_n[r->rank] * sizeof(float));
    const uint64_t begin_ns = tw_profiler_now(r->profiler);
    int rc = tw_coll_all_gather(r->coll, own, (size_t)r->part_max * sizeof(float), r->parts, err);
    tw_profiler_note(r->profiler, TW_PROFILE_EXCHANGE, 0, 1, begin_ns);
    for (unsigned i = 0; rc == 0 && i < r->n_ranks; i++)
        memcpy(r->full + r->part0[i], r->parts + (size_t)i * r->part_max,
               (size_t)r->part_n[i] * sizeof(float));
    return rc;
}

/* The first step's raw logits to whoever asked for them, while they are raw. */
static int show_logits(tw_rank *r, uint32_t i_row, tw_err *err)
{
    const tw_seq *s = &r->seqs[r->logit_slots[i_row]];
    if ((s->params.flags & TW_SEQ_WANT_LOGITS) == 0 || s->n_generated != 0)
        return 0;
    int rc = gather_row(r, r->fwd.logits + (size_t)i_row * r->fwd.shard.n_vocab, err);
    if (rc != 0)
        return rc;
    float *sink = r->logits_sink ? r->logits_sink(r->sink_ctx, r->logit_slots[i_row]) : NULL;
    if (sink != NULL)
        memcpy(sink, r->full, (size_t)r->cfg->vocab * sizeof(float));
    return 0;
}

struct ballot {
    tw_rank *r;
    uint8_t *rows; /* of the candidate message */
};

/* A row each in turns: 32 rows of a large vocabulary are more than the caches hold. */
static void vote_job(void *ctx, unsigned i_thread, unsigned n_threads)
{
    const struct ballot *b = ctx;
    const tw_rank *r = b->r;
    const tw_shard *sh = &r->fwd.shard;
    uint8_t *at = b->rows;
    for (uint32_t i = 0; i < r->batch.n_logits; i++) {
        const tw_seq *s = &r->seqs[r->logit_slots[i]];
        if (i % n_threads == i_thread) {
            float *z = r->fwd.logits + (size_t)i * sh->n_vocab;
            tw_row_best best;
            tw_sample_shape(s, z, sh->vocab0, sh->n_vocab);
            tw_sample_best(r->kern, s, z, sh->vocab0, sh->n_vocab, sh->seg_v, &best);
            memcpy(at, &best, tw_row_wire_bytes(s));
        }
        at += tw_row_wire_bytes(s);
    }
}

/* Own rows of the candidate message; returns its bytes. */
static int vote(tw_rank *r, bool plan_follows, size_t *ret_bytes, tw_err *err)
{
    const tw_vote_head head = {.step = r->step,
                               .flags = plan_follows ? TW_VOTE_PLAN_FOLLOWS : 0,
                               .n_rows = r->batch.n_logits};
    uint8_t *msg = r->votes + r->rank * r->vote_max_bytes;
    struct ballot b = {r, msg + sizeof(head)};
    memcpy(msg, &head, sizeof(head));
    size_t at = sizeof(head);
    for (uint32_t i = 0; i < r->batch.n_logits; i++) {
        int rc = show_logits(r, i, err);
        if (rc != 0)
            return rc;
        at += tw_row_wire_bytes(&r->seqs[r->logit_slots[i]]);
    }
    if (r->batch.n_logits > 1)
        tw_team_run(r->fwd.team, vote_job, &b);
    else
        vote_job(&b, 0, 1);
    *ret_bytes = at;
    return 0;
}

/* All ranks' votes, packed as [R][bytes]. */
static int exchange_votes(tw_rank *r, size_t bytes, tw_err *err)
{
    if (r->coll == NULL)
        return 0;
    uint8_t *own = r->votes + r->rank * bytes;
    memmove(own, r->votes + r->rank * r->vote_max_bytes, bytes);
    const uint64_t begin_ns = tw_profiler_now(r->profiler);
    int rc = tw_coll_all_gather(r->coll, own, bytes, r->votes, err);
    tw_profiler_note(r->profiler, TW_PROFILE_EXCHANGE, 0, r->batch.n_logits, begin_ns);
    for (unsigned i = 0; rc == 0 && i < r->n_ranks; i++) {
        tw_vote_head h;
        memcpy(&h, r->votes + i * bytes, sizeof(h));
        if (h.step != r->step || h.n_rows != r->batch.n_logits)
            return tw_err_set(err, -EPROTO,
                              "rank %u voted on %u rows of step %llu, wanted %u of %llu", i,
                              h.n_rows, (unsigned long long)h.step, r->batch.n_logits,
                              (unsigned long long)r->step);
    }
    return rc;
}

/* A vote came over a wire: what is in it indexes our arrays. */
static int check_row(const tw_rank *r, const tw_seq *s, const tw_row_best *row, unsigned i_rank,
                     tw_err *err)
{
    const uint32_t n_max = tw_row_wire_bytes(s) < sizeof(*row) ? 1 : TW_CANDIDATES;
    if (row->not_finite)
        return tw_err_set(err, -EDOM,
                          "rank %u: logits of position %u are not finite: the weights or the "
                          "arithmetic are damaged",
                          i_rank, s->len - 1);
    if (row->n > n_max)
        return tw_err_set(err, -EPROTO, "rank %u sent %u candidates, wanted %u at most", i_rank,
                          row->n, n_max);
    for (uint32_t i = 0; i < row->n; i++)
        if (row->best[i].id >= r->cfg->vocab)
            return tw_err_set(err, -EPROTO,
                              "rank %u voted for token %u, outside the vocabulary of %u", i_rank,
                              row->best[i].id, r->cfg->vocab);
    return 0;
}

/* The row's token from all ranks' candidates, or from all logits. */
static int choose(tw_rank *r, uint32_t i_row, size_t at, size_t bytes, uint32_t *ret_id,
                  tw_err *err)
{
    tw_seq *s = &r->seqs[r->logit_slots[i_row]];
    const tw_row_best *rows[TW_RANKS_MAX];
    for (unsigned i = 0; i < r->n_ranks; i++) {
        rows[i] = (const tw_row_best *)(const void *)(r->votes + i * bytes + at);
        int rc = check_row(r, s, rows[i], i, err);
        if (rc != 0)
            return rc;
    }
    int rc = tw_sample_pick(s, rows, r->n_ranks, ret_id);
    if (rc != -EAGAIN)
        return rc;
    rc = gather_row(r, r->fwd.logits + (size_t)i_row * r->fwd.shard.n_vocab, err);
    if (rc == 0)
        *ret_id =
            tw_sample_pick_full(r->kern, s, r->full, r->cfg->vocab, r->fwd.shard.seg_v, r->order);
    return rc;
}

static bool is_eos(const tw_model_config *c, uint32_t id)
{
    for (unsigned i = 0; i < c->n_eos; i++)
        if (c->eos[i] == id)
            return true;
    return false;
}

/* What every rank derives by itself: end of text, limits. */
static tw_choice advance(tw_rank *r, uint32_t slot, uint32_t id)
{
    tw_seq *s = &r->seqs[slot];
    tw_choice c = {.slot = slot, .id = id, .ended = true, .why = TW_FINISH_LENGTH};
    s->state = TW_SEQ_DECODE;
    s->last = id;
    s->n_generated++;
    if (s->has_counts && (s->counts[id] & COUNT_MAX) < COUNT_MAX)
        s->counts[id]++;
    if (is_eos(r->cfg, id) && (s->params.flags & TW_SEQ_IGNORE_EOS) == 0)
        c.why = TW_FINISH_STOP;
    else
        c.ended = s->n_generated >= s->params.max_tokens || s->len >= r->ctx;
    if (c.ended)
        release(r, s);
    return c;
}

static int choose_all(tw_rank *r, size_t bytes, tw_err *err)
{
    size_t at = sizeof(tw_vote_head);
    for (uint32_t i = 0; i < r->batch.n_logits; i++) {
        uint32_t slot = r->logit_slots[i], id;
        int rc = choose(r, i, at, bytes, &id, err);
        if (rc != 0)
            return rc;
        at += tw_row_wire_bytes(&r->seqs[slot]);
        r->choices[r->n_choices++] = advance(r, slot, id);
    }
    return 0;
}

static int pick_tokens(tw_rank *r, bool plan_follows, tw_err *err)
{
    size_t bytes;
    int rc = vote(r, plan_follows, &bytes, err);
    if (rc == 0)
        rc = exchange_votes(r, bytes, err);
    if (rc != 0)
        return rc;
    tw_vote_head head;
    memcpy(&head, r->votes, sizeof(head));
    r->plan_follows = (head.flags & TW_VOTE_PLAN_FOLLOWS) != 0;
    return choose_all(r, bytes, err);
}

static int run_step(tw_rank *r, bool plan_follows, tw_err *err)
{
    int rc = tw_forward_run(&r->fwd, &r->batch, err);
    if (rc != 0 || r->batch.n_logits == 0)
        return rc;
    const uint64_t begin_ns = tw_profiler_now(r->profiler);
    rc = pick_tokens(r, plan_follows, err);
    tw_profiler_note(r->profiler, TW_PROFILE_SAMPLE, (uint32_t)r->step, r->batch.n_logits,
                     begin_ns);
    return rc;
}

/* Every row of a step of decode has its token chosen. */
static enum tw_profile_kind kind_of(const tw_batch *b)
{
    return b->n_rows == b->n_logits ? TW_PROFILE_DECODE : TW_PROFILE_PREFILL;
}

int tw_rank_step(tw_rank *r, bool plan_follows, tw_err *err)
{
    r->n_choices = 0;
    r->plan_follows = true; /* a step without logits carries no flag */
    const uint32_t rows = r->batch.n_rows;
    if (rows > 0) {
        const uint64_t begin_ns = tw_clock_now_ns();
        if (r->coll != NULL)
            tw_coll_expect(r->coll, tw_pace_predict(&r->pace, rows));
        tw_mem_guard_begin();
        int rc = run_step(r, plan_follows, err);
        tw_mem_guard_end();
        if (rc != 0)
            return rc;
        tw_profiler_note(r->profiler, kind_of(&r->batch), (uint32_t)r->step, rows, begin_ns);
        /* Only what was chosen: decode goes on without a plan, and a row of it costs otherwise. */
        if (kind_of(&r->batch) == TW_PROFILE_PREFILL && tw_overlap_is_possible(&r->fwd, &r->batch))
            tw_overlap_note(&r->overlap_choice, r->fwd.overlap, rows, tw_clock_now_ns() - begin_ns);
        tw_pace_note(&r->pace, rows, tw_clock_now_ns() - begin_ns);
        if (r->n_choices > 0)
            tw_weights_keep(&r->weights); /* the first token is out */
    }
    r->plan_follows = r->plan_follows || tw_rank_is_idle(r);
    r->step++;
    return 0;
}

static int receive_plan(tw_rank *r, tw_err *err)
{
    size_t n;
    int rc = tw_coll_plan_recv(r->coll, r->plan_bytes, r->plan_max_bytes, &n, err);
    return rc != 0 ? rc : tw_plan_decode(&r->plan, r->plan_bytes, n, r->max_seqs, r->chunk, err);
}

static int gather_profile(tw_rank *r, tw_err *err)
{
    tw_profile unused;
    if (r->profiler == NULL)
        return tw_err_set(err, -EPROTO, "step plan wants a profile, and none is kept here");
    return tw_profiler_gather(r->profiler, &unused, err);
}

int tw_rank_serve(tw_rank *r, tw_err *err)
{
    r->plan_follows = true;
    for (;;) {
        const bool has_plan = r->plan_follows;
        int rc = has_plan ? receive_plan(r, err) : 0;
        if (rc != 0)
            return rc;
        if (has_plan && (r->plan.head.flags & TW_PLAN_END) != 0)
            return 0;
        if (has_plan && (r->plan.head.flags & TW_PLAN_PROFILE) != 0) {
            rc = gather_profile(r, err);
            if (rc != 0)
                return rc;
            continue;
        }
        rc = tw_rank_apply(r, has_plan, err);
        if (rc == 0)
            rc = tw_rank_step(r, false, err);
        if (rc != 0)
            return rc;
    }
}
