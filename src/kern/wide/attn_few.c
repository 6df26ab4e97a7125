/* SPDX-License-Identifier: Apache-2.0 */
/* Decode: few pairs share a block, so nothing is transposed nor widened into memory. Up to QUAD pairs
 * share every element of K and V that is loaded. Scores run along the dims, 16 lanes in registers;
 * TW_W keys finish their trees together. */
#include "kern/wide/attn.h"

enum { QUAD = 4, CHAINS = TW_REGS / 2, LINE = 64 };

/* n pairs x TW_W keys from key, in steps of at_once keys. next: of it the same keys are wanted when
 * this page is done. */
TW_INLINE void few_tile(const walk *w, const void *page, const void *next, enum tw_dtype type,
                        size_t i_pair, size_t key, const size_t n, const size_t at_once)
{
    const size_t q_dim = w->op->q_dim;
    const float *q = w->q + i_pair * q_dim;
    vf sum[QUAD][16];
    for (size_t j0 = 0; j0 < TW_W; j0 += at_once) {
        vf c[CHAINS];
        const size_t size = type == TW_F32 ? 4 : 2;
        const char *ahead = next ? (const char *)next + (key + j0) * q_dim * size : NULL;
        TW_UNROLL
        for (size_t i = 0; i < n * at_once * V16; i++)
            c[i] = v_zero();
        for (size_t dim = 0; dim < q_dim; dim += 16) { /* evenly: a burst fills the miss buffers */
            for (size_t i = 0; ahead && i < at_once * 16 * size; i += LINE)
                __builtin_prefetch(ahead + dim * at_once * size + i, 0, 3);
            TW_UNROLL
            for (size_t v = 0; v < V16; v++) {
                const size_t at = dim + v * TW_W;
                vf kv[CHAINS / V16];
                TW_UNROLL
                for (size_t j = 0; j < at_once; j++)
                    kv[j] = v_load_kv(type, page, (key + j0 + j) * q_dim + at);
                TW_UNROLL
                for (size_t r = 0; r < n; r++) {
                    vf qv = v_load(q + r * q_dim + at);
                    TW_UNROLL
                    for (size_t j = 0; j < at_once; j++) {
                        vf *to = &c[(r * at_once + j) * V16 + v];
                        *to = v_fma(qv, kv[j], *to);
                    }
                }
            }
        }
        TW_UNROLL
        for (size_t r = 0; r < n; r++) {
            TW_UNROLL
            for (size_t j = 0; j < at_once * V16; j++)
                sum[r][j0 * V16 + j] = c[r * at_once * V16 + j];
        }
    }
    TW_UNROLL
    for (size_t r = 0; r < n; r++)
        v_store(w->p + (i_pair + r) * BLOCK + key,
                v_mul(v_tree16_each(sum[r]), v_set1(w->op->scale)));
}

/* Keys in flight with n pairs: a power of two. */
TW_INLINE size_t keys_at_once(const size_t n)
{
    const size_t fit = CHAINS / V16 / n;
    return fit >= 8 ? 8 : fit >= 4 ? 4 : fit >= 2 ? 2 : 1;
}

/* Pairs [i, end) of one KV head. */
TW_INLINE void few_scores(const walk *w, const void *page, const void *next, enum tw_dtype type,
                          size_t first, size_t end, unsigned lo, unsigned hi)
{
    for (size_t key = lo / TW_W * TW_W; key < hi; key += TW_W) {
        const void *fetch = next;
        for (size_t i = first; i < end; i += QUAD, fetch = NULL) {
            switch (end - i) {
            case 1:
                few_tile(w, page, fetch, type, i, key, 1, keys_at_once(1));
                break;
            case 2:
                few_tile(w, page, fetch, type, i, key, 2, keys_at_once(2));
                break;
            case 3:
                few_tile(w, page, fetch, type, i, key, 3, keys_at_once(3));
                break;
            default:
                few_tile(w, page, fetch, type, i, key, QUAD, keys_at_once(QUAD));
                break;
            }
        }
    }
}

/* What will be read after block i_kv of a page: several KV heads are one stream, first their keys,
 * then their values; those of one head are two. */
