/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/moe.h"

#include <string.h>

#include "base/scope.h"
#include "engine/forward_inside.h"

enum {
    ROWS = 96,                  /* of one product: gathered, they stay in the second cache */
    STREAM_ROWS = 4,            /* reading a panel costs about what multiplying so many rows does */
    ACC_MIN_FLOATS = 128 << 10, /* few rows: all panels of a thread at once, in long streams */
    BLOCK = 32,                 /* columns of a tw_xblock */
};

struct moe_job {
    tw_forward *f;
    const tw_layer *l;
    uint32_t n_rows;
    bool plain_in, quant_in; /* gate and up, of any expert: which x they want */
    bool quant_down;
    uint64_t cost; /* of gate and up of all groups */
};

/* ---- memory ---- */

static size_t acc_floats(const tw_forward *f)
{
    return TW_MAX((size_t)ACC_MIN_FLOATS, (size_t)f->max_rows * f->shard.n_seg * TW_PANEL);
}

/* Room for n things, 64-byte aligned; base NULL: only counted. */
static void *take(uint8_t *base, size_t *at, size_t n, size_t size_bytes)
{
    void *p = base != NULL ? base + *at : NULL;
    *at += (n * size_bytes + 63) & ~(size_t)63;
    return p;
}

static size_t lay_out(const tw_forward *f, uint8_t *base, tw_moe *x)
{
    const tw_model_config *c = f->cfg;
    const size_t m = f->max_rows, pairs = m * c->experts_per_tok;
    size_t at = 0;
    x->probs = take(base, &at, m * c->n_experts, sizeof(float));
    x->ids = take(base, &at, pairs, sizeof(uint32_t));
    x->weights = take(base, &at, pairs, sizeof(float));
    x->places = take(base, &at, c->n_experts, sizeof(uint32_t));
    x->groups = take(base, &at, TW_MIN(pairs, (size_t)c->n_experts), sizeof(tw_moe_group));
    x->rows = take(base, &at, pairs, sizeof(uint32_t));
    x->row_weights = take(base, &at, pairs, sizeof(float));
    x->h_blocks = take(base, &at, m * (c->d_model / BLOCK), sizeof(tw_xblock));
    x->act_blocks = take(base, &at, pairs * (f->shard.n_expert_ffn / BLOCK), sizeof(tw_xblock));
    x->gate = take(base, &at, pairs * f->shard.n_expert_ffn, sizeof(float));
    x->up = take(base, &at, pairs * f->shard.n_expert_ffn, sizeof(float));
    return at;
}

size_t tw_moe_bytes(const tw_forward *f)
{
    tw_moe nowhere;
    return lay_out(f, NULL, &nowhere);
}

void tw_moe_place(tw_forward *f, void *at)
{
    (void)lay_out(f, at, &f->moe);
}

size_t tw_moe_room_bytes(const tw_forward *f)
{
    if (f->cfg->n_experts == 0)
        return 0;
    const size_t d = f->cfg->d_model;
    const size_t gathered = ROWS * (d * sizeof(float) + d / BLOCK * sizeof(tw_xblock));
    return TW_MAX(gathered, sizeof(float) * (acc_floats(f) + (size_t)ROWS * TW_PANEL));
}

static float *room_of(const tw_forward *f, unsigned i_thread)
{
    return (float *)(void *)(tw_scratch_of(f, i_thread) + f->moe.room_at);
}

/* While an exchange goes on, thread 0 looks after it between groups of rows. */
static void poll(const tw_forward *f, unsigned i_thread)
{
    if (i_thread == 0 && f->in_flight != NULL)
        tw_overlap_poll(f->in_flight);
}

/* ---- who goes where ---- */

/* The n largest of p [E], of equal ones the lower ids, largest first. Comparisons with NaN are
 * false, so that even then the ids are n different ones. */
static void choose(const float *p, uint32_t n_experts, uint32_t *ret_ids, uint32_t n)
{
    uint32_t n_top = 0;
    for (uint32_t e = 0; e < n_experts; e++) {
        if (n_top == n && !(p[e] > p[ret_ids[n - 1]]))
            continue;
        uint32_t i = n_top < n ? n_top++ : n - 1;
        for (; i > 0 && p[e] > p[ret_ids[i - 1]]; i--)
            ret_ids[i] = ret_ids[i - 1];
        ret_ids[i] = e;
    }
}

static void sort_ids(uint32_t *ids, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        const uint32_t id = ids[i];
        uint32_t at = i;
        for (; at > 0 && ids[at - 1] > id; at--)
            ids[at] = ids[at - 1];
        ids[at] = id;
    }
}

