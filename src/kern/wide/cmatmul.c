/* SPDX-License-Identifier: Apache-2.0 */
/* Coded weights become f32: a line of a panel is 64 bytes, dwords of which hold one of 16 outputs in each
 * byte (FP8), or in each nibble, two columns (INT4; kern/coded.h).
 *
 * FP8: the exponent of a code is moved by its scale, which is multiplied by 2^120 once a group: exact, and
 * so the product is that of the code's value and its scale, rounded once. INT4: a nibble in the last place of
 * 2^23, less 2^23 + zero, is exact. */
#include "kern/wide/cmatmul.h"
#include "kern/wide/qvec.h"

#include "base/scope.h"
#include "kern/coded.h"

enum {
    UNITS = 16 / TW_QW, /* vectors of codes in a column */
    VECTORS = 4,        /* that one of codes becomes, a column */
    CHUNK = 128,        /* columns that stay in the first cache between units */
    PREFETCH = 8192,    /* bytes ahead of a single stream */
};

typedef struct group {
    _Alignas(64) float scale[TW_PANEL]; /* FP8: times 2^120 */
    _Alignas(64) float zero[TW_PANEL];  /* INT4: and 2^23 */
} group;

/* What a unit wants of its group. */
typedef struct factors {
    qf scale[VECTORS], zero[VECTORS];
} factors;

TW_INLINE void load_group(const tw_packed *w, const char *panel, size_t k, enum tw_dtype type,
                          group *g)
{
    const char *head = panel + tw_coded_head_at(w, k);
    if (type == TW_INT4) {
        const uint8_t *zero = (const uint8_t *)head + TW_PANEL * sizeof(uint16_t);
        for (size_t i = 0; i < TW_PANEL; i += TW_QW)
            q_store_f(g->scale + i, q_load_f16(head + i * sizeof(uint16_t)));
        for (size_t i = 0; i < TW_PANEL; i++)
            g->zero[i] = 0x1p23f + (float)zero[i];
        return;
    }
    const qf move = q_set1(0x1p120f);
    for (size_t i = 0; i < TW_PANEL; i += TW_QW)
        q_store_f(g->scale + i, q_load_f(head + i * sizeof(float)) * move);
}

TW_INLINE void load_factors(const group *g, size_t u, enum tw_dtype type, factors *ret)
{
    TW_UNROLL
    for (size_t b = 0; b < VECTORS; b++) {
        ret->scale[b] = q_load_f(g->scale + 16 * b + u * TW_QW);
        if (type == TW_INT4)
            ret->zero[b] = q_load_f(g->zero + 16 * b + u * TW_QW);
    }
}

/* A unit of the line at p, INT4: of its column `second`. ret[b] is outputs 16 b + TW_QW u .. */
TW_INLINE void widen_unit(const void *p, enum tw_dtype type, const bool second, const factors *f,
                          qf ret[VECTORS])
{
    const qu w = q_load(p);
    TW_UNROLL
    for (unsigned b = 0; b < VECTORS; b++) {
        if (type == TW_INT4) {
            const qu v = (w >> (4 * b + (second ? 16 : 0)) & 15) | 0x4b000000u;
            ret[b] = ((qf)v - f->zero[b]) * f->scale[b];
        } else {
            /* The sign comes down along with the rest, four times too many. */
            const qi v = (qi)(w << (24 - 8 * b)) >> 4;
            ret[b] = (qf)((qu)v & 0x87f00000u) * f->scale[b];
        }
    }
}

typedef struct part {
    const char *lines; /* of column k0, unit u */
    const group *g;
    size_t k0, n, u;
    bool fresh, last;
} part;

/* One column. n_rows: a constant where it is called. */
TW_INLINE void add_column(qf *c, const float *x, size_t ldx, const qf wide[VECTORS],
                          const size_t n_rows)
{
    TW_UNROLL
    for (size_t row = 0; row < n_rows; row++) {
        const qf xv = q_set1(x[row * ldx]);
        TW_UNROLL
        for (size_t b = 0; b < VECTORS; b++)
            c[row * VECTORS + b] = q_fma(wide[b], xv, c[row * VECTORS + b]);
    }
}

