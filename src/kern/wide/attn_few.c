/* SPDX-License-Identifier: Apache-2.0 */
/* Decode: few pairs share a block, so nothing is transposed nor widened into memory. Scores run
 * along the dims, 16 lanes in registers, 2 pairs x 2 keys or 1 x 4 at a time; eight keys finish
 * their trees together. */
#include "kern/wide/attn.h"

/* n pairs x 8 keys from key, in steps of 4 / n keys. */
TW_INLINE void few_tile(const walk *w, const void *page, enum tw_dtype type, size_t i_pair,
                        size_t key, const size_t n)
{
    const size_t q_dim = w->op->q_dim, at_once = 4 / n;
    vf sum[2][8];
    TW_UNROLL
    for (size_t j0 = 0; j0 < 8; j0 += at_once) {
        vf c[4][V16];
        TW_UNROLL
        for (size_t i = 0; i < 4; i++) {
            TW_UNROLL
            for (size_t v = 0; v < V16; v++)
                c[i][v] = v_zero();
        }
        for (size_t dim = 0; dim < q_dim; dim += 16) {
            TW_UNROLL
            for (size_t v = 0; v < V16; v++) {
                vf q[2];
                TW_UNROLL
                for (size_t r = 0; r < n; r++)
                    q[r] = v_load(w->q + (i_pair + r) * q_dim + dim + v * TW_W);
                TW_UNROLL
                for (size_t j = 0; j < at_once; j++) {
                    vf kv = v_load_kv(type, page, (key + j0 + j) * q_dim + dim + v * TW_W);
                    TW_UNROLL
                    for (size_t r = 0; r < n; r++)
                        c[r * at_once + j][v] = v_fma(q[r], kv, c[r * at_once + j][v]);
                }
            }
        }
        TW_UNROLL
        for (size_t r = 0; r < n; r++) {
            TW_UNROLL
            for (size_t j = 0; j < at_once; j++)
                sum[r][j0 + j] = v_add(c[r * at_once + j][0], c[r * at_once + j][1]);
        }
    }
    TW_UNROLL
    for (size_t r = 0; r < n; r++)
        v_store(w->p + (i_pair + r) * BLOCK + key,
                v_mul(v_tree8_each(sum[r]), v_set1(w->op->scale)));
}

TW_INLINE void few_scores(const walk *w, const void *page, enum tw_dtype type, unsigned lo,
                          unsigned hi)
{
    for (size_t key = lo / 8 * 8; key < hi; key += 8) {
        size_t i = 0;
        for (; i + 2 <= w->n_pairs; i += 2)
            few_tile(w, page, type, i, key, 2);
        if (i < w->n_pairs)
            few_tile(w, page, type, i, key, 1);
    }
}

void TW_FN(attn_few_scores)(const walk *w, size_t i_page, unsigned lo, unsigned hi)
{
    const void *page = w->op->k_pages[i_page];
    if (w->op->kv_type == TW_F32)
        few_scores(w, page, TW_F32, lo, hi);
    else
        few_scores(w, page, TW_BF16, lo, hi);
}

/* n pairs x n_v vectors of dims; all of them see the same keys. */
TW_INLINE void few_values_tile(const walk *w, const void *page, enum tw_dtype type, size_t i_pair,
                               size_t dim, const size_t n, const size_t n_v)
{
    const size_t q_dim = w->op->q_dim;
    const float *p = w->p + i_pair * BLOCK;
    vf c[8];
    TW_UNROLL
    for (size_t r = 0; r < n; r++) {
        const pair *a = &w->pairs[i_pair + r];
        float *o = w->o + (i_pair + r) * q_dim + dim;
        TW_UNROLL
        for (size_t v = 0; v < n_v; v++)
            c[r * n_v + v] = v_mul(a->in_span ? v_load(o + v * TW_W) : v_zero(), v_set1(a->c));
    }
    const size_t lo = w->pairs[i_pair].lo, hi = w->pairs[i_pair].hi;
    for (size_t key = lo; key < hi; key++) {
        TW_UNROLL
        for (size_t v = 0; v < n_v; v++) {
            vf vv = v_load_kv(type, page, key * q_dim + dim + v * TW_W);
            TW_UNROLL
            for (size_t r = 0; r < n; r++)
                c[r * n_v + v] = v_fma(v_set1(p[r * BLOCK + key]), vv, c[r * n_v + v]);
        }
    }
    TW_UNROLL
    for (size_t r = 0; r < n; r++) {
        float *o = w->o + (i_pair + r) * q_dim + dim;
        TW_UNROLL
        for (size_t v = 0; v < n_v; v++)
            v_store(o + v * TW_W, c[r * n_v + v]);
    }
}

/* As many dims at once as keep eight chains in flight. */
TW_INLINE void few_values(const walk *w, const void *page, enum tw_dtype type, size_t i, size_t n)
{
    const size_t q_dim = w->op->q_dim;
    size_t dim = 0;
    if (n == 1)
        for (; dim + 8 * TW_W <= q_dim; dim += 8 * TW_W)
            few_values_tile(w, page, type, i, dim, 1, 8);
    if (n == 2)
        for (; dim + 4 * TW_W <= q_dim; dim += 4 * TW_W)
            few_values_tile(w, page, type, i, dim, 2, 4);
    for (; dim < q_dim; dim += 16) {
        if (n == 1)
            few_values_tile(w, page, type, i, dim, 1, V16);
        else if (n == 2)
            few_values_tile(w, page, type, i, dim, 2, V16);
        else if (n == 3)
            few_values_tile(w, page, type, i, dim, 3, V16);
        else
            few_values_tile(w, page, type, i, dim, 4, V16);
    }
}

/* Neighbours that see the same keys go together. */
void TW_FN(attn_few_values)(const walk *w, size_t i_page)
{
    const void *page = w->op->v_pages[i_page];
    const size_t most = 8 / V16;
    for (size_t i = 0, n; i < w->n_pairs; i += n) {
        const pair *a = &w->pairs[i];
        for (n = 1; n < most && i + n < w->n_pairs; n++)
            if (a[n].lo != a->lo || a[n].hi != a->hi)
                break;
        if (a->lo >= a->hi)
            continue;
        if (w->op->kv_type == TW_F32)
            few_values(w, page, TW_F32, i, n);
        else
            few_values(w, page, TW_BF16, i, n);
    }
}