static void route_row(const tw_forward *f, size_t row)
{
    const uint32_t n_experts = f->cfg->n_experts, n = f->cfg->experts_per_tok;
    float *p = f->moe.probs + row * n_experts, *weights = f->moe.weights + row * n, sum = 0;
    uint32_t *ids = f->moe.ids + row * n;
    f->kern->softmax(p, p, n_experts);
    choose(p, n_experts, ids, n);
    sort_ids(ids, n);
    for (uint32_t i = 0; i < n; i++)
        sum += weights[i] = p[ids[i]];
    for (uint32_t i = 0; i < n && f->cfg->norm_topk; i++)
        weights[i] /= sum;
}

static void route_job(void *ctx, unsigned i, unsigned n)
{
    const struct moe_job *j = ctx;
    size_t from, to;
    tw_share(j->n_rows, i, n, &from, &to);
    const tw_forward *f = j->f;
    const size_t d = f->cfg->d_model;
    for (size_t r = from; r < to; r++) {
        route_row(f, r);
        if (j->quant_in)
            f->kern->quantize(f->moe.h_blocks + r * (d / BLOCK), f->h + r * d, d);
    }
}

/* Lists the rows of each expert that has any; both ascending. */
static void group_rows(const tw_forward *f, tw_moe *x, uint32_t n_rows)
{
    const uint32_t n_experts = f->cfg->n_experts, per_row = f->cfg->experts_per_tok;
    uint32_t at = 0;
    memset(x->places, 0, n_experts * sizeof(*x->places));
    for (uint32_t i = 0; i < n_rows * per_row; i++)
        x->places[x->ids[i]]++;
    x->n_groups = 0;
    for (uint32_t e = 0; e < n_experts; e++) {
        const uint32_t n = x->places[e];
        if (n == 0)
            continue;
        x->places[e] = x->n_groups;
        x->groups[x->n_groups++] = (tw_moe_group){.i_expert = e, .at = at};
        at += n;
    }
    for (uint32_t i = 0; i < n_rows * per_row; i++) {
        tw_moe_group *g = &x->groups[x->places[x->ids[i]]];
        x->rows[g->at + g->n_rows] = i / per_row;
        x->row_weights[g->at + g->n_rows++] = x->weights[i];
    }
}

/* ---- gate and up ---- */

/* Of a panel of a group with so many rows. */
static uint64_t panel_cost(const tw_moe_group *g)
{
    return TW_MAX(g->n_rows, (uint32_t)STREAM_ROWS);
}

/* Panels of a thread's share of the line in which panel q begins at cost0 + q * unit: those that
 * begin in [i, i + 1) of n parts of all. */
static size_t first_panel(const struct moe_job *j, uint64_t cost0, uint64_t unit, unsigned i,
                          unsigned n)
{
    const uint64_t from = TW_DIV_UP(j->cost * i, (uint64_t)n);
    return from <= cost0 ? 0 : (size_t)TW_DIV_UP(from - cost0, unit);
}

/* Rows [i_row, i_row + n) of the group, one after the other, as x of op: where h has them so, else
 * copied to room. */
static void gather(const struct moe_job *j, const tw_moe_group *g, uint32_t i_row, uint32_t n,
                   float *room, tw_matmul *op)
{
    const tw_forward *f = j->f;
    const uint32_t *rows = f->moe.rows + g->at + i_row;
    const size_t d = f->cfg->d_model, n_blocks = d / BLOCK;
    tw_xblock *block_room = (tw_xblock *)(void *)(room + ROWS * d);
    op->m = n;
    op->ldx = d;
    op->ldxq = n_blocks;
    op->x = f->h + rows[0] * d;
    op->xq = f->moe.h_blocks + rows[0] * n_blocks;
    if (rows[n - 1] - rows[0] == n - 1)
        return;
    for (uint32_t i = 0; i < n && j->plain_in; i++)
        memcpy(room + i * d, f->h + rows[i] * d, d * sizeof(float));
    for (uint32_t i = 0; i < n && j->quant_in; i++)
        memcpy(block_room + i * n_blocks, f->moe.h_blocks + rows[i] * n_blocks,
               n_blocks * sizeof(tw_xblock));
    op->x = room;
    op->xq = block_room;
}

