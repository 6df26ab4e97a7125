/* SPDX-License-Identifier: Apache-2.0 */
/* Products with quantised weights, by blocks of M rows x one panel x up to BLOCK_G granules of one
 * segment. A chain lies in memory between granules: that is one load and store in eight steps. Few
 * rows take the granules out of the panel as it streams by; more rows share granules unpacked once
 * into scratch. */
#include "kern/wide/qgranule.h"
#include "kern/wide/qpairs.h"
#include "kern/wide/qtable.h"
#include "kern/wide/tree.h"

#include "base/scope.h"
#include "kern/scratch.h"

enum {
    BLOCK_G = 8,
    TILE_M = 4,
    UNPACK_M = 4,    /* from here on unpacking pays */
    PREFETCH = 8192, /* bytes ahead of a single stream */
    /* How many vectors wide a tile is: its sums, which may be in two parts, and its chains fit the
     * registers, and there are sums enough to hide a product's latency. */
    TILE_V = TW_QREGS / 16,
    TILE_N = TILE_M * TILE_V,
    N_SCALES = 4, /* of an unpacked granule: d, then sc0 sc1, or sc0 m mn, or m */
};

typedef struct qblock {
    enum tw_dtype type;
    const uint8_t *panel;
    size_t phase;
    const tw_xblock *x; /* [m] at ldx */
    size_t ldx, m;
    size_t g0, n_g;
    float *acc;       /* [m][64]: the chains, and at a segment's end what the tree makes of them */
    bool fresh, last; /* the chains begin or end here */
    const float *add[3]; /* [m][64], after the end */
    unsigned n_add;
    uint8_t *unpacked;
} qblock;

/* TW_QW chains, i floats into the block's. */
TW_INLINE qf begin_chain(const qblock *b, size_t i)
{
    return b->fresh ? q_set1(0.0f) : q_load_f(b->acc + i);
}

TW_INLINE void end_chain(const qblock *b, size_t i, qf v)
{
    for (unsigned a = 0; b->last && a < b->n_add; a++)
        v = q_load_f(b->add[a] + i) + v;
    q_store_f(b->acc + i, v);
}

/* u [8], x's quads t0 .. t1. minus: the sum of those x, negative. */
TW_INLINE qu dot_quads(enum tw_dtype type, const qu *u, const int8_t *x, size_t t0, size_t t1,
                       int32_t minus)
{
    qu total = q_start(type, minus);
    TW_UNROLL
    for (size_t r = t0; r < t1; r += q_steps(type)) {
        const size_t end = TW_MIN(r + q_steps(type), t1);
        qu part = q_part(type, total);
        TW_UNROLL
        for (size_t t = r; t < end; t++)
            part = q_mac(type, part, u[t], q_quad(x + 4 * t));
        total = q_join(type, total, part);
    }
    return total;
}

TW_INLINE qf chain_of(enum tw_dtype type, const qscales *s, const qu *u, const tw_xblock *x, qf acc)
{
    if (type != TW_Q6_K)
        return q_chain(type, s, dot_quads(type, u, x->q, 0, 8, x->minus_sum), (qu){0}, x, acc);
    qu lo = dot_quads(type, u, x->q, 0, 4, x->minus_half[0]);
    qu hi = dot_quads(type, u, x->q, 4, 8, x->minus_half[1]);
    return q_chain(type, s, lo, hi, x, acc);
}

/* What a loop needs lies in locals: its stores could be to the block's own fields, as far as a
 * compiler knows. */
TW_INLINE void stream_rows(const qblock *b, enum tw_dtype type, const size_t n_rows)
{
    const size_t phase = b->phase, ldx = b->ldx, end = b->g0 + b->n_g;
    const uint8_t *panel = b->panel;
    const tw_xblock *x = b->x;
    _Alignas(64) float acc[(UNPACK_M - 1) * TW_PANEL];
    for (size_t i = 0; i < n_rows * TW_PANEL; i += TW_QW)
        q_store_f(acc + i, begin_chain(b, i));
    for (size_t g = b->g0; g < end; g++) {
        const uint8_t *p = panel + tw_granule_at(type, phase, g);
        const uint8_t *super = panel + tw_super_at(type, phase, g);
        const size_t next = tw_granule_at(type, phase, g + 1) - (size_t)(p - panel);
        size_t ahead = 0;
        for (size_t col = 0; col < TW_PANEL; col += TW_QW) {
            /* This part's share of the lines, not all at once: they would wait for each other. */
            for (; ahead < next * (col + TW_QW) / TW_PANEL; ahead += 64)
                __builtin_prefetch(p + PREFETCH + ahead);
            qu u[TW_MAX_QUADS];
            qscales s;
            q_load_quads(type, p + tw_granule_scale_bytes(type) + 4 * col, u);
            q_load_scales(type, p, super, (uint32_t)(g + phase) % 8, col, &s);
            TW_UNROLL
            for (size_t m = 0; m < n_rows; m++) {
                float *a = acc + m * TW_PANEL + col;
                q_store_f(a, chain_of(type, &s, u, x + m * ldx + g, q_load_f(a)));
            }
        }
    }
    for (size_t i = 0; i < n_rows * TW_PANEL; i += TW_QW)
        end_chain(b, i, q_load_f(acc + i));
}

