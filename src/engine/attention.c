/* SPDX-License-Identifier: Apache-2.0 */
/* What lies between a layer's products of q, k, v and of o: norms, rope, the cache, attention. */
#include "engine/forward_inside.h"

#include <math.h>

#include "base/scope.h"

static void norm_heads(const tw_forward *f, float *x, uint32_t n_heads, const float *w)
{
    const uint32_t q = f->cfg->head_dim;
    for (uint32_t h = 0; w != NULL && h < n_heads; h++)
        f->kern->rmsnorm(x + (size_t)h * q, x + (size_t)h * q, w, q, f->cfg->norm_eps);
}

static const tw_span *span_of_row(const tw_batch *b, size_t row)
{
    const tw_span *s = b->spans;
    while (row >= s->row0 + s->n_rows)
        s++;
    return s;
}

/* q/k norm, rope, and this row's K and V into their pages. */
static void rope_job(void *ctx, unsigned i, unsigned n)
{
    const struct job *j = ctx;
    const tw_forward *f = j->f;
    const tw_shard *s = &f->shard;
    const uint32_t q_dim = f->cfg->head_dim;
    const size_t kv_len = (size_t)s->n_kv * q_dim, slot_bytes = f->kv->head_bytes / TW_KV_BLOCK;
    size_t from, to;
    tw_share(j->b->n_rows, i, n, &from, &to);
    for (size_t r = from; r < to; r++) {
        float *q = f->q + r * s->n_heads * q_dim, *k = f->k + r * kv_len, *v = f->v + r * kv_len;
        const float *c = f->cos + r * q_dim / 2, *sn = f->sin + r * q_dim / 2;
        norm_heads(f, q, s->n_heads, j->l->q_norm);
        norm_heads(f, k, s->n_kv, j->l->k_norm);
        f->kern->rope(q, s->n_heads, q_dim, q_dim, c, sn);
        f->kern->rope(k, s->n_kv, q_dim, q_dim, c, sn);
        const uint32_t pos = j->b->positions[r];
        const uint32_t page = span_of_row(j->b, r)->pages[pos / TW_KV_BLOCK];
        for (uint32_t g = 0; g < s->n_kv; g++) {
            const size_t off = pos % TW_KV_BLOCK * slot_bytes, e = (size_t)g * q_dim;
            f->kern->from_f32(tw_kv_block(f->kv, j->i_layer, page, 0, g) + off, k + e, f->kv->type,
                              q_dim);
            f->kern->from_f32(tw_kv_block(f->kv, j->i_layer, page, 1, g) + off, v + e, f->kv->type,
                              q_dim);
        }
    }
}

enum { ATTN_ROWS = 16 }; /* query positions of one task: large enough to reuse a page from cache */

/* Neighbouring KV heads g [n_kv] that have as many query heads each: the rows from row0 on. */
static tw_attn op_of(const struct job *j, const tw_span *s, const tw_group *g, uint32_t n_kv,
                     uint32_t row0)
{
    const tw_forward *f = j->f;
    const uint32_t q_dim = f->cfg->head_dim;
    const size_t ld = (size_t)f->shard.n_heads * q_dim;
    const size_t at = (s->row0 + row0) * ld + (size_t)g->head0 * q_dim;
    return (tw_attn){
        .q = f->q + at,
        .ld_row = ld,
        .ld_head = q_dim,
        .out = f->attn + at,
        .ld_out_row = ld,
        .kv_type = f->kv->type,
        .q_dim = q_dim,
        .n_group = g->n_heads,
        .n_kv = n_kv,
        .pos0 = s->pos0 + row0,
        .window = f->cfg->window[j->i_layer],
        .scale = 1.0f / sqrtf((float)q_dim),
    };
}

/* Blocks [from, to) of a KV head into the thread's table of pages. */
static void find_pages(const struct job *j, const tw_span *s, const tw_group *g, uint32_t from,
                       uint32_t to, uint8_t *scratch, tw_attn *op)
{
    const tw_forward *f = j->f;
    const void **tables =
        (const void **)(void *)(scratch + f->scratch_bytes - tw_forward_table_bytes(f));
    const void **k_pages = tables, **v_pages = tables + f->max_pages;
    for (uint32_t p = from; p < to; p++) {
        k_pages[p] = tw_kv_block(f->kv, j->i_layer, s->pages[p], 0, g->i_kv);
        v_pages[p] = tw_kv_block(f->kv, j->i_layer, s->pages[p], 1, g->i_kv);
    }
    op->k_pages = k_pages;
    op->v_pages = v_pages;
}

