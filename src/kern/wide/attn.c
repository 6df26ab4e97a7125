/* SPDX-License-Identifier: Apache-2.0 */
/* Up to TW_ATTN_PAIRS (row, head) pairs walk the blocks of keys together. Per block K is widened
 * and transposed to [Q][64] and V widened to [64][Q]; scores and sums of values are then tiles of 6
 * pairs x TILE_V vectors of keys or dims, as in matmul.
 *
 * Scores want lane i mod 16 and then the halving tree. Lanes are visited in the order of a binary
 * counter (0, 8, 4, 12, ...), so that the tree needs a stack of four. */
#include "kern/wide/attn.h"

#include <math.h>

/* Bit reversal: its own inverse. */
static const unsigned char lane_order[16] = {0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15};

static const float *row_q(const walk *w, size_t i)
{
    size_t at = w->pair0 + i;
    return w->op->q + at / w->op->n_group * w->op->ld_row + at % w->op->n_group * w->op->ld_head;
}

/* q into lane order (unless few): lane by lane as visited, its dims ascending. */
static void take_q(walk *w)
{
    if (w->few) {
        for (size_t i = 0; i < w->n_pairs; i++)
            memcpy(w->q + i * w->q_pad, row_q(w, i), w->q_pad * sizeof *w->q);
        return;
    }
    const size_t steps = w->q_pad / 16;
    for (size_t i = 0; i < w->n_pairs; i++) {
        const float *q = row_q(w, i);
        float *to = w->q + i * w->q_pad;
        for (size_t j = 0; j < 16; j++)
            for (size_t t = 0; t < steps; t++) {
                size_t dim = t * 16 + lane_order[j];
                to[j * steps + t] = dim < w->op->q_dim ? q[dim] : 0.0f;
            }
    }
}

/* TW_W dims from dim on, +0 past the last. */
TW_INLINE vf load_kv(const void *page, enum tw_dtype type, size_t q_dim, size_t key, size_t dim)
{
    const size_t at = key * q_dim + dim, n = q_dim - dim;
    if (n >= TW_W)
        return v_load_kv(type, page, at);
    if (type == TW_F32)
        return v_load_n((const float *)page + at, n);
    uint16_t tail[TW_W] = {0};
    memcpy(tail, (const uint16_t *)page + at, n * sizeof *tail);
    return v_load_bf16(tail);
}

TW_INLINE void widen_v(const walk *w, const void *page, enum tw_dtype type, unsigned lo,
                       unsigned hi)
{
    const size_t q_dim = w->op->q_dim;
    if (q_dim == w->q_pad) {
        for (size_t i = lo * q_dim; i < hi * q_dim; i += 16) {
            TW_UNROLL
            for (size_t j = 0; j < V16; j++)
                v_store(w->v + i + j * TW_W, v_load_kv(type, page, i + j * TW_W));
        }
        return;
    }
    for (size_t key = lo; key < hi; key++)
        for (size_t dim = 0; dim < q_dim; dim += TW_W)
            v_store(w->v + key * w->q_pad + dim, load_kv(page, type, q_dim, key, dim));
}

/* A square of TW_W keys x TW_W dims; whole: none of its dims lies past the last. */
TW_INLINE void turn_square(const walk *w, const void *page, enum tw_dtype type, size_t key,
                           size_t dim, const bool whole)
{
    const size_t q_dim = w->op->q_dim, steps = w->q_pad / 16;
    vf r[TW_W];
    TW_UNROLL
    for (size_t j = 0; j < TW_W; j++)
        r[j] = whole ? v_load_kv(type, page, (key + j) * q_dim + dim)
                     : load_kv(page, type, q_dim, key + j, dim);
    v_transpose(r);
    float *to = w->k + dim / 16 * BLOCK + key;
    const unsigned char *order = lane_order + dim % 16;
    TW_UNROLL
    for (size_t j = 0; j < TW_W; j++)
        v_store(to + order[j] * steps * BLOCK, r[j]);
}

TW_INLINE void turn_k(const walk *w, const void *page, enum tw_dtype type, unsigned lo, unsigned hi)
{
    const size_t q_dim = w->op->q_dim;
    for (size_t key = lo / TW_W * TW_W; key < hi; key += TW_W) {
        size_t dim = 0;
        for (; dim + TW_W <= q_dim; dim += TW_W)
            turn_square(w, page, type, key, dim, true);
        if (dim < q_dim)
            turn_square(w, page, type, key, dim, false);
    }
}

static void take_block_bf16(const walk *w, uint32_t i, unsigned lo, unsigned hi)
{
    turn_k(w, w->op->k_pages[i], TW_BF16, lo, hi);
    widen_v(w, w->op->v_pages[i], TW_BF16, lo, hi);
}
static void take_block_f32(const walk *w, uint32_t i, unsigned lo, unsigned hi)
{
    turn_k(w, w->op->k_pages[i], TW_F32, lo, hi);
    widen_v(w, w->op->v_pages[i], TW_F32, lo, hi);
}

