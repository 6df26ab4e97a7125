/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/forward_inside.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "os/file.h"

/* ---- work memory ---- */

/* Hands out parts of f->work; with work NULL it only counts. */
static void *carve(tw_forward *f, size_t n, size_t size_bytes)
{
    size_t bytes = tw_round64(n * size_bytes), at = f->work_bytes;
    f->work_bytes += bytes;
    return f->work != NULL ? (uint8_t *)f->work + at : NULL;
}

/* Columns of the widest product. */
static size_t widest_row(const tw_forward *f)
{
    const tw_model_config *c = f->cfg;
    size_t k = TW_MAX(TW_MAX((size_t)c->d_model, (size_t)f->shard.n_ffn),
                      (size_t)f->shard.n_heads * c->head_dim);
    return TW_MAX(k, (size_t)f->shard.n_expert_ffn);
}

static void carve_all(tw_forward *f)
{
    const tw_model_config *c = f->cfg;
    const tw_shard *s = &f->shard;
    const size_t m = f->max_rows, q_len = (size_t)s->n_heads * c->head_dim;
    const size_t n_ffn = tw_model_has_dense(c) ? s->n_ffn : 0;
    f->work_bytes = 0;
    f->x = carve(f, m * c->d_model, 4);
    f->h = carve(f, m * c->d_model, 4);
    f->q = carve(f, m * q_len, 4);
    f->k = carve(f, m * s->n_kv * c->head_dim, 4);
    f->v = carve(f, m * s->n_kv * c->head_dim, 4);
    f->attn = carve(f, m * q_len, 4);
    f->gate = carve(f, m * n_ffn, 4);
    f->up = carve(f, m * n_ffn, 4);
    f->cos = carve(f, m * c->head_dim / 2, 4);
    f->sin = carve(f, m * c->head_dim / 2, 4);
    f->logits = carve(f, (size_t)f->max_logits * s->n_vocab, 4);
    f->xq = carve(f, m * (widest_row(f) / 32), sizeof(*f->xq));
    f->freqs = carve(f, c->head_dim / 2, 4);
    f->groups = carve(f, s->n_kv, sizeof(*f->groups));
    f->parts = carve(f, f->n_threads > 1 ? TW_PART_FLOATS : 0, sizeof(*f->parts));
    if (f->has_group)
        f->half_spans = carve(f, 2 * (size_t)f->max_logits + 1, sizeof(*f->half_spans));
    if (!f->has_group)
        f->partial = carve(f, m * c->d_model, 4);
    if (!f->has_group && f->wire16)
        f->high = carve(f, m * c->d_model, 4);
    tw_moe_place(f, carve(f, tw_moe_bytes(f), 1));
    f->scratch = carve(f, f->n_threads, f->scratch_bytes);
}

/* Per thread: the larger of matmul's (and the experts' room) and attention's scratch, then a page
 * table for one KV head. */
static size_t scratch_size(tw_forward *f)
{
    const tw_model_config *c = f->cfg;
    f->moe.room_at = tw_round64(tw_kern_matmul_scratch_bytes(widest_row(f)));
    size_t bytes =
        TW_MAX(f->moe.room_at + tw_moe_room_bytes(f), tw_kern_attn_scratch_bytes(c->head_dim));
    return tw_round64(bytes) + tw_forward_table_bytes(f);
}

/* Neighbouring local query heads that read the same KV head. */
static void find_groups(tw_forward *f)
{
    const uint32_t per_kv = f->cfg->n_heads / f->cfg->n_kv_heads;
    f->n_groups = 0;
    for (uint32_t h = 0; h < f->shard.n_heads; h++) {
        uint32_t i_kv = (f->shard.head0 + h) / per_kv - f->shard.kv0;
        if (f->n_groups > 0 && f->groups[f->n_groups - 1].i_kv == i_kv)
            f->groups[f->n_groups - 1].n_heads++;
        else
            f->groups[f->n_groups++] = (tw_group){.i_kv = i_kv, .head0 = h, .n_heads = 1};
    }
}