static uint32_t count_blocks(uint32_t n_keys)
{
    return TW_DIV_UP(n_keys, (uint32_t)TW_KV_BLOCK);
}

static void attend(const struct job *j, const tw_span *s, const tw_group *g, uint32_t n_kv,
                   uint32_t row0, uint8_t *scratch)
{
    const uint32_t n_rows = TW_MIN((uint32_t)ATTN_ROWS, s->n_rows - row0);
    tw_attn op = op_of(j, s, g, n_kv, row0);
    find_pages(j, s, g, 0, count_blocks(op.pos0 + n_rows), scratch, &op);
    j->f->kern->attn(&op, 0, n_rows, scratch);
}

/* How many KV heads from g on, below end, have as many query heads. */
static uint32_t alike(const tw_forward *f, uint32_t g, uint32_t end)
{
    uint32_t n = 1;
    while (g + n < end && f->groups[g + n].n_heads == f->groups[g].n_heads)
        n++;
    return n;
}

/* ---- single rows ----
 * Their keys are one line: row by row, KV head by KV head, the keys that the row sees. Every thread
 * gets an equal stretch of it. A stretch begins and ends at a KV head where that is near, and those
 * that lie side by side in a page are one stream; else, for a row whose parts have room, at a span:
 * then the row's partials are merged when all have met. */

/* The first key that a single row sees, and how many. */
static uint32_t seen_keys(const struct job *j, const tw_span *s, uint32_t *ret_n)
{
    const uint32_t end = s->pos0 + 1, window = j->f->cfg->window[j->i_layer];
    const uint32_t begin = window != 0 && end > window ? end - window : 0;
    *ret_n = end - begin;
    return begin;
}

static size_t line_keys(const struct job *j, const tw_span *s)
{
    uint32_t n;
    (void)seen_keys(j, s, &n);
    return s->n_rows == 1 ? (size_t)n * j->f->n_groups : 0;
}

static size_t all_keys(const struct job *j)
{
    size_t sum = 0;
    for (const tw_span *s = j->b->spans; s < j->b->spans + j->b->n_spans; s++)
        sum += line_keys(j, s);
    return sum;
}

static uint32_t count_spans(const tw_span *s)
{
    return s->pos0 / TW_KV_SPAN + 1;
}

static size_t part_floats(const tw_forward *f, const tw_span *s, size_t n_heads)
{
    return n_heads * count_spans(s) * (f->cfg->head_dim + 2);
}

/* Whether a border between two of n threads' stretches falls deep into a KV head's keys; the row's
 * line begins at key at of total. */
static bool is_cut(const struct job *j, const tw_span *s, size_t at, size_t total, unsigned n)
{
    uint32_t n_keys;
    (void)seen_keys(j, s, &n_keys);
    const size_t end = at + line_keys(j, s);
    for (unsigned i = (unsigned)(at * n / total); i < n && total * i / n < end; i++) {
        const size_t border = total * i / n;
        const size_t into = border > at ? (border - at) % n_keys : 0;
        if (TW_MIN(into, n_keys - into) >= TW_KV_SPAN / 2)
            return true;
    }
    return false;
}

/* Rows that are to be cut get room for their partials, as far as there is any; whether one has. */
static bool place_parts(const struct job *j)
{
    const tw_forward *f = j->f;
    const size_t total = all_keys(j);
    size_t at = 0, used = 0;
    for (tw_span *s = j->b->spans; s < j->b->spans + j->b->n_spans; s++) {
        const size_t n_floats = part_floats(f, s, f->shard.n_heads);
        s->parts = NULL;
        if (s->n_rows == 1 && n_floats <= TW_PART_FLOATS - used &&
            is_cut(j, s, at, total, f->n_threads)) {
            s->parts = f->parts + used;
            used += n_floats;
        }
        at += line_keys(j, s);
    }
    return used > 0;
}

/* Spans [from, to) of KV heads [g, g_end). */
static void attend_spans(const struct job *j, const tw_span *s, uint32_t g, uint32_t g_end,
                         uint32_t from, uint32_t to, uint8_t *scratch)
{
    enum { BLOCKS = TW_KV_SPAN / TW_KV_BLOCK };
    const tw_forward *f = j->f;
    const uint32_t n_blocks = count_blocks(s->pos0 + 1);
    for (uint32_t n_kv; from < to && g < g_end; g += n_kv) {
        n_kv = alike(f, g, g_end);
        tw_attn op = op_of(j, s, &f->groups[g], n_kv, 0);
        find_pages(j, s, &f->groups[g], from * BLOCKS, TW_MIN(to * BLOCKS, n_blocks), scratch, &op);
        op.parts = s->parts + part_floats(f, s, f->groups[g].head0);
        op.n_spans = count_spans(s);
        f->kern->attn_spans(&op, 0, 1, from, to, scratch);
    }
}