/* n pairs x KEYS keys. A lane without dims is +0 and is added like any other. */
TW_INLINE void score_tile(const walk *w, size_t i_pair, size_t key, const size_t n)
{
    const size_t steps = w->q_pad / 16, rest = w->op->q_dim % 16, ld = w->q_pad;
    const float *q = w->q + i_pair * ld, *k = w->k + key;
    vf stack[4][TILE * TILE_V];
    for (unsigned i = 0; i < 16; i++) {
        vf c[TILE * TILE_V];
        TW_UNROLL
        for (size_t j = 0; j < n * TILE_V; j++)
            c[j] = v_zero();
        size_t here = rest && lane_order[i] >= rest ? steps - 1 : steps;
        for (size_t t = 0; t < here; t++) {
            vf kv[TILE_V];
            TW_UNROLL
            for (size_t j = 0; j < TILE_V; j++)
                kv[j] = v_load(k + (i * steps + t) * BLOCK + j * TW_W);
            TW_UNROLL
            for (size_t r = 0; r < n; r++) {
                vf qv = v_set1(q[r * ld + i * steps + t]);
                TW_UNROLL
                for (size_t j = 0; j < TILE_V; j++)
                    c[r * TILE_V + j] = v_fma(qv, kv[j], c[r * TILE_V + j]);
            }
        }
        unsigned l = 0;
        for (unsigned t = i; t & 1; t >>= 1, l++) {
            TW_UNROLL
            for (size_t j = 0; j < n * TILE_V; j++)
                c[j] = v_add(stack[l][j], c[j]);
        }
        if (l < 4) {
            TW_UNROLL
            for (size_t j = 0; j < n * TILE_V; j++)
                stack[l][j] = c[j];
        } else {
            vf scale = v_set1(w->op->scale);
            TW_UNROLL
            for (size_t j = 0; j < n * TILE_V; j++)
                v_store(w->p + (i_pair + j / TILE_V) * BLOCK + key + j % TILE_V * TW_W,
                        v_mul(c[j], scale));
        }
    }
}

static void score_pairs(const walk *w, size_t i, size_t key)
{
    switch (w->n_pairs - i) {
    case 1:
        score_tile(w, i, key, 1);
        break;
    case 2:
        score_tile(w, i, key, 2);
        break;
    case 3:
        score_tile(w, i, key, 3);
        break;
    case 4:
        score_tile(w, i, key, 4);
        break;
    case 5:
        score_tile(w, i, key, 5);
        break;
    default:
        score_tile(w, i, key, 6);
        break;
    }
}

/* p [64] from scores to weights; keys out of sight become 0, which adds nothing to the sum. */
static void weigh_pair(pair *a, float *p)
{
    enum { N = BLOCK / TW_W };
    vf s[N], none = v_set1(-INFINITY), l[V16];
    TW_UNROLL
    for (size_t i = 0; i < N; i++)
        s[i] = v_load(p + i * TW_W);
    if (a->lo > 0 || a->hi < BLOCK) {
        for (size_t i = 0; i < N; i++) {
            unsigned at = (unsigned)i * TW_W;
            s[i] = v_pick(s[i], none, a->lo > at ? a->lo - at : 0, a->hi > at ? a->hi - at : 0);
        }
    }
    vf t[4] = {none, none, none, none};
    TW_UNROLL
    for (size_t i = 0; i < N; i++)
        t[i % 4] = v_max(s[i], t[i % 4]);
    vf top = v_max(v_max(t[0], t[1]), v_max(t[2], t[3]));
    float old = a->in_span ? a->m : -INFINITY;
    float m = v_max_all(top);
    m = m > old ? m : old;
    TW_UNROLL
    for (size_t j = 0; j < V16; j++)
        l[j] = v_zero();
    TW_UNROLL
    for (size_t i = 0; i < N; i++) {
        s[i] = v_exp(v_sub(s[i], v_set1(m)));
        v_store(p + i * TW_W, s[i]);
        l[i % V16] = v_add(l[i % V16], s[i]);
    }
    a->c = a->in_span ? v_first(v_exp(v_set1(old - m))) : 0.0f;
    a->l = v_first(v_fma(v_set1(a->in_span ? a->l : 0.0f), v_set1(a->c), v_set1(v_tree16(l))));
    a->m = m;
}

/* o = o * c, then fmaf(p, v, o) for the visible keys: n pairs x n_v vectors of dims. Pairs of a tile share the
 * keys [lo, hi); each has its own before and after. */
