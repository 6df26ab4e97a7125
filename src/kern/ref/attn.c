/* SPDX-License-Identifier: Apache-2.0 */
#include "kern/ref/ref.h"

#include <math.h>
#include <string.h>

#include "kern/half.h"

enum { MAX_Q = 512 };

typedef struct partial {
    float m, l;
    float o[MAX_Q]; /* [Q] */
} partial;

static float kv_at(const tw_attn *op, const void *const *pages, unsigned i_kv, uint32_t pos,
                   size_t i)
{
    const void *page = pages[pos / TW_KV_BLOCK];
    size_t at = (i_kv * TW_KV_BLOCK + pos % TW_KV_BLOCK) * op->q_dim + i;
    if (op->kv_type == TW_F32)
        return ((const float *)page)[at];
    return tw_bf16_to_f32(((const uint16_t *)page)[at]);
}

static float score(const tw_attn *op, unsigned i_kv, const float *q, uint32_t pos)
{
    float l[TW_LANES] = {0};
    for (size_t i = 0; i < op->q_dim; i++)
        l[i % TW_LANES] = fmaf(q[i], kv_at(op, op->k_pages, i_kv, pos, i), l[i % TW_LANES]);
    return tw_ref_tree16(l) * op->scale;
}

/* Keys [pos0, pos1) of one block; first: the first of its span. */
static void add_block(const tw_attn *op, unsigned head, const float *q, uint32_t pos0,
                      uint32_t pos1, bool first, partial *a)
{
    const unsigned i_kv = head / op->n_group;
    float s[TW_KV_BLOCK], l[TW_LANES] = {0};
    float m = a->m;
    for (uint32_t t = pos0; t < pos1; t++) {
        float v = s[t % TW_KV_BLOCK] = score(op, i_kv, q, t);
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
            o = fmaf(s[t % TW_KV_BLOCK], kv_at(op, op->v_pages, i_kv, t, i), o);
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

/* The visible keys of a row. */
static void visible(const tw_attn *op, uint32_t row, uint32_t *ret_begin, uint32_t *ret_end)
{
    *ret_end = op->pos0 + row + 1;
    *ret_begin = op->window && *ret_end > op->window ? *ret_end - op->window : 0;
}

/* Those of one span; false: none. */
static bool attend_span(const tw_attn *op, uint32_t row, unsigned head, uint32_t i_span, partial *a)
{
    const float *q = op->q + row * op->ld_row + head * op->ld_head;
    uint32_t t0, end, from = i_span * TW_KV_SPAN;
    visible(op, row, &t0, &end);
    t0 = t0 > from ? t0 : from;
    end = end < from + TW_KV_SPAN ? end : from + TW_KV_SPAN;
    *a = (partial){.m = -INFINITY};
    if (t0 >= end)
        return false;
    for (bool first = true; t0 < end; first = false) {
        uint32_t t1 = (t0 / TW_KV_BLOCK + 1) * TW_KV_BLOCK;
        t1 = t1 < end ? t1 : end;
        add_block(op, head, q, t0, t1, first, a);
        t0 = t1;
    }
    return true;
}

static float *out_of(const tw_attn *op, uint32_t row, unsigned head)
{
    return op->out + row * op->ld_out_row + head * op->ld_head;
}

static unsigned heads_of(const tw_attn *op)
{
    return op->n_group * (op->n_kv > 0 ? op->n_kv : 1);
}

static float *part_of(const tw_attn *op, uint32_t row, unsigned head, uint32_t i_span)
{
    size_t i = ((size_t)row * heads_of(op) + head) * op->n_spans + i_span;
    return op->parts + i * (op->q_dim + 2);
}

static void attend(const tw_attn *op, uint32_t row, unsigned head)
{
    uint32_t begin, end;
    visible(op, row, &begin, &end);
    partial all, span;
    (void)attend_span(op, row, head, begin / TW_KV_SPAN, &all);
    for (uint32_t s = begin / TW_KV_SPAN + 1; s * TW_KV_SPAN < end; s++) {
        (void)attend_span(op, row, head, s, &span);
        merge(&all, &span, op->q_dim);
    }
    for (size_t i = 0; i < op->q_dim; i++)
        out_of(op, row, head)[i] = all.o[i] / all.l;
}

void tw_ref_attn(const tw_attn *op, uint32_t i_row0, uint32_t i_row1, void *scratch)
{
    (void)scratch;
    for (uint32_t row = i_row0; row < i_row1; row++)
        for (unsigned head = 0; head < heads_of(op); head++)
            attend(op, row, head);
}

void tw_ref_attn_spans(const tw_attn *op, uint32_t i_row0, uint32_t i_row1, uint32_t i_span0,
                       uint32_t i_span1, void *scratch)
{
    (void)scratch;
    for (uint32_t row = i_row0; row < i_row1; row++)
        for (unsigned head = 0; head < heads_of(op); head++)
            for (uint32_t s = i_span0; s < i_span1; s++) {
                float *part = part_of(op, row, head, s);
                partial a;
                if (attend_span(op, row, head, s, &a))
                    memcpy(part, a.o, op->q_dim * sizeof *part);
                part[op->q_dim] = a.m;
                part[op->q_dim + 1] = a.l;
            }
}

void tw_ref_attn_merge(const tw_attn *op, uint32_t i_row0, uint32_t i_row1)
{
    const size_t q = op->q_dim;
    for (uint32_t row = i_row0; row < i_row1; row++)
        for (unsigned head = 0; head < heads_of(op); head++) {
            partial all = {.l = 0.0f}, span;
            bool any = false;
            for (uint32_t s = 0; s < op->n_spans; s++) {
                const float *part = part_of(op, row, head, s);
                partial *to = any ? &span : &all;
                if (part[q + 1] == 0.0f)
                    continue;
                memcpy(to->o, part, q * sizeof *part);
                to->m = part[q];
                to->l = part[q + 1];
                if (any)
                    merge(&all, &span, q);
                any = true;
            }
            for (size_t i = 0; i < q; i++)
                out_of(op, row, head)[i] = all.o[i] / all.l;
        }
}