/* A place in a row's line: before span i_span of KV head g. */
typedef struct cut {
    uint32_t g, i_span;
} cut;

static cut find_cut(const struct job *j, const tw_span *s, size_t at)
{
    uint32_t n_keys, begin = seen_keys(j, s, &n_keys);
    if (s->parts == NULL)
        return (cut){.g = (uint32_t)((at + n_keys / 2) / n_keys)};
    cut c = {.g = (uint32_t)(at / n_keys)};
    const uint32_t into = (uint32_t)(at % n_keys);
    c.i_span = into != 0 ? (begin + into + TW_KV_SPAN / 2) / TW_KV_SPAN : 0;
    if (c.i_span >= count_spans(s))
        c = (cut){.g = c.g + 1};
    return c;
}

/* Keys [from, to) of a row's line. */
static void attend_row(const struct job *j, const tw_span *s, size_t from, size_t to,
                       uint8_t *scratch)
{
    cut a = find_cut(j, s, from), z = find_cut(j, s, to);
    for (uint32_t n_kv; s->parts == NULL && a.g < z.g; a.g += n_kv) {
        n_kv = alike(j->f, a.g, z.g);
        attend(j, s, &j->f->groups[a.g], n_kv, 0, scratch);
    }
    if (s->parts == NULL)
        return;
    const uint32_t n_spans = count_spans(s);
    if (a.g < z.g && a.i_span > 0) {
        attend_spans(j, s, a.g, a.g + 1, a.i_span, n_spans, scratch);
        a = (cut){.g = a.g + 1};
    }
    attend_spans(j, s, a.g, z.g, 0, n_spans, scratch);
    if (z.i_span > 0)
        attend_spans(j, s, z.g, z.g + 1, a.g == z.g ? a.i_span : 0, z.i_span, scratch);
}

static void attend_rows(const struct job *j, unsigned i, unsigned n)
{
    size_t from, to, at = 0;
    tw_share(all_keys(j), i, n, &from, &to);
    for (const tw_span *s = j->b->spans; s < j->b->spans + j->b->n_spans && at < to; s++) {
        const size_t n_keys = line_keys(j, s);
        const size_t a = TW_MAX(from, at), z = TW_MIN(to, at + n_keys);
        if (a < z)
            attend_row(j, s, a - at, z - at, tw_scratch_of(j->f, i));
        at += n_keys;
    }
}

/* KV heads of the rows that were cut, in turns. */
static void merge_job(void *ctx, unsigned i, unsigned n)
{
    const struct job *j = ctx;
    const tw_forward *f = j->f;
    unsigned i_task = 0;
    for (const tw_span *s = j->b->spans; s < j->b->spans + j->b->n_spans; s++)
        for (uint32_t g = 0; s->parts != NULL && g < f->n_groups; g++) {
            if (i_task++ % n != i)
                continue;
            tw_attn op = op_of(j, s, &f->groups[g], 1, 0);
            op.parts = s->parts + part_floats(f, s, f->groups[g].head0);
            op.n_spans = count_spans(s);
            f->kern->attn_merge(&op, 0, 1);
        }
}

/* ---- all ---- */

/* Of several rows: tasks of some rows and a KV head, in turns, because neighbours cost about the same. */
static void attn_job(void *ctx, unsigned i, unsigned n)
{
    const struct job *j = ctx;
    const tw_forward *f = j->f;
    unsigned i_task = 0;
    attend_rows(j, i, n);
    for (const tw_span *s = j->b->spans; s < j->b->spans + j->b->n_spans; s++)
        for (uint32_t row0 = 0; s->n_rows > 1 && row0 < s->n_rows; row0 += ATTN_ROWS) {
            for (uint32_t g = 0; g < f->n_groups; g++)
                if (i_task++ % n == i)
                    attend(j, s, &f->groups[g], 1, row0, tw_scratch_of(f, i));
            if (i == 0 && f->in_flight != NULL)
                tw_overlap_poll(f->in_flight);
        }
}

void tw_forward_attend(struct job *j)
{
    tw_team *team = j->f->team;
    tw_team_run(team, rope_job, j);
    const bool is_parted = place_parts(j);
    tw_team_run(team, attn_job, j);
    if (is_parted)
        tw_team_run(team, merge_job, j);
}
