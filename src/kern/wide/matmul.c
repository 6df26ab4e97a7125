/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of M rows x one panel x up to TW_BLOCK_K steps of one segment. Every output is one chain:
 * it lives in registers during a block and in memory between blocks, which changes no bit. Few rows
 * widen the weights as they stream by; many rows share 16 columns widened once into scratch. */
#include "kern/wide/wide.h"

#include "kern/scratch.h"

enum {
    V16 = 16 / TW_W,      /* vectors in 16 columns */
    TILE_M = 6,           /* rows of the large tile */
    WIDEN_M = 8 * TILE_M, /* from here on widening pays */
    PREFETCH = 4096,      /* bytes ahead of a single stream */
};

typedef struct block {
    const float *x; /* [m][k_n] at ldx */
    size_t ldx, m;
    const char *w; /* [k_n][64] of type */
    size_t k_n;
    float *acc; /* [m][64]: the chains */
    bool fresh; /* chains begin here */
} block;

/* n_rows x n16 * 16 outputs. w advances w_step bytes a step. All but b and i_row are constants where
 * it is called. */
TW_INLINE void run_tile(const block *b, size_t i_row, size_t i_col, enum tw_dtype type,
                        const char *w, size_t w_step, const size_t n_rows, const size_t n16)
{
    enum { MAX_V = 12 };
    const size_t n_v = n16 * V16;
    const float *x = b->x + i_row * b->ldx;
    float *acc = b->acc + i_row * TW_PANEL + i_col;
    vf c[MAX_V];
    TW_UNROLL
    for (size_t r = 0; r < n_rows; r++) {
        TW_UNROLL
        for (size_t v = 0; v < n_v; v++)
            c[r * n_v + v] = b->fresh ? v_zero() : v_load(acc + r * TW_PANEL + v * TW_W);
    }
    const size_t ldx = b->ldx;
    for (size_t k = 0; k < b->k_n; k++) {
        if (n_rows == 1) {
            for (size_t j = 0; j < TW_PANEL * (type == TW_F32 ? 4 : 2); j += 64)
                __builtin_prefetch(w + PREFETCH + j);
        }
        TW_UNROLL
        for (size_t j = 0; j < n16; j++) {
            vf wide[V16];
            v_panel16(type, w + j * 16 * (type == TW_F32 ? 4 : 2), wide);
            TW_UNROLL
            for (size_t r = 0; r < n_rows; r++) {
                vf xv = v_set1(x[r * ldx + k]);
                TW_UNROLL
                for (size_t v = 0; v < V16; v++)
                    c[(r * n16 + j) * V16 + v] = v_fma(wide[v], xv, c[(r * n16 + j) * V16 + v]);
            }
        }
        w += w_step;
    }
    TW_UNROLL
    for (size_t r = 0; r < n_rows; r++) {
        TW_UNROLL
        for (size_t v = 0; v < n_v; v++)
            v_store(acc + r * TW_PANEL + v * TW_W, c[r * n_v + v]);
    }
}

/* Up to TILE_M rows from i_row, all 64 columns, weights widened on the way. */
TW_INLINE void stream_rows(const block *b, size_t i_row, size_t n_rows, enum tw_dtype type)
{
    const size_t bytes = type == TW_F32 ? 4 : 2, step = TW_PANEL * bytes;
    size_t width = n_rows == 1 ? 64 : n_rows == 2 ? 32 : 16;
    for (size_t col = 0; col < TW_PANEL; col += width) {
        const char *w = b->w + col * bytes;
        switch (n_rows) {
        case 1:
            run_tile(b, i_row, col, type, w, step, 1, 4);
            break;
        case 2:
            run_tile(b, i_row, col, type, w, step, 2, 2);
            break;
        case 3:
            run_tile(b, i_row, col, type, w, step, 3, 1);
            break;
        case 4:
            run_tile(b, i_row, col, type, w, step, 4, 1);
            break;
        case 5:
            run_tile(b, i_row, col, type, w, step, 5, 1);
            break;
        default:
            run_tile(b, i_row, col, type, w, step, 6, 1);
            break;
        }
    }
}

TW_INLINE void stream_block(const block *b, enum tw_dtype type)
{
    for (size_t m = 0; m < b->m; m += TILE_M)
        stream_rows(b, m, b->m - m < TILE_M ? b->m - m : TILE_M, type);
}

static void stream_bf16(const block *b)
{
    stream_block(b, TW_BF16);
}
static void stream_f16(const block *b)
{
    stream_block(b, TW_F16);
}
static void stream_f32(const block *b)
{
    stream_block(b, TW_F32);
}

