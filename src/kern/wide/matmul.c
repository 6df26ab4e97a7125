/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of M rows x one panel x up to TW_BLOCK_K steps of one segment. Every output is one chain:
 * it lives in registers during a block and in memory between blocks, which changes no bit. A tile is
 * some rows x some strips of 2 * TW_W columns; when a segment ends it adds the sums before it that
 * the tree pairs it with, still in registers.
 *
 * Chains keep the order of columns that v_strip gives until a row is stored. */
#include "kern/wide/cmatmul.h"
#include "kern/wide/tree.h"
#include "kern/wide/wide.h"

#include "kern/coded.h"
#include "kern/scratch.h"

enum {
    STRIP = 2 * TW_W,
    STRIPS = TW_PANEL / STRIP,
    CHAINS = TW_REGS / 4 * 3, /* vectors of chains in a tile */
    TILE_M = 6,               /* rows of the largest tile */
    TILE_S = CHAINS / (2 * TILE_M),
    FEW_M = CHAINS / 2,   /* so many rows still go at once, strip by strip */
    WIDEN_M = 8 * TILE_M, /* from here on weights are widened first, where that pays */
    PREFETCH = 4096,      /* bytes ahead of a single stream, into the second level of cache */
    LINE = 64,
    ROWS_AHEAD = 8,  /* of results, whose lines lie far apart */
    LEVELS = 3,      /* of the tree over TW_SEGMENTS, below its root */
    CODED_STEP = 64, /* columns widened at once for few rows: they stay in the first cache */
};

typedef struct block {
    const float *x; /* [m][k_n] at ldx */
    size_t ldx, m;
    const char *w; /* [k_n][64] of type */
    size_t k_n;
    float *acc;                /* [m][64]: the chains */
    bool fresh;                /* chains begin here */
    const float *sums[LEVELS]; /* [m][64] each: to add when the chains end here */
    unsigned n_sums;
    const char *ahead, *ahead_end; /* weights of the next block, on their way to the caches */
    size_t ahead_lines;            /* for every four steps */
    bool alone;                    /* one tile takes each row of weights whole */
} block;

typedef struct tile {
    size_t i_row, i_col;
    const char *w; /* as the block's, or widened */
    size_t w_step; /* bytes from one step to the next */
} tile;

static size_t size_of(enum tw_dtype type)
{
    return type == TW_F32 ? 4 : 2;
}

/* One step of k: all but c constant where it is called. */
TW_INLINE void add_step(vf *c, const float *x, size_t ldx, const char *w, enum tw_dtype type,
                        const size_t n_rows, const size_t n_strips)
{
    vf wide[8];
    TW_UNROLL
    for (size_t s = 0; s < n_strips; s++)
        v_strip(type, w + s * STRIP * (type == TW_F32 ? 4 : 2), wide + 2 * s);
    TW_UNROLL
    for (size_t r = 0; r < n_rows; r++) {
        vf xv = v_set1(x[r * ldx]);
        TW_UNROLL
        for (size_t v = 0; v < 2 * n_strips; v++)
            c[r * 2 * n_strips + v] = v_fma(wide[v], xv, c[r * 2 * n_strips + v]);
    }
}

TW_INLINE void fetch_ahead(block *b)
{
    for (size_t i = 0; i < b->ahead_lines; i++)
        __builtin_prefetch(b->ahead + i * LINE, 0, 2);
    if (b->ahead < b->ahead_end)
        b->ahead += b->ahead_lines * LINE;
}

TW_INLINE void run_chains(block *b, const tile *t, vf *c, enum tw_dtype type, const size_t n_rows,
                          const size_t n_strips)
{
    const size_t ldx = b->ldx, row_bytes = n_strips * STRIP * (type == TW_F32 ? 4 : 2);
    const float *x = b->x + t->i_row * ldx;
    const char *w = t->w;
    size_t k = 0;
    if (b->alone) {
        for (; k < b->k_n; k++, w += t->w_step) {
            for (size_t i = 0; i < row_bytes; i += LINE)
                __builtin_prefetch(w + PREFETCH + i, 0, 2);
            add_step(c, x + k, ldx, w, type, n_rows, n_strips);
        }
        return;
    }
    for (; k + 4 <= b->k_n; k += 4) {
        fetch_ahead(b);
        if (k % 16 == 0) {
            TW_UNROLL
            for (size_t r = 0; r < n_rows; r++)
                __builtin_prefetch(x + (n_rows + r) * ldx + k);
        }
        TW_UNROLL
        for (size_t i = 0; i < 4; i++, w += t->w_step)
            add_step(c, x + k + i, ldx, w, type, n_rows, n_strips);
    }
    for (; k < b->k_n; k++, w += t->w_step)
        add_step(c, x + k, ldx, w, type, n_rows, n_strips);
}

