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

static size_t heads_of(const walk *w)
{
    return (size_t)w->n_kv * w->op->n_group;
}

/* Pair i's place in q or out, whose rows are ld apart. */
static size_t place_of(const walk *w, size_t i, size_t ld)
{
    size_t at = w->pair0 + i, head = w->kv0 * w->op->n_group + at % heads_of(w);
    return at / heads_of(w) * ld + head * w->op->ld_head;
}

static const float *row_q(const walk *w, size_t i)
{
    return w->op->q + place_of(w, i, w->op->ld_row);
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
    turn_k(w, page_of(w, w->op->k_pages, i, 0), TW_BF16, lo, hi);
    widen_v(w, page_of(w, w->op->v_pages, i, 0), TW_BF16, lo, hi);
}
static void take_block_f32(const walk *w, uint32_t i, unsigned lo, unsigned hi)
{
    turn_k(w, page_of(w, w->op->k_pages, i, 0), TW_F32, lo, hi);
    widen_v(w, page_of(w, w->op->v_pages, i, 0), TW_F32, lo, hi);
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

/* The partial (m, l, o [n]) of a span into the one of all spans before it. */
static void merge_part(float *m_all, float *l_all, float *all, const float part[2], const float *o,
                       size_t n)
{
    float m = *m_all > part[0] ? *m_all : part[0];
    vf ca = v_exp(v_set1(*m_all - m)), cb = v_exp(v_set1(part[0] - m));
    *m_all = m;
    *l_all = v_first(v_fma(v_set1(part[1]), cb, v_mul(v_set1(*l_all), ca)));
    for (size_t j = 0; j < n; j += TW_W)
        v_store_n(all + j, v_fma(v_load_n(o + j, n - j), cb, v_mul(v_load_n(all + j, n - j), ca)),
                  n - j);
}

static float *part_of(const tw_attn *op, size_t row, size_t head, uint32_t i_span)
{
    const size_t heads = (size_t)op->n_group * (op->n_kv > 0 ? op->n_kv : 1);
    return op->parts + ((row * heads + head) * op->n_spans + i_span) * (op->q_dim + 2);
}

static float *part_of_pair(const walk *w, size_t i, uint32_t i_span)
{
    size_t at = w->pair0 + i;
    return part_of(w->op, at / heads_of(w), w->kv0 * w->op->n_group + at % heads_of(w), i_span);
}

static void end_pair_span(walk *w, size_t i, uint32_t i_span)
{
    pair *a = &w->pairs[i];
    const float *o = w->o + i * w->q_pad;
    float *all = w->o_all + i * w->q_pad;
    if (w->parts) {
        float *part = part_of_pair(w, i, i_span);
        memcpy(part, o, w->op->q_dim * sizeof *part);
        part[w->op->q_dim] = a->m;
        part[w->op->q_dim + 1] = a->l;
    } else if (a->any) {
        merge_part(&a->m_all, &a->l_all, all, (float[2]){a->m, a->l}, o, w->q_pad);
    } else {
        a->any = true;
        a->m_all = a->m;
        a->l_all = a->l;
        memcpy(all, o, w->q_pad * sizeof *all);
    }
}

static void end_span(walk *w, uint32_t i_span)
{
    for (size_t i = 0; i < w->n_pairs; i++) {
        if (w->pairs[i].in_span)
            end_pair_span(w, i, i_span);
        w->pairs[i].in_span = false;
    }
}

static void give_out(const walk *w)
{
    const size_t n = w->op->q_dim;
    for (size_t i = 0; i < w->n_pairs; i++) {
        float *out = w->op->out + place_of(w, i, w->op->ld_out_row);
        const float *all = w->o_all + i * w->q_pad;
        for (size_t j = 0; j < n; j += TW_W)
            v_store_n(out + j, v_div(v_load(all + j), v_set1(w->pairs[i].l_all)), n - j);
    }
}

static void run_pairs(walk *w)
{
    enum { SPAN = TW_KV_SPAN / BLOCK };
    const tw_attn *op = w->op;
    uint32_t first = UINT32_MAX, last = 0;
    for (size_t i = 0; i < w->n_pairs; i++) {
        pair *a = &w->pairs[i];
        uint32_t row = (uint32_t)((w->pair0 + i) / heads_of(w));
        a->end = op->pos0 + row + 1;
        a->begin = op->window && a->end > op->window ? a->end - op->window : 0;
        a->in_span = a->any = false;
        first = a->begin < first ? a->begin : first;
        last = a->end > last ? a->end : last;
        for (uint32_t s = w->i_span0; w->parts && s < w->i_span1; s++)
            part_of_pair(w, i, s)[op->q_dim + 1] = 0.0f;
    }
    w->few = w->n_pairs <= FEW * w->n_kv && op->q_dim % 16 == 0;
    take_q(w);
    uint32_t b = first / BLOCK, end = (last - 1) / BLOCK + 1;
    if (w->parts) {
        b = b > w->i_span0 * SPAN ? b : w->i_span0 * SPAN;
        end = end < w->i_span1 * SPAN ? end : w->i_span1 * SPAN;
    }
    w->i_last = end - 1; /* beyond its spans a thread has no pages */
    for (; b < end; b++) {
        add_block(w, b);
        if (b % SPAN == SPAN - 1 || b + 1 == end)
            end_span(w, b / SPAN);
    }
    if (!w->parts)
        give_out(w);
}

static void run_walks(walk *w, uint32_t i_row0, uint32_t i_row1)
{
    const uint32_t heads = (uint32_t)heads_of(w), end = i_row1 * heads;
    /* Walks of equal length: a short one would pay for its blocks almost as much as a long one. */
    uint32_t all = end - i_row0 * heads, n_walks = (all + MAX_PAIRS - 1) / MAX_PAIRS;
    uint32_t each = n_walks ? (all + n_walks - 1) / n_walks : 1;
    for (uint32_t i = i_row0 * heads; i < end; i += each) {
        w->pair0 = i;
        w->n_pairs = end - i < each ? end - i : each;
        run_pairs(w);
    }
}

/* KV heads one by one; those of a single row with few pairs each together. */
static void run_heads(walk *w, const tw_attn *op, uint32_t i_row0, uint32_t i_row1, float *scratch)
{
    const size_t q_pad = TW_ATTN_Q_PAD(op->q_dim);
    const unsigned n_kv = op->n_kv > 0 ? op->n_kv : 1;
    w->op = op;
    w->q_pad = q_pad;
    w->head_bytes = TW_KV_BLOCK * op->q_dim * (op->kv_type == TW_F32 ? 4 : 2);
    w->q = scratch;
    w->o = w->q + MAX_PAIRS * q_pad;
    w->o_all = w->o + MAX_PAIRS * q_pad;
    w->k = w->o_all + MAX_PAIRS * q_pad;
    w->v = w->k + BLOCK * q_pad;
    w->p = w->v + BLOCK * q_pad;
    const bool together = i_row1 - i_row0 == 1 && op->n_group <= FEW && op->q_dim % 16 == 0;
    const unsigned most = together ? MAX_PAIRS / op->n_group : 1;
    for (w->kv0 = 0; w->kv0 < n_kv; w->kv0 += w->n_kv) {
        w->n_kv = n_kv - w->kv0 < most ? n_kv - w->kv0 : most;
        run_walks(w, i_row0, i_row1);
    }
}

void TW_FN(attn)(const tw_attn *op, uint32_t i_row0, uint32_t i_row1, void *scratch)
{
    walk w;
    w.parts = false;
    run_heads(&w, op, i_row0, i_row1, scratch);
}

void TW_FN(attn_spans)(const tw_attn *op, uint32_t i_row0, uint32_t i_row1, uint32_t i_span0,
                       uint32_t i_span1, void *scratch)
{
    walk w;
    w.parts = true;
    w.i_span0 = i_span0;
    w.i_span1 = i_span1;
    run_heads(&w, op, i_row0, i_row1, scratch);
}

void TW_FN(attn_merge)(const tw_attn *op, uint32_t i_row0, uint32_t i_row1)
{
    const size_t n = op->q_dim, heads = (size_t)op->n_group * (op->n_kv > 0 ? op->n_kv : 1);
    for (size_t at = i_row0 * heads; at < i_row1 * heads; at++) {
        float *all = NULL; /* the first partial becomes the sum */
        for (uint32_t s = 0; s < op->n_spans; s++) {
            float *part = part_of(op, at / heads, at % heads, s);
            if (part[n + 1] == 0.0f)
                continue;
            if (all)
                merge_part(all + n, all + n + 1, all, part + n, part, n);
            else
                all = part;
        }
        float *out = op->out + at / heads * op->ld_out_row + at % heads * op->ld_head;
        for (size_t j = 0; all && j < n; j += TW_W)
            v_store_n(out + j, v_div(v_load_n(all + j, n - j), v_set1(all[n + 1])), n - j);
    }
}
