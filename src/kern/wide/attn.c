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

/* q into lane order (unless few): of each 16 dims the lanes as visited. */
static void take_q(walk *w)
{
    if (w->few) {
        for (size_t i = 0; i < w->n_pairs; i++)
            memcpy(w->q + i * w->q_pad, row_q(w, i), w->q_pad * sizeof *w->q);
        return;
    }
    for (size_t i = 0; i < w->n_pairs; i++) {
        const float *q = row_q(w, i);
        float *to = w->q + i * w->q_pad;
        for (size_t j = 0; j < w->q_pad; j++) {
            size_t dim = j / 16 * 16 + lane_order[j % 16];
            to[j] = dim < w->op->q_dim ? q[dim] : 0.0f;
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
    const size_t q_dim = w->op->q_dim;
    vf r[TW_W];
    TW_UNROLL
    for (size_t j = 0; j < TW_W; j++)
        r[j] = whole ? v_load_kv(type, page, (key + j) * q_dim + dim)
                     : load_kv(page, type, q_dim, key + j, dim);
    v_transpose(r);
    float *to = w->k + dim / 16 * 16 * BLOCK + key;
    const unsigned char *order = lane_order + dim % 16;
    TW_UNROLL
    for (size_t j = 0; j < TW_W; j++)
        v_store(to + order[j] * BLOCK, r[j]);
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

/* One step of one lane: n pairs x KEYS keys. */
TW_INLINE void score_step(vf *c, const float *q, size_t ld, const float *k, const size_t n)
{
    vf kv[KEYS_V];
    TW_UNROLL
    for (size_t j = 0; j < KEYS_V; j++)
        kv[j] = v_keep(v_load(k + j * TW_W));
    TW_UNROLL
    for (size_t r = 0; r < n; r++) {
        vf qv = v_set1(q[r * ld]);
        TW_UNROLL
        for (size_t j = 0; j < KEYS_V; j++)
            c[r * KEYS_V + j] = v_fma(qv, kv[j], c[r * KEYS_V + j]);
    }
}

/* The chains of LANES_N lanes from the i-th on. Of a last row of less than 16 dims only the lanes
 * that have one take the step. */
TW_INLINE void score_lanes(const walk *w, const float *q, const float *k, unsigned i, vf *c,
                           const size_t n)
{
    const size_t whole = w->op->q_dim / 16, rest = w->op->q_dim % 16, ld = w->q_pad;
    TW_UNROLL
    for (size_t a = 0; a < LANES_N; a++) {
        TW_UNROLL
        for (size_t j = 0; j < n * KEYS_V; j++)
            c[a * n * KEYS_V + j] = v_zero();
    }
    q += i;
    k += i * BLOCK;
    for (size_t t = 0; t < whole; t++, q += 16, k += 16 * BLOCK) {
        TW_UNROLL
        for (size_t a = 0; a < LANES_N; a++)
            score_step(c + a * n * KEYS_V, q + a, ld, k + a * BLOCK, n);
    }
    TW_UNROLL
    for (size_t a = 0; a < LANES_N; a++)
        if (lane_order[i + a] < rest)
            score_step(c + a * n * KEYS_V, q + a, ld, k + a * BLOCK, n);
}

/* n pairs x KEYS keys. A lane without dims is +0 and is added like any other. */
TW_INLINE void score_tile(const walk *w, size_t i_pair, size_t key, const size_t n)
{
    const size_t n_v = n * KEYS_V;
    vf stack[4][SCORE_N * KEYS_V], scale = v_set1(w->op->scale);
    for (unsigned i = 0; i < 16; i += LANES_N) {
        vf c[LANES_N * SCORE_N * KEYS_V];
        score_lanes(w, w->q + i_pair * w->q_pad, w->k + key, i, c, n);
        TW_UNROLL
        for (size_t half = 1; half < LANES_N; half *= 2) {
            TW_UNROLL
            for (size_t a = 0; a < LANES_N; a += 2 * half) {
                TW_UNROLL
                for (size_t j = 0; j < n_v; j++)
                    c[a * n_v + j] = v_add(c[a * n_v + j], c[(a + half) * n_v + j]);
            }
        }
        unsigned l = 0;
        for (unsigned t = i / LANES_N; t & 1; t >>= 1, l++) {
            TW_UNROLL
            for (size_t j = 0; j < n_v; j++)
                c[j] = v_add(stack[l][j], c[j]);
        }
        TW_UNROLL
        for (size_t j = 0; j < n_v; j++) {
            if (i + LANES_N < 16)
                stack[l][j] = c[j];
            else
                v_store(w->p + (i_pair + j / KEYS_V) * BLOCK + key + j % KEYS_V * TW_W,
                        v_mul(c[j], scale));
        }
    }
}

/* All keys of [lo, hi) for n pairs. */
static void score_pairs(const walk *w, size_t i, size_t n, unsigned lo, unsigned hi)
{
    for (const size_t end = i + n; i < end; i += SCORE_N)
        for (size_t key = lo / KEYS * KEYS; key < hi; key += KEYS) {
            switch (end - i) {
            case 1:
                score_tile(w, i, key, 1);
                break;
            case 2:
                score_tile(w, i, key, 2);
                break;
#if TW_REGS < 32
            case 3:
                score_tile(w, i, key, 3);
                break;
            case 4:
                score_tile(w, i, key, 4);
                break;
            case 5:
                score_tile(w, i, key, 5);
                break;
#endif
            default:
                score_tile(w, i, key, SCORE_N);
                break;
            }
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
            vv[j] = v_keep(v_load(v + key * ld + j * TW_W));
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
        score_pairs(w, i, n, lo, hi);
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