TW_INLINE void add_columns(qf *c, const tw_coded_run *r, const part *at, enum tw_dtype type,
                           const size_t n_rows)
{
    const size_t ldx = r->ldx, n = at->n;
    const float *x = r->x + at->k0;
    const char *p = at->lines;
    qf wide[VECTORS];
    factors f;
    size_t k = 0;
    load_factors(at->g, at->u, type, &f);
    if (type == TW_INT4 && at->k0 % 2 != 0) {
        widen_unit(p, type, true, &f, wide);
        add_column(c, x, ldx, wide, n_rows);
        k++;
        p += TW_CODED_LINE;
    }
    for (const size_t step = type == TW_INT4 ? 2 : 1; k + step <= n; k += step) {
        __builtin_prefetch(p + PREFETCH);
        widen_unit(p, type, false, &f, wide);
        add_column(c, x + k, ldx, wide, n_rows);
        if (type == TW_INT4) {
            widen_unit(p, type, true, &f, wide);
            add_column(c, x + k + 1, ldx, wide, n_rows);
        }
        p += TW_CODED_LINE;
    }
    if (k < n) {
        widen_unit(p, type, false, &f, wide);
        add_column(c, x + k, ldx, wide, n_rows);
    }
}

/* n columns of one group, one unit of their outputs. */
TW_INLINE void stream_part(const tw_coded_run *r, const part *at, enum tw_dtype type,
                           const size_t n_rows)
{
    const size_t i_out = at->u * TW_QW;
    qf c[TW_CODED_ROWS * VECTORS];
    TW_UNROLL
    for (size_t i = 0; i < n_rows * VECTORS; i++) {
        const float *acc = r->acc + i / VECTORS * TW_PANEL + i % VECTORS * 16 + i_out;
        c[i] = at->fresh ? q_set1(0.0f) : q_load_f(acc);
    }
    add_columns(c, r, at, type, n_rows);
    TW_UNROLL
    for (size_t i = 0; i < n_rows * VECTORS; i++) {
        const size_t o = i / VECTORS * TW_PANEL + i % VECTORS * 16 + i_out;
        for (unsigned s = 0; at->last && s < r->n_sums; s++)
            c[i] = q_load_f(r->sums[s] + o) + c[i];
        q_store_f(r->acc + o, c[i]);
    }
}

TW_INLINE void stream_rows(const tw_coded_run *r, enum tw_dtype type, const size_t n_rows)
{
    group g;
    for (size_t k = r->k0, end; k < r->k1; k = end) {
        end = TW_MIN(TW_MIN(tw_coded_group_end(r->w, k), k + CHUNK), r->k1);
        load_group(r->w, r->panel, k, type, &g);
        part at = {.g = &g, .k0 = k, .n = end - k, .fresh = k == r->k0, .last = end == r->k1};
        at.lines = r->panel + tw_coded_at(r->w, k);
        for (at.u = 0; at.u < UNITS; at.u++, at.lines += 4 * TW_QW)
            stream_part(r, &at, type, n_rows);
    }
}

TW_INLINE void stream_type(const tw_coded_run *r, enum tw_dtype type)
{
    switch (r->m) {
    case 1:
        stream_rows(r, type, 1);
        break;
    case 2:
        stream_rows(r, type, 2);
        break;
    case 3:
        if (TW_CODED_ROWS >= 3)
            stream_rows(r, type, 3);
        break;
    case 4:
        if (TW_CODED_ROWS >= 4)
            stream_rows(r, type, 4);
        break;
    default:
        break;
    }
}

void TW_FN(stream_coded)(const tw_coded_run *r)
{
    if (r->w->type == TW_INT4)
        stream_type(r, TW_INT4);
    else
        stream_type(r, TW_FP8);
}

/* All of a line's column to out [64]. */
TW_INLINE void widen_column(const char *p, enum tw_dtype type, const bool second, const group *g,
                            float *out)
{
    TW_UNROLL
    for (size_t u = 0; u < UNITS; u++) {
        qf wide[VECTORS];
        factors f;
        load_factors(g, u, type, &f);
        widen_unit(p + 4 * TW_QW * u, type, second, &f, wide);
        TW_UNROLL
        for (size_t b = 0; b < VECTORS; b++)
            q_store_f(out + 16 * b + TW_QW * u, wide[b]);
    }
}

TW_INLINE void widen_type(const tw_packed *w, const char *panel, size_t k0, size_t k1,
                          enum tw_dtype type, float *out)
{
    group g;
    for (size_t k = k0, end; k < k1; k = end) {
        end = TW_MIN(tw_coded_group_end(w, k), k1);
        load_group(w, panel, k, type, &g);
        const char *lines = panel + tw_coded_at(w, k) - tw_coded_line_bytes(type, k);
        for (size_t i = k; i < end; i++, out += TW_PANEL) {
            const char *p = lines + tw_coded_line_bytes(type, i);
            if (type == TW_INT4 && i % 2 != 0)
                widen_column(p, type, true, &g, out);
            else
                widen_column(p, type, false, &g, out);
        }
    }
}

void TW_FN(widen_coded)(const tw_packed *w, const char *panel, size_t k0, size_t n, float *out)
{
    if (w->type == TW_INT4)
        widen_type(w, panel, k0, k0 + n, TW_INT4, out);
    else
        widen_type(w, panel, k0, k0 + n, TW_FP8, out);
}
