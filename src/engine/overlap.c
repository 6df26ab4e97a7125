/* SPDX-License-Identifier: Apache-2.0 */
/* A prompt's rows in two halves, and four stages a layer: attention of A, of B, feed-forward of A,
 * of B. Each stage's sum is exchanged while the next stage computes; it is wanted the stage after that.
 * B's attention reads the keys that A's has just written. A half is a view: the same work memory from
 * another row on; what nobody wants after a part (experts' rows) is used by both. */
#include <errno.h>
#include <string.h>

#include "base/scope.h"
#include "engine/forward_inside.h"
#include "engine/overlap_choice.h"

enum { ROWS_STEP = 24 }; /* the rows of kernels' tiles */
#define POLL_NS (200 * TW_NS_PER_US)

typedef struct half {
    tw_forward f;
    tw_batch b;
    struct job j;
} half;

/* An exchange and what is to follow it. */
typedef struct stage {
    struct job *j; /* NULL: none is under way */
    const float *bias, *norm;
} stage;

bool tw_overlap_is_possible(const tw_forward *f, const tw_batch *b)
{
    return f->coll != NULL && b->n_rows >= TW_OVERLAP_ROWS_MIN;
}

/* Rows [row0, row0 + n_rows), whose spans go to spans. */
static void make_half(const tw_forward *f, const tw_batch *b, uint32_t row0, uint32_t n_rows,
                      tw_span *spans, half *ret)
{
    const tw_model_config *c = f->cfg;
    const size_t r = row0, q_len = (size_t)f->shard.n_heads * c->head_dim;
    const size_t kv_len = (size_t)f->shard.n_kv * c->head_dim;
    ret->f = *f;
    ret->f.x += r * c->d_model;
    ret->f.h += r * c->d_model;
    ret->f.q += r * q_len;
    ret->f.k += r * kv_len;
    ret->f.v += r * kv_len;
    ret->f.attn += r * q_len;
    ret->f.gate += r * f->shard.n_ffn;
    ret->f.up += r * f->shard.n_ffn;
    ret->f.cos += r * c->head_dim / 2;
    ret->f.sin += r * c->head_dim / 2;
    ret->f.partial += r * c->d_model;
    ret->b = (tw_batch){.n_rows = n_rows,
                        .tokens = b->tokens + row0,
                        .positions = b->positions + row0,
                        .spans = spans};
    for (uint32_t i = 0; i < b->n_spans; i++) {
        const tw_span *s = &b->spans[i];
        const uint32_t from = TW_MAX(s->row0, row0);
        const uint32_t to = TW_MIN(s->row0 + s->n_rows, row0 + n_rows);
        if (from < to)
            spans[ret->b.n_spans++] = (tw_span){.row0 = from - row0,
                                                .n_rows = to - from,
                                                .pos0 = s->pos0 + (from - s->row0),
                                                .pages = s->pages};
    }
    ret->j = (struct job){.f = &ret->f, .b = &ret->b};
}

void tw_overlap_poll(tw_flight *flight)
{
    if (!flight->is_up)
        return;
    const uint64_t now_ns = tw_clock_now_ns();
    if (now_ns - flight->polled_ns < POLL_NS)
        return;
    flight->polled_ns = now_ns;
    const int rc = tw_coll_poll(flight->coll, now_ns, &flight->err);
    flight->is_up = rc == -EAGAIN;
    flight->rc = flight->is_up ? 0 : rc;
}

static int launch(tw_forward *f, const stage *s, tw_err *err)
{
    const size_t n = (size_t)s->j->b->n_rows * f->cfg->d_model;
    float *x = s->j->f->partial;
    const int rc = f->wire16 ? tw_coll_all_reduce_wire16_start(f->coll, x, n, err)
                             : tw_coll_all_reduce_start(f->coll, x, n, err);
    f->flight = (tw_flight){.is_up = rc == 0, .coll = f->coll};
    tw_overlap_poll(&f->flight); /* on its way before anything else is done */
    return rc;
}

static int land(tw_forward *f, const stage *s, tw_err *err)
{
    tw_flight *flight = &f->flight;
    const uint64_t begin_ns = tw_clock_now_ns();
    int rc = flight->rc;
    if (flight->is_up)
        rc = tw_coll_wait(f->coll, 0, err);
    else if (rc != 0 && err != NULL)
        *err = flight->err;
    flight->is_up = false;
    f->exchange_ns += tw_clock_now_ns() - begin_ns;
    tw_profiler_note(f->profiler, TW_PROFILE_EXCHANGE, 0, s->j->b->n_rows, begin_ns);
    if (rc == 0)
        tw_forward_residual(s->j, s->bias, s->norm);
    return rc;
}

/* What was computed goes on its way once what was under way has landed. */
static int follow(tw_forward *f, stage *flying, const stage *next, tw_err *err)
{
    int rc = flying->j != NULL ? land(f, flying, err) : 0;
    if (rc == 0)
        rc = launch(f, next, err);
    *flying = *next;
    return rc;
}

static int run_part(tw_forward *f, half *h, uint32_t i_layer, bool is_ffn, stage *flying,
                    tw_err *err)
{
    const tw_layer *l = &f->weights->layers[i_layer];
    const float *next =
        i_layer + 1 < f->cfg->n_layers ? f->weights->layers[i_layer + 1].attn_norm : NULL;
    int rc = 0;
    for (unsigned i = 0; i < 2 && rc == 0; i++) {
        const stage s = {.j = &h[i].j,
                         .bias = is_ffn ? l->down_bias : l->o_bias,
                         .norm = is_ffn ? next : l->ffn_norm};
        s.j->l = l;
        s.j->i_layer = i_layer;
        if (is_ffn)
            tw_forward_ffn_part(s.j);
        else
            tw_forward_attn_part(s.j);
        rc = follow(f, flying, &s, err);
    }
    return rc;
}

int tw_overlap_layers(tw_forward *f, const tw_batch *b, tw_err *err)
{
    half h[2];
    stage flying = {.j = NULL};
    const uint32_t n_a = (b->n_rows / 2 + ROWS_STEP / 2) / ROWS_STEP * ROWS_STEP;
    make_half(f, b, 0, n_a, f->half_spans, &h[0]);
    make_half(f, b, n_a, b->n_rows - n_a, f->half_spans + h[0].b.n_spans, &h[1]);
    for (unsigned i = 0; i < 2; i++)
        h[i].f.in_flight = &f->flight;
    int rc = 0;
    for (uint32_t i = 0; i < f->cfg->n_layers && rc == 0; i++) {
        rc = run_part(f, h, i, false, &flying, err);
        if (rc == 0)
            rc = run_part(f, h, i, true, &flying, err);
    }
    return rc == 0 ? land(f, &flying, err) : rc;
}