TW_INLINE void value_tile(const walk *w, size_t i_pair, size_t dim, unsigned lo, unsigned hi,
                          const size_t n, const size_t n_v)
{
    vf c[TILE * TILE_V];
    const size_t ld = w->q_pad;
    const float *v = w->v + dim, *p = w->p + i_pair * BLOCK;
    TW_UNROLL
    for (size_t r = 0; r < n; r++) {
        const pair *a = &w->pairs[i_pair + r];
        float *o = w->o + (i_pair + r) * ld + dim;
        TW_UNROLL
        for (size_t j = 0; j < n_v; j++)
            c[r * n_v + j] = v_mul(a->in_span ? v_load(o + j * TW_W) : v_zero(), v_set1(a->c));
        for (size_t key = a->lo; key < lo; key++) {
            TW_UNROLL
            for (size_t j = 0; j < n_v; j++)
                c[r * n_v + j] = v_fma(v_set1(p[r * BLOCK + key]), v_load(v + key * ld + j * TW_W),
                                       c[r * n_v + j]);
        }
    }
    for (size_t key = lo; key < hi; key++) {
        vf vv[TILE_V];
        TW_UNROLL
        for (size_t j = 0; j < n_v; j++)
            vv[j] = v_load(v + key * ld + j * TW_W);
        TW_UNROLL
        for (size_t r = 0; r < n; r++) {
            vf pv = v_set1(p[r * BLOCK + key]);
            TW_UNROLL
            for (size_t j = 0; j < n_v; j++)
                c[r * n_v + j] = v_fma(pv, vv[j], c[r * n_v + j]);
        }
    }
    TW_UNROLL
    for (size_t r = 0; r < n; r++) {
        const pair *a = &w->pairs[i_pair + r];
        float *o = w->o + (i_pair + r) * ld + dim;
        for (size_t key = hi; key < a->hi; key++) {
            TW_UNROLL
            for (size_t j = 0; j < n_v; j++)
                c[r * n_v + j] = v_fma(v_set1(p[r * BLOCK + key]), v_load(v + key * ld + j * TW_W),
                                       c[r * n_v + j]);
        }
        TW_UNROLL
        for (size_t j = 0; j < n_v; j++)
            v_store(o + j * TW_W, c[r * n_v + j]);
    }
}

TW_INLINE void value_rows(const walk *w, size_t i, unsigned lo, unsigned hi, const size_t n)
{
    size_t dim = 0;
    for (; dim + TILE_V * TW_W <= w->q_pad; dim += TILE_V * TW_W)
        value_tile(w, i, dim, lo, hi, n, TILE_V);
    for (; dim < w->q_pad; dim += 16)
        value_tile(w, i, dim, lo, hi, n, V16);
}

static void value_pairs(const walk *w, size_t i, size_t n, unsigned lo, unsigned hi)
{
    switch (n) {
    case 1:
        value_rows(w, i, lo, hi, 1);
        break;
    case 2:
        value_rows(w, i, lo, hi, 2);
        break;
    case 3:
        value_rows(w, i, lo, hi, 3);
        break;
    case 4:
        value_rows(w, i, lo, hi, 4);
        break;
    case 5:
        value_rows(w, i, lo, hi, 5);
        break;
    default:
        value_rows(w, i, lo, hi, 6);
        break;
    }
}

/* A tile whose pairs all see a common stretch goes at once, else pair by pair. */
static void add_values(walk *w, size_t i, size_t n)
{
    unsigned lo = 0, hi = BLOCK;
    for (size_t j = i; j < i + n; j++) {
        lo = w->pairs[j].lo > lo ? w->pairs[j].lo : lo;
        hi = w->pairs[j].hi < hi ? w->pairs[j].hi : hi;
    }
    if (lo < hi) {
        value_pairs(w, i, n, lo, hi);
    } else {
        for (size_t j = i; j < i + n; j++)
            if (w->pairs[j].lo < w->pairs[j].hi)
                value_pairs(w, j, 1, w->pairs[j].lo, w->pairs[j].hi);
    }
    for (size_t j = i; j < i + n; j++)
        w->pairs[j].in_span |= w->pairs[j].lo < w->pairs[j].hi;
}