/* Panels [from, to) of gate, then up. */
static void gate_up(const struct moe_job *j, const tw_moe_group *g, size_t from, size_t to,
                    unsigned i_thread)
{
    const tw_forward *f = j->f;
    const tw_expert *e = &j->l->experts[g->i_expert];
    const size_t n_panels = TW_DIV_UP(e->gate.n, (size_t)TW_PANEL);
    void *scratch = tw_scratch_of(f, i_thread);
    for (uint32_t r = 0; r < g->n_rows; r += ROWS) {
        const uint32_t n = TW_MIN(g->n_rows - r, (uint32_t)ROWS);
        const size_t out = (size_t)(g->at + r) * f->shard.n_expert_ffn;
        tw_matmul op = {.w = &e->gate,
                        .y = f->moe.gate + out,
                        .ldy = f->shard.n_expert_ffn,
                        .seg = f->shard.seg_d,
                        .n_seg = TW_SEGMENTS};
        gather(j, g, r, n, room_of(f, i_thread), &op);
        if (from < n_panels)
            f->kern->matmul(&op, from, TW_MIN(to, n_panels), scratch);
        op.w = &e->up;
        op.y = f->moe.up + out;
        if (to > n_panels)
            f->kern->matmul(&op, TW_MAX(from, n_panels) - n_panels, to - n_panels, scratch);
    }
}

/* All panels of all experts with rows, dealt as one line: each thread streams neighbours. */
static void gate_up_job(void *ctx, unsigned i, unsigned n)
{
    const struct moe_job *j = ctx;
    const tw_forward *f = j->f;
    const size_t n_panels = 2 * TW_DIV_UP((size_t)f->shard.n_expert_ffn, (size_t)TW_PANEL);
    uint64_t cost0 = 0;
    for (uint32_t g = 0; g < f->moe.n_groups; g++) {
        const tw_moe_group *group = &f->moe.groups[g];
        const uint64_t unit = panel_cost(group);
        const size_t from = first_panel(j, cost0, unit, i, n);
        const size_t to = TW_MIN(first_panel(j, cost0, unit, i + 1, n), n_panels);
        if (from < to)
            gate_up(j, group, from, to, i);
        poll(f, i);
        cost0 += n_panels * unit;
    }
}

static uint64_t count_cost(const tw_forward *f)
{
    const size_t n_panels = 2 * TW_DIV_UP((size_t)f->shard.n_expert_ffn, (size_t)TW_PANEL);
    uint64_t cost = 0;
    for (uint32_t g = 0; g < f->moe.n_groups; g++)
        cost += n_panels * panel_cost(&f->moe.groups[g]);
    return cost;
}

static void act_job(void *ctx, unsigned i, unsigned n)
{
    const struct moe_job *j = ctx;
    const tw_forward *f = j->f;
    const size_t all = (size_t)j->n_rows * f->cfg->experts_per_tok * f->shard.n_expert_ffn;
    size_t from, to;
    tw_share(TW_DIV_UP(all, (size_t)BLOCK), i, n, &from, &to);
    const size_t at = from * BLOCK, len = TW_MIN(to * BLOCK, all) - at;
    f->kern->silu_mul(f->moe.gate + at, f->moe.gate + at, f->moe.up + at, len);
    if (j->quant_down) /* each row is of whole blocks */
        f->kern->quantize(f->moe.act_blocks + from, f->moe.gate + at, len);
}

/* ---- down ---- */

/* Panels of D that a thread sums at once. */
struct sums {
    size_t panel0, n_panels;
    float *acc; /* [n_panels][M][n_seg][64] */
    float *one; /* [ROWS][64]: one expert's sums of one segment */
};

/* One panel of an expert, one segment after the other, into all its rows' sums. */
static void down_panel(const struct moe_job *j, const tw_moe_group *g, const struct sums *s,
                       size_t i_panel, void *scratch)
{
    const tw_forward *f = j->f;
    const tw_packed *w = &j->l->experts[g->i_expert].down;
    const size_t n0 = (s->panel0 + i_panel) * TW_PANEL, n_seg = f->shard.n_seg;
    const tw_packed panel = {
        .type = w->type,
        .n = TW_MIN(w->n - n0, (size_t)TW_PANEL),
        .k = w->k,
        .data = (const char *)w->data + (s->panel0 + i_panel) * tw_packed_panel_bytes(w),
        .group = w->group,
        .phase = w->phase,
    };
    float *acc = s->acc + i_panel * j->n_rows * n_seg * TW_PANEL;
    for (uint32_t r = 0; r < g->n_rows; r += ROWS) {
        const uint32_t n = TW_MIN(g->n_rows - r, (uint32_t)ROWS), at = g->at + r;
        for (size_t i_seg = 0; i_seg < n_seg; i_seg++) {
            const uint32_t *seg = f->shard.seg_e + i_seg;
            const tw_matmul op = {.w = &panel,
                                  .x = f->moe.gate + (size_t)at * w->k,
                                  .m = n,
                                  .ldx = w->k,
                                  .y = s->one,
                                  .ldy = TW_PANEL,
                                  .seg = seg,
                                  .n_seg = 1,
                                  .xq = f->moe.act_blocks + (size_t)at * (w->k / BLOCK),
                                  .ldxq = w->k / BLOCK};
            if (seg[0] == seg[1])
                continue;
            f->kern->matmul(&op, 0, 1, scratch);
            for (uint32_t i = 0; i < n; i++)
                f->kern->axpy(acc + (f->moe.rows[at + i] * n_seg + i_seg) * TW_PANEL,
                              f->moe.row_weights[at + i], s->one + i * TW_PANEL, panel.n);
        }
    }
}