size_t tw_forward_count_bytes(tw_forward *f)
{
    f->scratch_bytes = scratch_size(f);
    f->work = NULL;
    carve_all(f);
    return f->work_bytes + (f->has_group ? (size_t)f->max_rows * f->cfg->d_model * 4 : 0);
}

int tw_forward_init(tw_forward *f, tw_err *err)
{
    f->n_threads = tw_team_size(f->team);
    f->has_group = f->coll != NULL;
    (void)tw_forward_count_bytes(f);
    const size_t partial_bytes = (size_t)f->max_rows * f->cfg->d_model * 4;
    f->work = tw_pages_new(f->work_bytes);
    f->partial = f->coll != NULL ? tw_coll_alloc(f->coll, partial_bytes) : NULL;
    if (f->work == NULL || (f->coll != NULL && f->partial == NULL)) {
        tw_forward_done(f);
        return tw_err_set(err, -ENOMEM, "no memory for a step of %u rows (%zu MiB)", f->max_rows,
                          f->work_bytes >> 20);
    }
    carve_all(f);
    tw_rope_freqs(f->cfg, f->freqs, &f->rope_scale);
    find_groups(f);
    return 0;
}

void tw_forward_done(tw_forward *f)
{
    if (f->work != NULL)
        tw_pages_free(f->work, f->work_bytes);
    f->work = NULL;
}

/* ---- parallel parts ---- */

enum { POLL_PANELS = 4 }; /* a look at the clock between so many */

/* While an exchange goes on, thread 0 looks after it between panels. */
static void multiply(const struct job *j, const tw_matmul *op, size_t from, size_t to, unsigned i)
{
    tw_flight *flight = i == 0 ? j->f->in_flight : NULL;
    const size_t step = flight != NULL ? POLL_PANELS : to - from;
    for (; from < to; from += step) {
        j->f->kern->matmul(op, from, TW_MIN(from + step, to), tw_scratch_of(j->f, i));
        if (flight != NULL)
            tw_overlap_poll(flight);
    }
}

/* Where thread i's share of the next product begins. */
static void expect_next(const struct job *j, unsigned i, unsigned n)
{
    size_t total = 0, from, to;
    for (unsigned o = 0; o < j->n_next; o++)
        total += TW_DIV_UP(j->next[o]->n, (size_t)TW_PANEL);
    tw_share(total, i, n, &from, &to);
    for (unsigned o = 0; o < j->n_next; o++) {
        const tw_packed *w = j->next[o];
        const size_t n_panels = TW_DIV_UP(w->n, (size_t)TW_PANEL);
        const size_t panel_bytes = tw_packed_panel_bytes(w);
        if (from < n_panels) {
            tw_team_expect(j->f->team, i, (const uint8_t *)w->data + from * panel_bytes,
                           TW_MIN(to - from, n_panels - from) * panel_bytes);
            return;
        }
        from -= n_panels;
        to -= n_panels;
    }
}

/* All panels of all products, dealt as one line: each thread streams neighbouring weights. */
static void matmul_job(void *ctx, unsigned i, unsigned n)
{
    const struct job *j = ctx;
    size_t total = 0, from, to, at = 0;
    for (unsigned o = 0; o < j->n_ops; o++)
        total += TW_DIV_UP(j->ops[o].w->n, (size_t)TW_PANEL);
    tw_share(total, i, n, &from, &to);
    for (unsigned o = 0; o < j->n_ops && at < to; o++) {
        size_t n_panels = TW_DIV_UP(j->ops[o].w->n, (size_t)TW_PANEL);
        size_t a = TW_MAX(from, at), z = TW_MIN(to, at + n_panels);
        if (a < z)
            multiply(j, &j->ops[o], a - at, z - at, i);
        at += n_panels;
    }
    expect_next(j, i, n);
}

/* The rows of the products' common x, for quantised weights. */
static void quantize_job(void *ctx, unsigned i, unsigned n)
{
    const struct job *j = ctx;
    const tw_matmul *op = &j->ops[0];
    size_t from, to;
    tw_share(op->m, i, n, &from, &to);
    for (size_t r = from; r < to; r++)
        j->f->kern->quantize(j->f->xq + r * (op->w->k / 32), op->x + r * op->ldx, op->w->k);
}