/* n_rows x n_strips strips, both constants where it is called. */
TW_INLINE void run_tile(block *b, const tile *t, enum tw_dtype type, const size_t n_rows,
                        const size_t n_strips)
{
    const size_t n_v = 2 * n_strips, at = t->i_row * TW_PANEL + t->i_col;
    vf c[CHAINS];
    TW_UNROLL
    for (size_t r = 0; r < n_rows; r++) {
        TW_UNROLL
        for (size_t v = 0; v < n_v; v++)
            c[r * n_v + v] = b->fresh ? v_zero() : v_load(b->acc + at + r * TW_PANEL + v * TW_W);
    }
    run_chains(b, t, c, type, n_rows, n_strips);
    for (unsigned i = 0; i < b->n_sums; i++) {
        const float *sum = b->sums[i] + at;
        TW_UNROLL
        for (size_t r = 0; r < n_rows; r++) {
            TW_UNROLL
            for (size_t v = 0; v < n_v; v++)
                c[r * n_v + v] = v_add(v_load(sum + r * TW_PANEL + v * TW_W), c[r * n_v + v]);
        }
    }
    TW_UNROLL
    for (size_t r = 0; r < n_rows; r++) {
        TW_UNROLL
        for (size_t v = 0; v < n_v; v++)
            v_store(b->acc + at + r * TW_PANEL + v * TW_W, c[r * n_v + v]);
    }
}

/* As many strips at once as registers hold, beside the chains of so many rows. */
TW_INLINE bool strips_fit(const size_t n_rows, const size_t n_strips)
{
    return n_rows == 1 || (n_rows + 1) * 2 * n_strips < (size_t)TW_REGS;
}
TW_INLINE size_t strips_of(const size_t n_rows)
{
    const size_t all = STRIPS;
    return strips_fit(n_rows, all) ? all : strips_fit(n_rows, all / 2) ? all / 2 : 1;
}

/* All columns of n_rows rows, a constant. */
TW_INLINE void run_rows(block *b, tile t, enum tw_dtype type, const size_t n_rows)
{
    const size_t n_strips = strips_of(n_rows), step = n_strips * STRIP;
    for (t.i_col = 0; t.i_col < TW_PANEL; t.i_col += step) {
        run_tile(b, &t, type, n_rows, n_strips);
        t.w += step * size_of(type);
    }
}

TW_INLINE void stream_rows(block *b, size_t i_row, size_t n_rows, enum tw_dtype type)
{
    const tile t = {.i_row = i_row, .w = b->w, .w_step = TW_PANEL * size_of(type)};
    switch (n_rows) {
#define TW_ROWS(n)                                                                                 \
    case n:                                                                                        \
        run_rows(b, t, type, n);                                                                   \
        break;
        TW_ROWS(1)
        TW_ROWS(2)
        TW_ROWS(3)
        TW_ROWS(4)
        TW_ROWS(5)
        TW_ROWS(6)
#if TW_REGS >= 32
        TW_ROWS(7)
        TW_ROWS(8)
        TW_ROWS(9)
        TW_ROWS(10)
        TW_ROWS(11)
        TW_ROWS(12)
#endif
    default:
        break;
    }
}

/* Tiles of about equal height. */
TW_INLINE void stream_block(block *b, enum tw_dtype type)
{
    const size_t most = b->m <= FEW_M ? FEW_M : TILE_M, n = (b->m + most - 1) / most;
    for (size_t i = 0; i < n; i++) {
        size_t from = b->m * i / n, to = b->m * (i + 1) / n;
        stream_rows(b, from, to - from, type);
    }
}

static void stream_bf16(block *b)
{
    stream_block(b, TW_BF16);
}
static void stream_f16(block *b)
{
    stream_block(b, TW_F16);
}
static void stream_f32(block *b)
{
    stream_block(b, TW_F32);
}

