/* SPDX-License-Identifier: Apache-2.0 */
/* Step plans from a hostile rank 0: {u16 length, plan} again and again, each applied to a rank that
 * keeps its sequences and pages but computes nothing. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/scope.h"
#include "engine/rank.h"

enum { SEQS = 3, CHUNK = 32, CTX = 100, V = 50, PAGES = 2, ROWS = CHUNK + SEQS };

static void must(bool good)
{
    if (!good)
        abort();
}

struct world {
    tw_model_config cfg;
    tw_rank r;
    tw_seq seqs[SEQS];
    uint32_t pages[SEQS][PAGES];
    uint16_t counts[SEQS][V];
    /* Exact sizes: a row too many is seen by the sanitizer. */
    uint32_t *tokens, *positions, *logit_rows, *logit_slots;
    tw_span *spans;
};

static void open_world(struct world *w)
{
    memset(w, 0, sizeof(*w));
    w->cfg.vocab = V;
    w->tokens = tw_mem_calloc(ROWS, sizeof(uint32_t));
    w->positions = tw_mem_calloc(ROWS, sizeof(uint32_t));
    w->logit_rows = tw_mem_calloc(SEQS, sizeof(uint32_t));
    w->logit_slots = tw_mem_calloc(SEQS, sizeof(uint32_t));
    w->spans = tw_mem_calloc(2 * (size_t)SEQS, sizeof(tw_span));
    must(w->tokens && w->positions && w->logit_rows && w->logit_slots && w->spans);
    w->r = (tw_rank){.cfg = &w->cfg,
                     .ctx = CTX,
                     .max_seqs = SEQS,
                     .chunk = CHUNK,
                     .seqs = w->seqs,
                     .logit_slots = w->logit_slots,
                     .batch = {.tokens = w->tokens,
                               .positions = w->positions,
                               .spans = w->spans,
                               .logit_rows = w->logit_rows}};
    for (unsigned i = 0; i < SEQS; i++) {
        w->seqs[i].pages = w->pages[i];
        w->seqs[i].counts = w->counts[i];
    }
    must(tw_kv_init(&w->r.kv, 1, 1, 8, TW_BF16, SEQS * PAGES, NULL) == 0);
    must(tw_plan_init(&w->r.plan, SEQS, NULL) == 0);
}

static void close_world(struct world *w)
{
    tw_kv_done(&w->r.kv);
    tw_plan_done(&w->r.plan);
    tw_mem_free(w->tokens);
    tw_mem_free(w->positions);
    tw_mem_free(w->logit_rows);
    tw_mem_free(w->logit_slots);
    tw_mem_free(w->spans);
}

static void check_world(const struct world *w)
{
    const tw_batch *b = &w->r.batch;
    unsigned n_owners[SEQS * PAGES] = {0};
    must(b->n_rows <= ROWS && b->n_spans <= 2 * SEQS && b->n_logits <= SEQS);
    for (uint32_t i = 0; i < b->n_rows; i++)
        must(b->tokens[i] < V && b->positions[i] < CTX);
    for (uint32_t i = 0; i < b->n_logits; i++)
        must(b->logit_rows[i] < b->n_rows && b->positions[b->logit_rows[i]] < CTX);
    for (uint32_t i = 0; i < w->r.kv.n_free; i++)
        n_owners[w->r.kv.free[i]]++;
    for (unsigned s = 0; s < SEQS; s++)
        for (uint32_t i = 0; i < w->seqs[s].n_pages; i++)
            n_owners[w->seqs[s].pages[i]]++;
    for (unsigned i = 0; i < SEQS * PAGES; i++)
        must(n_owners[i] == 1);
}

/* As a step would: every row with logits has a token now, full sequences leave. */
static void pretend_step(struct world *w)
{
    for (uint32_t i = 0; i < w->r.batch.n_logits; i++) {
        tw_seq *s = &w->seqs[w->logit_slots[i]];
        s->state = TW_SEQ_DECODE;
        s->last = i;
        if (s->len >= CTX) {
            tw_kv_give(&w->r.kv, s->pages, s->n_pages);
            s->n_pages = 0;
            s->state = TW_SEQ_FREE;
        }
    }
    w->r.step++;
}

/* The same plan comes out as went in. */
static void check_round_trip(const tw_plan *p, const uint8_t *bytes, size_t n)
{
    uint8_t again[2048];
    must(n <= tw_plan_max_bytes(SEQS, CHUNK) && n <= sizeof(again));
    must(tw_plan_encode(p, again) == n && memcmp(again, bytes, n) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct world w;
    open_world(&w);
    tw_err err = {0};
    int rc = 0;
    while (n >= 2 && rc == 0) {
        const size_t n_plan = TW_MIN((size_t)p[0] + 256 * (size_t)p[1], n - 2);
        uint8_t *plan = malloc(n_plan != 0 ? n_plan : 1); /* aligned, as the rank's buffer is */
        must(plan != NULL);
        memcpy(plan, p + 2, n_plan);
        p += 2 + n_plan;
        n -= 2 + n_plan;
        rc = tw_plan_decode(&w.r.plan, plan, n_plan, SEQS, CHUNK, &err);
        if (rc == 0) {
            check_round_trip(&w.r.plan, plan, n_plan);
            w.r.plan.head.step = w.r.step; /* a fuzzer's time is not for counting */
            rc = tw_rank_apply(&w.r, true, &err);
            if (rc == 0) {
                check_world(&w);
                pretend_step(&w);
                rc = tw_rank_apply(&w.r, false, &err); /* a step without a plan */
                must(rc == 0);
                check_world(&w);
                pretend_step(&w);
            }
        }
        must(rc == 0 || err.msg[0] != '\0');
        free(plan);
    }
    close_world(&w);
    return 0;
}