TW_INLINE void stream(const qblock *b, enum tw_dtype type)
{
    if (b->m == 1)
        stream_rows(b, type, 1);
    else if (b->m == 2)
        stream_rows(b, type, 2);
    else
        stream_rows(b, type, 3);
}

enum {
    UNPACKED_QUADS_BYTES = TW_MAX_QUADS * 4 * TW_PANEL,
    UNPACKED_BYTES = UNPACKED_QUADS_BYTES + N_SCALES * 4 * TW_PANEL,
};

/* Whether tiles take its quads as they lie in the panel. */
TW_INLINE bool is_in_place(enum tw_dtype type)
{
    return type == TW_Q8_0 && !HAS_PAIRS;
}

TW_INLINE void unpack_granule(const qblock *b, enum tw_dtype type, size_t g, uint8_t *to)
{
    const uint8_t *p = b->panel + tw_granule_at(type, b->phase, g);
    const uint8_t *super = b->panel + tw_super_at(type, b->phase, g);
    const size_t row = 4 * (size_t)TW_PANEL;
    for (size_t col = 0; col < TW_PANEL; col += TW_QW) {
        qu u[TW_MAX_QUADS];
        qscales s;
        q_load_quads(type, p + tw_granule_scale_bytes(type) + 4 * col, u);
        q_load_scales(type, p, super, (uint32_t)(g + b->phase) % 8, col, &s);
        uint8_t *at = to + 4 * col;
        pair_order(u);
        TW_UNROLL
        for (size_t t = 0; t < TW_MAX_QUADS; t++, at += row)
            if (!is_in_place(type))
                q_store(at, u[t]);
        q_store_f(at, s.d);
        if (tw_qforms[type].n_words)
            q_store_f(at + row, s.sc0);
        if (type == TW_Q6_K)
            q_store_f(at + 2 * row, s.sc1);
        if (tw_qforms[type].has_min)
            q_store_f(at + 2 * row, s.m);
        if (tw_qforms[type].has_min && tw_qforms[type].n_words)
            q_store_f(at + 3 * row, s.mn);
    }
}

TW_INLINE void unpacked_scales(enum tw_dtype type, const uint8_t *at, qscales *ret)
{
    const size_t row = 4 * (size_t)TW_PANEL;
    ret->d = q_load_f(at);
    if (tw_qforms[type].n_words)
        ret->sc0 = q_load_f(at + row);
    if (type == TW_Q6_K)
        ret->sc1 = q_load_f(at + 2 * row);
    if (tw_qforms[type].has_min)
        ret->m = q_load_f(at + 2 * row);
    if (tw_qforms[type].has_min && tw_qforms[type].n_words)
        ret->mn = q_load_f(at + 3 * row);
}

/* Dots of n_rows rows with TILE_V vectors of outputs: quads t0 .. t1. total: their starts. */
TW_INLINE void tile_dots(enum tw_dtype type, const uint8_t *w, const tw_xblock *x, size_t ldx,
                         size_t t0, size_t t1, qu *total, const size_t n_rows)
{
    const size_t row = 4 * (size_t)TW_PANEL;
    qu part[TILE_N];
    if (HAS_PAIRS) {
        pair_dots(w, x, ldx, t0, t1, total, n_rows, TILE_V);
        return;
    }
    TW_UNROLL
    for (size_t r = t0; r < t1; r += q_steps(type)) {
        const size_t end = TW_MIN(r + q_steps(type), t1);
        TW_UNROLL
        for (size_t i = 0; i < n_rows * TILE_V; i++)
            part[i] = q_part(type, total[i]);
        TW_UNROLL
        for (size_t t = r; t < end; t++) {
            qu u[TILE_V];
            TW_UNROLL
            for (size_t v = 0; v < TILE_V; v++) {
                u[v] = q_load(w + t * row + v * 4 * TW_QW);
                if (is_in_place(type))
                    u[v] = q_ready(type, u[v]);
            }
            TW_UNROLL
            for (size_t i = 0; i < n_rows; i++) {
                const qu quad = q_quad(x[i * ldx].q + 4 * t);
                TW_UNROLL
                for (size_t v = 0; v < TILE_V; v++)
                    part[i * TILE_V + v] = q_mac(type, part[i * TILE_V + v], u[v], quad);
            }
        }
        TW_UNROLL
        for (size_t i = 0; i < n_rows * TILE_V; i++)
            total[i] = q_join(type, total[i], part[i]);
    }
}