TW_INLINE void widen(const block *b, enum tw_dtype type, size_t i_col, float *wide)
{
    const char *w = b->w + i_col * size_of(type);
    for (size_t k = 0; k < b->k_n; k++, w += TW_PANEL * size_of(type)) {
        TW_UNROLL
        for (size_t s = 0; s < TILE_S; s++) {
            vf v[2];
            v_strip(type, w + s * STRIP * size_of(type), v);
            v_store(wide + (k * TILE_S + s) * STRIP, v[0]);
            v_store(wide + (k * TILE_S + s) * STRIP + TW_W, v[1]);
        }
    }
}

static void widen_bf16(const block *b, size_t i_col, float *wide)
{
    widen(b, TW_BF16, i_col, wide);
}
static void widen_f16(const block *b, size_t i_col, float *wide)
{
    widen(b, TW_F16, i_col, wide);
}

/* Whole tiles of rows. wide: [k_n][TILE_S strips] */
static void wide_block(block *b, enum tw_dtype type, float *wide)
{
    tile t = {.w = (const char *)wide, .w_step = TILE_S * STRIP * sizeof(float)};
    for (t.i_col = 0; t.i_col < TW_PANEL; t.i_col += TILE_S * STRIP) {
        (type == TW_BF16 ? widen_bf16 : widen_f16)(b, t.i_col, wide);
        for (t.i_row = 0; t.i_row < b->m; t.i_row += TILE_M)
            run_tile(b, &t, TW_F32, TILE_M, TILE_S);
    }
}

static void run_block(const block *whole, enum tw_dtype type, float *wide)
{
    block b = *whole;
    if (b.m >= WIDEN_M && (type == TW_F16 || (type == TW_BF16 && TW_WIDEN_BF16))) {
        b.m = whole->m / TILE_M * TILE_M;
        wide_block(&b, type, wide);
        b.x += b.m * b.ldx;
        b.acc += b.m * TW_PANEL;
        for (unsigned i = 0; i < b.n_sums; i++)
            b.sums[i] += b.m * TW_PANEL;
        b.m = whole->m - b.m;
    }
    if (type == TW_BF16)
        stream_bf16(&b);
    else if (type == TW_F16)
        stream_f16(&b);
    else
        stream_f32(&b);
}

/* How often a block's weights are gone through. */
static size_t passes_of(size_t m)
{
    return (m <= FEW_M ? 1 : (m + TILE_M - 1) / TILE_M) *
           (STRIPS / strips_of(m <= FEW_M ? m : TILE_M));
}

/* As run_segment, of coded weights: few rows take them out of the panel as it streams by; for more
 * they are widened, block by block, and are F32 weights from there on. */
static void run_coded(const tw_matmul *op, block *b, const char *panel, unsigned s, const tree *t,
                      float *wide)
{
    const size_t k0 = op->seg[s], k1 = op->seg[s + 1];
    const size_t k_step = b->m <= FEW_M ? CODED_STEP : TW_BLOCK_K;
    const float *x = b->x;
    const float *sums[LEVELS];
    const unsigned n_sums = tree_adds(t, s, sums);
    const size_t passes = passes_of(b->m);
    if (b->m <= TW_CODED_ROWS) {
        TW_FN(stream_coded)
        (&(tw_coded_run){op->w, panel, x, b->ldx, b->m, k0, k1, t->cur, sums, n_sums});
        return;
    }
    b->acc = t->cur;
    b->w = (const char *)wide;
    b->alone = false;
    b->ahead_lines = (4 + passes - 1) / passes;
    for (size_t k = k0; k < k1; k += k_step) {
        b->x = x + k;
        b->k_n = k1 - k < k_step ? k1 - k : k_step;
        b->fresh = k == k0;
        b->n_sums = k + k_step >= k1 ? n_sums : 0;
        memcpy(b->sums, sums, n_sums * sizeof *sums);
        b->ahead = panel + tw_coded_at(op->w, k + b->k_n);
        b->ahead_end = b->ahead + k_step * TW_CODED_LINE;
        TW_FN(widen_coded)(op->w, panel, k, b->k_n, wide);
        run_block(b, TW_F32, NULL);
    }
    b->x = x;
}