static const void *next_keys(const walk *w, uint32_t i_page, unsigned i_kv)
{
    if (i_kv + 1 < w->n_kv)
        return page_of(w, w->op->k_pages, i_page, i_kv + 1);
    if (w->n_kv > 1)
        return page_of(w, w->op->v_pages, i_page, 0);
    return page_of(w, w->op->k_pages, i_page + (i_page < w->i_last), 0);
}
static const void *next_values(const walk *w, uint32_t i_page, unsigned i_kv)
{
    if (i_kv + 1 < w->n_kv)
        return page_of(w, w->op->v_pages, i_page, i_kv + 1);
    return page_of(w, w->n_kv > 1 ? w->op->k_pages : w->op->v_pages, i_page + (i_page < w->i_last),
                   0);
}

void TW_FN(attn_few_scores)(const walk *w, uint32_t i_page, unsigned lo, unsigned hi)
{
    const size_t n = w->n_pairs / w->n_kv;
    for (unsigned g = 0; g < w->n_kv; g++) {
        const void *page = page_of(w, w->op->k_pages, i_page, g), *next = next_keys(w, i_page, g);
        if (w->op->kv_type == TW_F32)
            few_scores(w, page, next, TW_F32, g * n, (g + 1) * n, lo, hi);
        else
            few_scores(w, page, next, TW_BF16, g * n, (g + 1) * n, lo, hi);
    }
}

/* n pairs x n_v vectors of dims; all of them see the same keys. */
TW_INLINE void few_values_tile(const walk *w, const void *page, const void *next,
                               enum tw_dtype type, size_t i_pair, size_t dim, const size_t n,
                               const size_t n_v)
{
    const size_t q_dim = w->op->q_dim;
    const size_t size = type == TW_F32 ? 4 : 2;
    const float *p = w->p + i_pair * BLOCK;
    vf c[CHAINS];
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
        for (size_t i = 0; next && i < n_v * TW_W * size; i += LINE)
            __builtin_prefetch((const char *)next + (key * q_dim + dim) * size + i, 0, 3);
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

/* As many dims at once as keep the chains in registers. */
TW_INLINE void few_values_rows(const walk *w, const void *page, const void *next,
                               enum tw_dtype type, size_t i, const size_t n)
{
    const size_t q_dim = w->op->q_dim, most = n == 1 ? 8 : n == 2 ? TW_REGS / 4 : TW_REGS / 8;
    size_t dim = 0;
    for (; dim + most * TW_W <= q_dim; dim += most * TW_W)
        few_values_tile(w, page, next, type, i, dim, n, most);
    for (; n == 1 && dim + 4 * TW_W <= q_dim; dim += 4 * TW_W)
        few_values_tile(w, page, next, type, i, dim, 1, 4);
    for (; dim < q_dim; dim += 16)
        few_values_tile(w, page, next, type, i, dim, n, V16);
}

TW_INLINE void few_values(const walk *w, const void *page, const void *next, enum tw_dtype type,
                          size_t i, size_t n)
{
    switch (n) {
    case 1:
        few_values_rows(w, page, next, type, i, 1);
        break;
    case 2:
        few_values_rows(w, page, next, type, i, 2);
        break;
    case 3:
        few_values_rows(w, page, next, type, i, 3);
        break;
    default:
        few_values_rows(w, page, next, type, i, QUAD);
        break;
    }
}

/* Pairs [i, end) of one KV head: neighbours that see the same keys go together. */
static void few_values_head(const walk *w, const void *page, const void *next, size_t i, size_t end)
{
    for (size_t n; i < end; i += n) {
        const pair *a = &w->pairs[i];
        for (n = 1; n < QUAD && i + n < end; n++)
            if (a[n].lo != a->lo || a[n].hi != a->hi)
                break;
        if (a->lo >= a->hi)
            continue;
        if (w->op->kv_type == TW_F32)
            few_values(w, page, next, TW_F32, i, n);
        else
            few_values(w, page, next, TW_BF16, i, n);
        next = NULL;
    }
}

void TW_FN(attn_few_values)(const walk *w, uint32_t i_page)
{
    const size_t n = w->n_pairs / w->n_kv;
    for (unsigned g = 0; g < w->n_kv; g++)
        few_values_head(w, page_of(w, w->op->v_pages, i_page, g), next_values(w, i_page, g), g * n,
                        (g + 1) * n);
}