/* A row that is read maps up to 2 MiB of the file: let go before that shows in our RSS, but not at
 * every token of decode. */
enum { EMBED_ROWS_HELD = 8 }; /* of all threads together */

static void embed_job(void *ctx, unsigned i, unsigned n)
{
    const struct job *j = ctx;
    const tw_forward *f = j->f;
    const uint32_t d = f->cfg->d_model, half = f->cfg->head_dim / 2;
    size_t from, to;
    const size_t n_held = TW_MAX(EMBED_ROWS_HELD / n, 1u);
    tw_share(j->b->n_rows, i, n, &from, &to);
    for (size_t r = from; r < to; r++) {
        enum tw_dtype type;
        const void *row = tw_model_embed_row(f->model, j->b->tokens[r], &type);
        if (tw_dtype_is_quant(type))
            tw_dequantize_row(type, f->x + r * d, row, d);
        else
            f->kern->to_f32(f->x + r * d, row, type, d);
        if ((r - from) % n_held == n_held - 1)
            tw_model_embed_drop(f->model);
        f->kern->rmsnorm(f->h + r * d, f->x + r * d, j->norm, d, f->cfg->norm_eps);
        for (uint32_t p = 0; p < half; p++) {
            float s, c;
            tw_sincosf((float)j->b->positions[r] * f->freqs[p], &s, &c);
            f->cos[r * half + p] = c * f->rope_scale;
            f->sin[r * half + p] = s * f->rope_scale;
        }
    }
}

/* x [D] to bf16, nearest even, and back. */
static void round_row(const tw_forward *f, float *x, void *scratch)
{
    const uint32_t d = f->cfg->d_model;
    f->kern->from_f32(scratch, x, TW_BF16, d);
    f->kern->to_f32(x, scratch, TW_BF16, d);
}

/* What the group does with wire16, where one rank has both halves. */
static void join_halves(const tw_forward *f, size_t row, void *scratch)
{
    const size_t d = f->cfg->d_model;
    float *low = f->partial + row * d, *high = f->high + row * d;
    round_row(f, low, scratch);
    round_row(f, high, scratch);
    f->kern->add(low, low, high, d);
}

/* x += partial + bias (the tree is complete), then the next norm. */
static void residual_job(void *ctx, unsigned i, unsigned n)
{
    const struct job *j = ctx;
    const tw_forward *f = j->f;
    const uint32_t d = f->cfg->d_model;
    size_t from, to;
    tw_share(j->b->n_rows, i, n, &from, &to);
    for (size_t r = from; r < to; r++) {
        float *x = f->x + r * d, *p = f->partial + r * d;
        if (f->high != NULL)
            join_halves(f, r, tw_scratch_of(f, i));
        if (j->bias != NULL)
            f->kern->add(p, p, j->bias, d);
        f->kern->add(x, x, p, d);
        if (j->norm != NULL)
            f->kern->rmsnorm(f->h + r * d, x, j->norm, d, f->cfg->norm_eps);
    }
}

static void act_job(void *ctx, unsigned i, unsigned n)
{
    const struct job *j = ctx;
    const tw_forward *f = j->f;
    size_t from, to;
    tw_share((size_t)j->b->n_rows * f->shard.n_ffn, i, n, &from, &to);
    f->kern->silu_mul(f->gate + from, f->gate + from, f->up + from, to - from);
}

/* The rows whose logits are wanted, normalised into the front of h. */
static void final_norm_job(void *ctx, unsigned i, unsigned n)
{
    const struct job *j = ctx;
    const tw_forward *f = j->f;
    const uint32_t d = f->cfg->d_model;
    size_t from, to;
    tw_share(j->b->n_logits, i, n, &from, &to);
    for (size_t r = from; r < to; r++)
        f->kern->rmsnorm(f->h + r * d, f->x + (size_t)j->b->logit_rows[r] * d, j->norm, d,
                         f->cfg->norm_eps);
}

/* ---- one layer ---- */