TW_INLINE void tile_start(enum tw_dtype type, const tw_xblock *x, size_t ldx, int half, qu *total,
                          const size_t n_rows)
{
    TW_UNROLL
    for (size_t i = 0; i < n_rows; i++) {
        const tw_xblock *b = x + i * ldx;
        const qu start = q_start(type, half < 0 ? b->minus_sum : b->minus_half[half]);
        TW_UNROLL
        for (size_t v = 0; v < TILE_V; v++)
            total[i * TILE_V + v] = start;
    }
}

/* One granule, quads and scales at the first output: n_rows x TILE_V vectors of chains. */
TW_INLINE void tile_granule(enum tw_dtype type, const uint8_t *quads, const uint8_t *scales,
                            const tw_xblock *x, size_t ldx, qf *acc, const size_t n_rows)
{
    qu lo[TILE_N], hi[TILE_N];
    const bool halves = type == TW_Q6_K;
    tile_start(type, x, ldx, halves ? 0 : -1, lo, n_rows);
    tile_dots(type, quads, x, ldx, 0, halves ? 4 : 8, lo, n_rows);
    if (halves) {
        tile_start(type, x, ldx, 1, hi, n_rows);
        tile_dots(type, quads, x, ldx, 4, 8, hi, n_rows);
    }
    TW_UNROLL
    for (size_t v = 0; v < TILE_V; v++) {
        qscales s;
        unpacked_scales(type, scales + v * 4 * TW_QW, &s);
        TW_UNROLL
        for (size_t i = 0; i < n_rows; i++) {
            const size_t at = i * TILE_V + v;
            const qu upper = halves ? hi[at] : (qu){0};
            acc[at] = q_chain(type, &s, lo[at], upper, x + i * ldx, acc[at]);
        }
    }
}

/* Rows m .. and outputs col ... of the panel. */
TW_INLINE void tile(const qblock *b, enum tw_dtype type, size_t m, size_t col, const size_t n_rows)
{
    const size_t n_g = b->n_g, ldx = b->ldx, at = m * TW_PANEL + col;
    const tw_xblock *x = b->x + m * ldx + b->g0;
    const uint8_t *unpacked = b->unpacked + 4 * col, *quads = unpacked;
    size_t step = UNPACKED_BYTES;
    if (is_in_place(type)) {
        step = tw_granule_bytes(type);
        quads = b->panel + b->g0 * step + tw_granule_scale_bytes(type) + 4 * col;
    }
    qf acc[TILE_N];
    TW_UNROLL
    for (size_t i = 0; i < n_rows * TILE_V; i++)
        acc[i] = begin_chain(b, at + i / TILE_V * TW_PANEL + i % TILE_V * TW_QW);
    for (size_t g = 0; g < n_g; g++)
        tile_granule(type, quads + g * step, unpacked + g * UNPACKED_BYTES + UNPACKED_QUADS_BYTES,
                     x + g, ldx, acc, n_rows);
    TW_UNROLL
    for (size_t i = 0; i < n_rows * TILE_V; i++)
        end_chain(b, at + i / TILE_V * TW_PANEL + i % TILE_V * TW_QW, acc[i]);
}

TW_INLINE void tile_rows(const qblock *b, enum tw_dtype type, size_t m, const size_t n_rows)
{
    for (size_t col = 0; col < TW_PANEL; col += TILE_V * TW_QW)
        tile(b, type, m, col, n_rows);
}

TW_INLINE void tiles(const qblock *b, enum tw_dtype type)
{
    for (size_t g = 0; g < b->n_g; g++)
        unpack_granule(b, type, b->g0 + g, b->unpacked + g * UNPACKED_BYTES);
    size_t m = 0;
    for (; m + TILE_M <= b->m; m += TILE_M)
        tile_rows(b, type, m, TILE_M);
    if (b->m - m == 3)
        tile_rows(b, type, m, 3);
    else if (b->m - m == 2)
        tile_rows(b, type, m, 2);
    else if (b->m - m == 1)
        tile_rows(b, type, m, 1);
}

TW_INLINE void run_type(const qblock *b, enum tw_dtype type)
{
    if (b->m < UNPACK_M)
        stream(b, type);
    else
        tiles(b, type);
}