/* Steps [k0, k1), not none, of one panel, and the slots that segment s completes. */
static void run_segment(const tw_matmul *op, block *b, const char *panel, unsigned s, const tree *t,
                        float *wide)
{
    const size_t k0 = op->seg[s], k1 = op->seg[s + 1];
    const size_t row_bytes = TW_PANEL * size_of(op->w->type);
    const size_t k_step = b->m == 1 ? k1 - k0 : TW_BLOCK_K;
    const float *x = b->x;
    const size_t passes = passes_of(b->m);
    b->alone = passes == 1;
    b->acc = t->cur;
    for (size_t k = k0; k < k1; k += k_step) {
        b->x = x + k;
        b->w = panel + k * row_bytes;
        b->k_n = k1 - k < k_step ? k1 - k : k_step;
        b->fresh = k == k0;
        b->n_sums = 0;
        if (k + k_step >= k1)
            b->n_sums = tree_adds(t, s, b->sums);
        b->ahead = b->w + b->k_n * row_bytes;
        b->ahead_end = b->ahead + TW_BLOCK_K * row_bytes;
        b->ahead_lines = (4 * row_bytes / LINE + passes - 1) / passes;
        run_block(b, op->w->type, wide);
    }
    b->x = x;
}

/* One panel's rows [i_m, i_m + m). Returns the sums [m][64]. */
static const float *sum_panel(const tw_matmul *op, size_t i_panel, size_t i_m, size_t m,
                              float *scratch)
{
    float *wide = scratch;
    const bool coded = tw_dtype_is_coded(op->w->type);
    const char *panel = op->w->data;
    panel += i_panel * tw_packed_panel_bytes(op->w);
    tree t = tree_begin(scratch + TW_BLOCK_K * TW_PANEL, m * TW_PANEL);
    block b = {.x = op->x + i_m * op->ldx, .ldx = op->ldx, .m = m};
    for (unsigned s = 0; s < op->n_seg; s++) {
        const bool empty = op->seg[s] == op->seg[s + 1];
        if (!empty)
            (coded ? run_coded : run_segment)(op, &b, panel, s, &t, wide);
        tree_put(&t, s, op->n_seg, empty);
    }
    return tree_end(&t);
}

/* sum [64] to y [n], n <= 64, in the order of columns; add [n] or NULL. */
static void store_row(enum tw_dtype type, float *y, const float *sum, const float *add, size_t n)
{
    for (size_t i = 0; i < n; i += 32) {
        vf v[32 / TW_W];
        TW_UNROLL
        for (size_t j = 0; j < 32 / TW_W; j++)
            v[j] = v_load(sum + i + j * TW_W);
        v_columns(type, v);
        for (size_t j = 0, at = i; j < 32 / TW_W && at < n; j++, at += TW_W) {
            if (add)
                v[j] = v_add(v[j], v_load_n(add + at, n - at));
            v_store_n(y + at, v[j], n - at);
        }
    }
}

/* Rows of the result lie far apart: their lines are fetched before they are written. */
TW_INLINE void fetch_result(float *y)
{
    for (size_t i = 0; i < TW_PANEL; i += LINE / sizeof *y)
        __builtin_prefetch(y + i, 1);
}

void TW_FN(matmul)(const tw_matmul *op, size_t i_panel0, size_t i_panel1, void *scratch)
{
    for (size_t p = i_panel0; p < i_panel1 && p * TW_PANEL < op->w->n; p++) {
        size_t n0 = p * TW_PANEL, n_n = op->w->n - n0 < TW_PANEL ? op->w->n - n0 : TW_PANEL;
        for (size_t m0 = 0; m0 < op->m; m0 += TW_BLOCK_M) {
            size_t m_n = op->m - m0 < TW_BLOCK_M ? op->m - m0 : TW_BLOCK_M;
            const float *sum = sum_panel(op, p, m0, m_n, scratch);
            for (size_t m = 0; m < m_n; m++) {
                float *y = op->y + (m0 + m) * op->ldy + n0;
                if (m + ROWS_AHEAD < m_n)
                    fetch_result(y + ROWS_AHEAD * op->ldy);
                store_row(op->w->type, y, sum + m * TW_PANEL, op->add ? op->add + n0 : NULL, n_n);
            }
        }
    }
}