/* Whole tiles only. wide: [k_n][16] */
static void wide_block(const block *b, enum tw_dtype type, float *wide)
{
    const size_t bytes = type == TW_F32 ? 4 : 2;
    for (size_t col = 0; col < TW_PANEL; col += 16) {
        const char *w = b->w + col * bytes;
        for (size_t k = 0; k < b->k_n; k++) {
            vf v[V16];
            if (type == TW_BF16)
                v_panel16(TW_BF16, w + k * TW_PANEL * 2, v);
            else if (type == TW_F16)
                v_panel16(TW_F16, w + k * TW_PANEL * 2, v);
            else
                v_panel16(TW_F32, w + k * TW_PANEL * 4, v);
            for (size_t j = 0; j < V16; j++)
                v_store(wide + k * 16 + j * TW_W, v[j]);
        }
        for (size_t m = 0; m < b->m; m += TILE_M)
            run_tile(b, m, col, TW_F32, (const char *)wide, 16 * sizeof(float), TILE_M, 1);
    }
}

static void run_block(const block *b, enum tw_dtype type, float *wide)
{
    block rest = *b;
    if (b->m >= WIDEN_M) {
        block whole = *b;
        whole.m = b->m / TILE_M * TILE_M;
        wide_block(&whole, type, wide);
        rest.x += whole.m * b->ldx;
        rest.acc += whole.m * TW_PANEL;
        rest.m -= whole.m;
    }
    if (type == TW_BF16)
        stream_bf16(&rest);
    else if (type == TW_F16)
        stream_f16(&rest);
    else
        stream_f32(&rest);
}

static void add_into(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += TW_W)
        v_store(y + i, v_add(v_load(x + i), v_load(y + i)));
}

static void swap(float **a, float **b)
{
    float *other = *a;
    *a = *b;
    *b = other;
}

/* One panel's rows [i_m, i_m + m): the tree as a binary counter. slot[l] holds the sum of 2^l
 * segments; cur and slots change places, nothing is copied. Returns the sums [m][64]. */
static float *sum_panel(const tw_matmul *op, size_t i_panel, size_t i_m, size_t m, float *scratch)
{
    const size_t row_bytes = TW_PANEL * (op->w->type == TW_F32 ? 4 : 2);
    float *slot[4], *wide = scratch, *cur;
    bool full[4] = {false};
    scratch += TW_BLOCK_K * TW_PANEL;
    for (size_t l = 0; l < 4; l++)
        slot[l] = scratch + l * TW_BLOCK_M * TW_PANEL;
    cur = slot[3]; /* the root needs no slot: it stays in cur */
    bool has = false;
    for (unsigned s = 0; s < op->n_seg; s++) {
        size_t k0 = op->seg[s], k1 = op->seg[s + 1];
        const size_t k_step = m == 1 ? k1 - k0 : TW_BLOCK_K;
        has = k0 < k1;
        for (size_t k = k0; k < k1; k += k_step) {
            block b = {
                .x = op->x + i_m * op->ldx + k,
                .ldx = op->ldx,
                .m = m,
                .w = (const char *)op->w->data + (i_panel * op->w->k + k) * row_bytes,
                .k_n = k1 - k < k_step ? k1 - k : k_step,
                .acc = cur,
                .fresh = k == k0,
            };
            run_block(&b, op->w->type, wide);
        }
        unsigned l = 0;
        for (unsigned t = s; t & 1; t >>= 1, l++) {
            if (full[l] && has)
                add_into(cur, slot[l], m * TW_PANEL);
            if (full[l] && !has)
                swap(&slot[l], &cur);
            has = has || full[l];
        }
        if (s + 1 < op->n_seg) {
            swap(&slot[l], &cur);
            full[l] = has;
        }
    }
    if (!has)
        memset(cur, 0, m * TW_PANEL * sizeof *cur);
    return cur;
}

/* sum [64] to y [n], n <= 64; add [n] or NULL. */
static void store_row(float *y, const float *sum, const float *add, size_t n)
{
    for (size_t i = 0; i < n; i += TW_W) {
        vf v = v_load(sum + i);
        if (add)
            v = v_add(v, v_load_n(add + i, n - i));
        v_store_n(y + i, v, n - i);
    }
}

void TW_FN(matmul)(const tw_matmul *op, size_t i_panel0, size_t i_panel1, void *scratch)
{
    for (size_t p = i_panel0; p < i_panel1 && p * TW_PANEL < op->w->n; p++) {
        size_t n0 = p * TW_PANEL, n_n = op->w->n - n0 < TW_PANEL ? op->w->n - n0 : TW_PANEL;
        for (size_t m0 = 0; m0 < op->m; m0 += TW_BLOCK_M) {
            size_t m_n = op->m - m0 < TW_BLOCK_M ? op->m - m0 : TW_BLOCK_M;
            const float *sum = sum_panel(op, p, m0, m_n, scratch);
            for (size_t m = 0; m < m_n; m++)
                store_row(op->y + (m0 + m) * op->ldy + n0, sum + m * TW_PANEL,
                          op->add ? op->add + n0 : NULL, n_n);
        }
    }
}