/* The tree over segments [i_seg, i_seg + n) of acc [n_seg][64], in place; NULL: all are empty. */
static float *sum_segments(const tw_forward *f, float *acc, unsigned i_seg, unsigned n)
{
    const uint32_t *seg = f->shard.seg_e + i_seg;
    if (n == 1)
        return seg[0] < seg[1] ? acc + i_seg * TW_PANEL : NULL;
    float *a = sum_segments(f, acc, i_seg, n / 2);
    const float *b = sum_segments(f, acc, i_seg + n / 2, n / 2);
    if (a != NULL && b != NULL)
        f->kern->add(a, a, b, TW_PANEL);
    return a != NULL ? a : (float *)(uintptr_t)b;
}

/* The tree over segments [i_seg, i_seg + n) of each row into y [M][D]. */
static void store_sums(const struct moe_job *j, const struct sums *s, unsigned i_seg, unsigned n,
                       float *y)
{
    const tw_forward *f = j->f;
    const size_t d = f->cfg->d_model;
    for (size_t p = 0; p < s->n_panels; p++) {
        const size_t n0 = (s->panel0 + p) * TW_PANEL, n_n = TW_MIN(d - n0, (size_t)TW_PANEL);
        for (size_t r = 0; r < j->n_rows; r++) {
            float *acc = s->acc + (p * j->n_rows + r) * f->shard.n_seg * TW_PANEL;
            const float *sum = sum_segments(f, acc, i_seg, n);
            if (sum != NULL)
                memcpy(y + r * d + n0, sum, n_n * sizeof(float));
            else
                memset(y + r * d + n0, 0, n_n * sizeof(float));
        }
    }
}

static void down_panels(const struct moe_job *j, const struct sums *s, unsigned i_thread)
{
    const tw_forward *f = j->f;
    const unsigned n_seg = f->shard.n_seg;
    memset(s->acc, 0, s->n_panels * j->n_rows * n_seg * TW_PANEL * sizeof(float));
    for (uint32_t g = 0; g < f->moe.n_groups; g++) {
        for (size_t p = 0; p < s->n_panels; p++)
            down_panel(j, &f->moe.groups[g], s, p, tw_scratch_of(f, i_thread));
        poll(f, i_thread);
    }
    if (f->high == NULL) {
        store_sums(j, s, 0, n_seg, f->partial);
    } else {
        store_sums(j, s, 0, n_seg / 2, f->partial);
        store_sums(j, s, n_seg / 2, n_seg / 2, f->high);
    }
}

static void down_job(void *ctx, unsigned i, unsigned n)
{
    const struct moe_job *j = ctx;
    const tw_forward *f = j->f;
    float *room = room_of(f, i);
    const size_t fits = acc_floats(f) / ((size_t)j->n_rows * f->shard.n_seg * TW_PANEL);
    size_t from, to;
    tw_share(TW_DIV_UP((size_t)f->cfg->d_model, (size_t)TW_PANEL), i, n, &from, &to);
    for (; from < to; from += fits) {
        const struct sums s = {.panel0 = from,
                               .n_panels = TW_MIN(fits, to - from),
                               .acc = room,
                               .one = room + acc_floats(f)};
        down_panels(j, &s, i);
    }
}

/* Experts of one layer may differ. */
static void look_at_types(struct moe_job *j)
{
    for (uint32_t e = 0; e < j->f->cfg->n_experts; e++) {
        const tw_expert *x = &j->l->experts[e];
        const bool gate = tw_dtype_is_quant(x->gate.type), up = tw_dtype_is_quant(x->up.type);
        j->quant_in = j->quant_in || gate || up;
        j->plain_in = j->plain_in || !gate || !up;
        j->quant_down = j->quant_down || tw_dtype_is_quant(x->down.type);
    }
}

void tw_moe_run(tw_forward *f, const tw_layer *l, uint32_t n_rows)
{
    struct moe_job j = {.f = f, .l = l, .n_rows = n_rows};
    look_at_types(&j);
    if (n_rows == 1)
        route_job(&j, 0, 1); /* sooner done than told to the others */
    else
        tw_team_run(f->team, route_job, &j);
    group_rows(f, &f->moe, n_rows);
    j.cost = count_cost(f);
    tw_team_run(f->team, gate_up_job, &j);
    tw_team_run(f->team, act_job, &j);
    tw_team_run(f->team, down_job, &j);
}
