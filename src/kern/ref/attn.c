/* SPDX-License-Identifier: Apache-2.0 */
#include "kern/ref/ref.h"

#include <math.h>

#include "kern/half.h"

enum { MAX_Q = 512 };

typedef struct partial {
    float m, l;
    float o[MAX_Q]; /* [Q] */
} partial;

static float kv_at(const tw_attn *op, const void *const *pages, uint32_t pos, size_t i)
{
    const void *page = pages[pos / TW_KV_BLOCK];
    size_t at = pos % TW_KV_BLOCK * op->q_dim + i;
    if (op->kv_type == TW_F32)
        return ((const float *)page)[at];
    return tw_bf16_to_f32(((const uint16_t *)page)[at]);
}

static float score(const tw_attn *op, const float *q, uint32_t pos)
{
    float l[TW_LANES] = {0};
    for (size_t i = 0; i < op->q_dim; i++)
        l[i % TW_LANES] = fmaf(q[i], kv_at(op, op->k_pages, pos, i), l[i % TW_LANES]);
    return tw_ref_tree16(l) * op->scale;
}

/* Keys [pos0, pos1) of one block; first: the first of its span. */
static void add_block(const tw_attn *op, const float *q, uint32_t pos0, uint32_t pos1, bool first,
                      partial *a)
{
    float s[TW_KV_BLOCK], l[TW_LANES] = {0};
    float m = a->m;
    for (uint32_t t = pos0; t < pos1; t++) {
        float v = s[t % TW_KV_BLOCK] = score(op, q, t);
        m = v > m ? v : m;
    }
    float c = first ? 0.0f : tw_expf(a->m - m);
    for (uint32_t t = pos0; t < pos1; t++) {
        float p = s[t % TW_KV_BLOCK] = tw_expf(s[t % TW_KV_BLOCK] - m);
        l[t % TW_LANES] += p;
    }
    a->m = m;
    a->l = fmaf(a->l, c, tw_ref_tree16(l));
    for (size_t i = 0; i < op->q_dim; i++) {
        float o = a->o[i] * c;
        for (uint32_t t = pos0; t < pos1; t++)
            o = fmaf(s[t % TW_KV_BLOCK], kv_at(op, op->v_pages, t, i), o);
        a->o[i] = o;
    }
}

static void merge(partial *a, const partial *b, size_t n)
{
    float m = a->m > b->m ? a->m : b->m;
    float ca = tw_expf(a->m - m), cb = tw_expf(b->m - m);
    a->m = m;
    a->l = fmaf(b->l, cb, a->l * ca);
    for (size_t i = 0; i < n; i++)
        a->o[i] = fmaf(b->o[i], cb, a->o[i] * ca);
}

static void attend(const tw_attn *op, uint32_t row, unsigned head)
{
    const float *q = op->q + row * op->ld_row + head * op->ld_head;
    float *out = op->out + row * op->ld_out_row + head * op->ld_head;
    uint32_t end = op->pos0 + row + 1;
    uint32_t begin = op->window && end > op->window ? end - op->window : 0;
    partial all, span;
    for (uint32_t t0 = begin; t0 < end;) {
        bool first_span = t0 == begin;
        uint32_t span_end = (t0 / TW_KV_SPAN + 1) * TW_KV_SPAN;
        span_end = span_end < end ? span_end : end;
        partial *a = first_span ? &all : &span;
        a->m = -INFINITY;
        a->l = 0.0f;
        for (size_t i = 0; i < op->q_dim; i++)
            a->o[i] = 0.0f;
        for (bool first = true; t0 < span_end; first = false) {
            uint32_t t1 = (t0 / TW_KV_BLOCK + 1) * TW_KV_BLOCK;
            t1 = t1 < span_end ? t1 : span_end;
            add_block(op, q, t0, t1, first, a);
            t0 = t1;
        }
        if (!first_span)
            merge(&all, &span, op->q_dim);
    }
    for (size_t i = 0; i < op->q_dim; i++)
        out[i] = all.o[i] / all.l;
}

void tw_ref_attn(const tw_attn *op, uint32_t i_row0, uint32_t i_row1, void *scratch)
{
    (void)scratch;
    for (uint32_t row = i_row0; row < i_row1; row++)
        for (unsigned head = 0; head < op->n_group; head++)
            attend(op, row, head);
}