static tw_matmul column_op(const tw_forward *f, uint32_t m, const tw_packed *w, float *y,
                           const float *bias)
{
    return (tw_matmul){.w = w,
                       .x = f->h,
                       .m = m,
                       .ldx = f->cfg->d_model,
                       .y = y,
                       .ldy = w->n,
                       .seg = f->shard.seg_d,
                       .n_seg = TW_SEGMENTS,
                       .add = bias};
}

static tw_matmul row_op(const tw_forward *f, uint32_t m, const tw_packed *w, const float *x,
                        const uint32_t *seg)
{
    return (tw_matmul){.w = w,
                       .x = x,
                       .m = m,
                       .ldx = w->k,
                       .y = f->partial,
                       .ldy = f->cfg->d_model,
                       .seg = seg,
                       .n_seg = f->shard.n_seg};
}

/* Products of one x. Few rows are quantised inside the product: cheaper than meeting once more. */
static void run_ops(struct job *j, const tw_matmul *ops, unsigned n_ops)
{
    tw_matmul own[TW_JOB_OPS];
    bool quant = false;
    for (unsigned o = 0; o < n_ops; o++) {
        own[o] = ops[o];
        quant = quant || tw_dtype_is_quant(ops[o].w->type);
    }
    j->ops = own;
    j->n_ops = n_ops;
    if (quant && ops[0].m > TW_XROWS) {
        tw_team_run(j->f->team, quantize_job, j);
        for (unsigned o = 0; o < n_ops; o++) {
            own[o].xq = j->f->xq;
            own[o].ldxq = ops[o].w->k / 32;
        }
    }
    tw_team_run(j->f->team, matmul_job, j);
}

/* A product whose segments are spread over the ranks; with wire16 one rank alone makes the tree's
 * halves apart. Both are rounded before they are added: where the lower one has no segment it is +0,
 * which changes nothing. */
static void run_row(struct job *j, const tw_packed *w, const float *x, const uint32_t *seg)
{
    const tw_forward *f = j->f;
    tw_matmul ops[2] = {row_op(f, j->b->n_rows, w, x, seg)};
    if (f->high != NULL) {
        ops[1] = ops[0];
        ops[0].n_seg = ops[1].n_seg = TW_SEGMENTS / 2;
        ops[1].seg = seg + TW_SEGMENTS / 2;
        ops[1].y = f->high;
    }
    run_ops(j, ops, f->high != NULL ? 2 : 1);
}

/* Once it is on its way, what the next product reads is fetched: the wire and memory work together. */
static int reduce(const tw_forward *f, size_t n, tw_err *err)
{
    int rc = f->wire16 ? tw_coll_all_reduce_wire16_start(f->coll, f->partial, n, err)
                       : tw_coll_all_reduce_start(f->coll, f->partial, n, err);
    if (rc == 0)
        rc = tw_coll_poll(f->coll, tw_clock_now_ns(), err);
    if (rc != -EAGAIN)
        return rc;
    tw_team_fetch(f->team);
    return tw_coll_wait(f->coll, 0, err);
}

/* Finishes the tree over the ranks, then residual and norm. */
static int exchange(struct job *j, const float *bias, const float *norm, tw_err *err)
{
    tw_forward *f = j->f;
    if (f->coll != NULL) {
        uint64_t t0 = tw_clock_now_ns();
        const size_t n = (size_t)j->b->n_rows * f->cfg->d_model;
        int rc = reduce(f, n, err);
        f->exchange_ns += tw_clock_now_ns() - t0;
        tw_profiler_note(f->profiler, TW_PROFILE_EXCHANGE, 0, j->b->n_rows, t0);
        if (rc != 0)
            return rc;
    }
    tw_forward_residual(j, bias, norm);
    return 0;
}

void tw_forward_residual(struct job *j, const float *bias, const float *norm)
{
    j->bias = bias;
    j->norm = norm;
    tw_team_run(j->f->team, residual_job, j);
}

/* The products that follow, where few rows make them wait for memory. */
static void set_next(struct job *j, const tw_packed *a, const tw_packed *b, const tw_packed *c)
{
    const tw_packed *all[TW_JOB_OPS] = {a, b, c};
    j->n_next = 0;
    for (unsigned o = 0; o < TW_JOB_OPS && j->b->n_rows <= TW_XROWS; o++)
        if (all[o] != NULL)
            j->next[j->n_next++] = all[o];
}