static void add_block(walk *w, uint32_t i_block)
{
    uint32_t at = i_block * BLOCK;
    unsigned lo = BLOCK, hi = 0;
    for (size_t i = 0; i < w->n_pairs; i++) {
        pair *a = &w->pairs[i];
        a->lo = a->begin > at ? (a->begin - at < BLOCK ? a->begin - at : BLOCK) : 0;
        a->hi = a->end > at ? (a->end - at < BLOCK ? a->end - at : BLOCK) : 0;
        lo = a->lo < lo ? a->lo : lo;
        hi = a->hi > hi ? a->hi : hi;
    }
    if (lo >= hi)
        return;
    if (w->few) {
        TW_FN(attn_few_scores)(w, i_block, lo, hi);
        for (size_t j = 0; j < w->n_pairs; j++)
            if (w->pairs[j].lo < w->pairs[j].hi)
                weigh_pair(&w->pairs[j], w->p + j * BLOCK);
        TW_FN(attn_few_values)(w, i_block);
        for (size_t j = 0; j < w->n_pairs; j++)
            w->pairs[j].in_span |= w->pairs[j].lo < w->pairs[j].hi;
        return;
    }
    (w->op->kv_type == TW_F32 ? take_block_f32 : take_block_bf16)(w, i_block, lo, hi);
    for (size_t i = 0; i < w->n_pairs; i += TILE) {
        size_t n = w->n_pairs - i < TILE ? w->n_pairs - i : TILE;
        for (size_t key = lo / KEYS * KEYS; key < hi; key += KEYS)
            score_pairs(w, i, key);
        for (size_t j = i; j < i + n; j++)
            if (w->pairs[j].lo < w->pairs[j].hi)
                weigh_pair(&w->pairs[j], w->p + j * BLOCK);
        add_values(w, i, n);
    }
}

/* The span's partial into the one of all spans before it. */
static void end_span(walk *w)
{
    for (size_t i = 0; i < w->n_pairs; i++) {
        pair *a = &w->pairs[i];
        const float *o = w->o + i * w->q_pad;
        float *all = w->o_all + i * w->q_pad;
        if (!a->in_span)
            continue;
        a->in_span = false;
        if (!a->any) {
            a->any = true;
            a->m_all = a->m;
            a->l_all = a->l;
            memcpy(all, o, w->q_pad * sizeof *all);
            continue;
        }
        float m = a->m_all > a->m ? a->m_all : a->m;
        vf ca = v_exp(v_set1(a->m_all - m)), cb = v_exp(v_set1(a->m - m));
        a->m_all = m;
        a->l_all = v_first(v_fma(v_set1(a->l), cb, v_mul(v_set1(a->l_all), ca)));
        for (size_t j = 0; j < w->q_pad; j += TW_W)
            v_store(all + j, v_fma(v_load(o + j), cb, v_mul(v_load(all + j), ca)));
    }
}

static void give_out(const walk *w)
{
    const tw_attn *op = w->op;
    for (size_t i = 0; i < w->n_pairs; i++) {
        size_t at = w->pair0 + i;
        float *out = op->out + at / op->n_group * op->ld_out_row + at % op->n_group * op->ld_head;
        const float *all = w->o_all + i * w->q_pad;
        for (size_t j = 0; j < op->q_dim; j += TW_W)
            v_store_n(out + j, v_div(v_load(all + j), v_set1(w->pairs[i].l_all)), op->q_dim - j);
    }
}

static void run_pairs(walk *w)
{
    const tw_attn *op = w->op;
    uint32_t first = UINT32_MAX, last = 0;
    for (size_t i = 0; i < w->n_pairs; i++) {
        pair *a = &w->pairs[i];
        uint32_t row = (uint32_t)((w->pair0 + i) / op->n_group);
        a->end = op->pos0 + row + 1;
        a->begin = op->window && a->end > op->window ? a->end - op->window : 0;
        a->in_span = a->any = false;
        first = a->begin < first ? a->begin : first;
        last = a->end > last ? a->end : last;
    }
    w->few = w->n_pairs <= FEW && op->q_dim % 16 == 0;
    take_q(w);
    w->i_last = (last - 1) / BLOCK;
    for (uint32_t b = first / BLOCK; b * BLOCK < last; b++) {
        if (b % (TW_KV_SPAN / BLOCK) == 0)
            end_span(w);
        add_block(w, b);
    }
    end_span(w);
    give_out(w);
}

void TW_FN(attn)(const tw_attn *op, uint32_t i_row0, uint32_t i_row1, void *scratch)
{
    const size_t q_pad = TW_ATTN_Q_PAD(op->q_dim);
    walk w;
    w.op = op;
    w.q_pad = q_pad;
    w.q = scratch;
    w.o = w.q + MAX_PAIRS * q_pad;
    w.o_all = w.o + MAX_PAIRS * q_pad;
    w.k = w.o_all + MAX_PAIRS * q_pad;
    w.v = w.k + BLOCK * q_pad;
    w.p = w.v + BLOCK * q_pad;
    uint32_t end = i_row1 * op->n_group;
    /* Walks of equal length: a short one would pay for its blocks almost as much as a long one. */
    uint32_t all = end - i_row0 * op->n_group, n_walks = (all + MAX_PAIRS - 1) / MAX_PAIRS;
    uint32_t each = n_walks ? (all + n_walks - 1) / n_walks : 1;
    for (uint32_t i = i_row0 * op->n_group; i < end; i += each) {
        w.pair0 = i;
        w.n_pairs = end - i < each ? end - i : each;
        run_pairs(&w);
    }
}
