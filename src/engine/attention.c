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
void tw_forward_rope_job(void *ctx, unsigned i, unsigned n)
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

/* Neighbouring KV heads g [n_kv] that have as many query heads each. */
static void attend(const struct job *j, const tw_span *s, const tw_group *g, uint32_t n_kv,
                   uint32_t row0, uint8_t *scratch)
{
    const tw_forward *f = j->f;
    const uint32_t q_dim = f->cfg->head_dim;
    const size_t ld = (size_t)f->shard.n_heads * q_dim;
    const uint32_t n_rows = TW_MIN((uint32_t)ATTN_ROWS, s->n_rows - row0);
    const uint32_t n_pages = (s->pos0 + row0 + n_rows - 1) / TW_KV_BLOCK + 1;
    const void **tables =
        (const void **)(void *)(scratch + f->scratch_bytes - tw_forward_table_bytes(f));
    const void **k_pages = tables, **v_pages = tables + f->max_pages;
    for (uint32_t p = 0; p < n_pages; p++) {
        k_pages[p] = tw_kv_block(f->kv, j->i_layer, s->pages[p], 0, g->i_kv);
        v_pages[p] = tw_kv_block(f->kv, j->i_layer, s->pages[p], 1, g->i_kv);
    }
    const size_t at = (s->row0 + row0) * ld + (size_t)g->head0 * q_dim;
    const tw_attn op = {
        .q = f->q + at,
        .ld_row = ld,
        .ld_head = q_dim,
        .out = f->attn + at,
        .ld_out_row = ld,
        .k_pages = k_pages,
        .v_pages = v_pages,
        .kv_type = f->kv->type,
        .q_dim = q_dim,
        .n_group = g->n_heads,
        .n_kv = n_kv,
        .pos0 = s->pos0 + row0,
        .window = f->cfg->window[j->i_layer],
        .scale = 1.0f / sqrtf((float)q_dim),
    };
    f->kern->attn(&op, 0, n_rows, scratch);
}

/* How many KV heads from g on, below end, have as many query heads. */
static uint32_t alike(const tw_forward *f, uint32_t g, uint32_t end)
{
    uint32_t n = 1;
    while (g + n < end && f->groups[g + n].n_heads == f->groups[g].n_heads)
        n++;
    return n;
}

/* One row: its KV heads lie side by side in a page, so that many of them are one stream; in as many
 * pieces as keep n threads busy. */
static void attn_row(const struct job *j, const tw_span *s, unsigned *i_task, unsigned i,
                     unsigned n)
{
    const tw_forward *f = j->f;
    const uint32_t n_pieces = j->b->n_spans >= 4 * n ? 1 : TW_MIN(f->n_groups, n);
    for (uint32_t p = 0; p < n_pieces; p++) {
        size_t g, end;
        tw_share(f->n_groups, p, n_pieces, &g, &end);
        if ((*i_task)++ % n != i)
            continue;
        for (uint32_t n_kv; g < end; g += n_kv) {
            n_kv = alike(f, (uint32_t)g, (uint32_t)end);
            attend(j, s, &f->groups[g], n_kv, 0, tw_scratch_of(f, i));
        }
    }
}

/* Tasks (span, rows, KV heads), dealt by their number of keys would be fairer; round robin over row
 * blocks is close, because neighbours cost about the same. */
void tw_forward_attn_job(void *ctx, unsigned i, unsigned n)
{
    const struct job *j = ctx;
    const tw_forward *f = j->f;
    unsigned i_task = 0;
    for (const tw_span *s = j->b->spans; s < j->b->spans + j->b->n_spans; s++) {
        if (s->n_rows == 1)
            attn_row(j, s, &i_task, i, n);
        for (uint32_t row0 = 0; s->n_rows > 1 && row0 < s->n_rows; row0 += ATTN_ROWS) {
            for (uint32_t g = 0; g < f->n_groups; g++)
                if (i_task++ % n == i)
                    attend(j, s, &f->groups[g], 1, row0, tw_scratch_of(f, i));
            if (i == 0 && f->in_flight != NULL)
                tw_overlap_poll(f->in_flight);
        }
    }
}