/* What a layer, or the vocabulary where there is none any more, begins with. */
static void set_next_layer(struct job *j, uint32_t i_layer)
{
    const tw_weights *w = j->f->weights;
    const tw_layer *l = &w->layers[i_layer];
    if (i_layer < j->f->cfg->n_layers)
        set_next(j, &l->q, &l->k, &l->v);
    else
        set_next(j, &w->lm_head, NULL, NULL);
}

void tw_forward_attn_part(struct job *j)
{
    const tw_forward *f = j->f;
    const tw_layer *l = j->l;
    const uint32_t m = j->b->n_rows;
    const tw_matmul qkv[] = {column_op(f, m, &l->q, f->q, l->q_bias),
                             column_op(f, m, &l->k, f->k, l->k_bias),
                             column_op(f, m, &l->v, f->v, l->v_bias)};
    set_next(j, &l->o, NULL, NULL);
    run_ops(j, qkv, 3);
    tw_forward_attend(j);
    if (l->experts != NULL)
        set_next(j, &l->router, NULL, NULL);
    else
        set_next(j, &l->gate, &l->up, NULL);
    run_row(j, &l->o, f->attn, f->shard.seg_o);
}

void tw_forward_ffn_part(struct job *j)
{
    tw_forward *f = j->f;
    const tw_layer *l = j->l;
    const uint32_t m = j->b->n_rows;
    if (l->experts != NULL) {
        const tw_matmul router = column_op(f, m, &l->router, f->moe.probs, NULL);
        set_next(j, NULL, NULL, NULL);
        run_ops(j, &router, 1);
        tw_moe_run(f, l, m);
    } else {
        const tw_matmul gate_up[] = {column_op(f, m, &l->gate, f->gate, l->gate_bias),
                                     column_op(f, m, &l->up, f->up, l->up_bias)};
        set_next(j, &l->down, NULL, NULL);
        run_ops(j, gate_up, 2);
        tw_team_run(f->team, act_job, j);
        set_next_layer(j, j->i_layer + 1);
        run_row(j, &l->down, f->gate, f->shard.seg_f);
    }
}

static int run_layer(struct job *j, const float *next_norm, tw_err *err)
{
    tw_forward_attn_part(j);
    int rc = exchange(j, j->l->o_bias, j->l->ffn_norm, err);
    if (rc != 0)
        return rc;
    tw_forward_ffn_part(j);
    return exchange(j, j->l->down_bias, next_norm, err);
}

/* One exchange after the other, each waited for. */
static int run_layers(struct job *j, tw_err *err)
{
    const tw_forward *f = j->f;
    for (uint32_t i = 0; i < f->cfg->n_layers; i++) {
        j->l = &f->weights->layers[i];
        j->i_layer = i;
        const float *next = i + 1 < f->cfg->n_layers ? f->weights->layers[i + 1].attn_norm : NULL;
        int rc = run_layer(j, next, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int tw_forward_run(tw_forward *f, const tw_batch *b, tw_err *err)
{
    struct job j = {.f = f, .b = b, .norm = f->weights->layers[0].attn_norm};
    uint64_t t0 = tw_clock_now_ns(), exchange0 = f->exchange_ns;
    tw_team_run(f->team, embed_job, &j);
    f->n_embedded += b->n_rows;
    if (f->n_embedded >= EMBED_ROWS_HELD) {
        tw_model_embed_drop(f->model);
        f->n_embedded = 0;
    }
    int rc = f->overlap && tw_overlap_is_possible(f, b) ? tw_overlap_layers(f, b, err)
                                                        : run_layers(&j, err);
    if (rc != 0)
        return rc;
    if (b->n_logits > 0) {
        j.norm = f->weights->final_norm;
        tw_team_run(f->team, final_norm_job, &j);
        const tw_matmul head = column_op(f, b->n_logits, &f->weights->lm_head, f->logits, NULL);
        set_next_layer(&j, 0);
        run_ops(&j, &head, 1);
    }
    f->arith_ns += tw_clock_now_ns() - t0 - (f->exchange_ns - exchange0);
    return 0;
}