#define RUN_TYPE(T)                                                                                \
    static void run_##T(const qblock *b)                                                           \
    {                                                                                              \
        run_type(b, TW_##T);                                                                       \
    }
RUN_TYPE(Q8_0)
RUN_TYPE(Q4_0)
RUN_TYPE(Q4_1)
RUN_TYPE(Q5_0)
RUN_TYPE(Q5_1)
RUN_TYPE(Q4_K)
RUN_TYPE(Q5_K)
RUN_TYPE(Q6_K)
RUN_TYPE(MXFP4)

static void (*const run_block[TW_DTYPE_END])(const qblock *b) = {
    [TW_Q8_0] = run_Q8_0, [TW_Q4_0] = run_Q4_0, [TW_Q4_1] = run_Q4_1,
    [TW_Q5_0] = run_Q5_0, [TW_Q5_1] = run_Q5_1, [TW_Q4_K] = run_Q4_K,
    [TW_Q5_K] = run_Q5_K, [TW_Q6_K] = run_Q6_K, [TW_MXFP4] = run_MXFP4,
};

/* One panel's rows b->x: the tree over segments. Returns the sums [m][64]. */
static const float *sum_panel(const tw_matmul *op, qblock *b, float *floats)
{
    tree t = tree_begin(floats, b->m * TW_PANEL);
    for (unsigned s = 0; s < op->n_seg; s++) {
        const size_t g0 = op->seg[s] / TW_GRANULE, g1 = op->seg[s + 1] / TW_GRANULE;
        const size_t step = b->m < UNPACK_M ? g1 - g0 : BLOCK_G;
        b->acc = t.cur;
        b->n_add = tree_adds(&t, s, b->add);
        for (size_t g = g0; g < g1; g += step) {
            b->g0 = g;
            b->n_g = TW_MIN(g1 - g, step);
            b->fresh = g == g0;
            b->last = g + b->n_g == g1;
            run_block[b->type](b);
        }
        tree_put(&t, s, op->n_seg, g0 >= g1);
    }
    return tree_end(&t);
}

static void store_row(float *y, const float *sum, const float *add, size_t n)
{
    for (size_t i = 0; i < n; i += TW_W) {
        vf v = v_load(sum + i);
        if (add)
            v = v_add(v, v_load_n(add + i, n - i));
        v_store_n(y + i, v, n - i);
    }
}

/* Rows [m0, m0 + b->m) of the output, all panels asked for. */
static void run_rows(const tw_matmul *op, qblock *b, size_t m0, size_t i_panel0, size_t i_panel1,
                     float *floats)
{
    for (size_t p = i_panel0; p < i_panel1 && p * TW_PANEL < op->w->n; p++) {
        const size_t n0 = p * TW_PANEL, left = op->w->n - n0;
        b->panel = (const uint8_t *)op->w->data + p * tw_quant_panel_bytes(b->type, op->w->k);
        b->phase = tw_panel_phase(b->type, b->panel);
        const float *sum = sum_panel(op, b, floats);
        for (size_t m = 0; m < b->m; m++)
            store_row(op->y + (m0 + m) * op->ldy + n0, sum + m * TW_PANEL,
                      op->add ? op->add + n0 : NULL, left < TW_PANEL ? left : TW_PANEL);
    }
}

static void quant_matmul(const tw_matmul *op, size_t i_panel0, size_t i_panel1, void *scratch)
{
    _Static_assert(sizeof(float) * 4 * TW_BLOCK_M * TW_PANEL + (size_t)BLOCK_G * UNPACKED_BYTES <=
                       TW_MATMUL_SCRATCH_BYTES,
                   "what the plain product carves is enough");
    float *floats = scratch;
    tw_xblock *own = (tw_xblock *)(void *)((uint8_t *)scratch + TW_MATMUL_SCRATCH_BYTES);
    const size_t n_x = op->w->k / TW_GRANULE, step = op->xq ? TW_BLOCK_M : TW_XROWS;
    qblock b = {.type = op->w->type, .unpacked = (uint8_t *)(floats + 4 * TW_BLOCK_M * TW_PANEL)};
    for (size_t m0 = 0; m0 < op->m; m0 += step) {
        b.m = op->m - m0 < step ? op->m - m0 : step;
        b.x = op->xq ? op->xq + m0 * op->ldxq : own;
        b.ldx = op->xq ? op->ldxq : n_x;
        for (size_t m = 0; m < b.m && !op->xq; m++)
            TW_FN(quantize)(own + m * n_x, op->x + (m0 + m) * op->ldx, op->w->k);
        run_rows(op, &b, m0, i_panel0, i_panel1, floats);
    }
}

void TW_QFN(matmul_any)(const tw_matmul *op, size_t i_panel0, size_t i_panel1, void *scratch)
{
    if (tw_qforms[op->w->type].block)
        quant_matmul(op, i_panel0, i_panel1, scratch);
    else
        TW_FN(matmul)(op, i_panel0, i_panel1, scratch);
}
