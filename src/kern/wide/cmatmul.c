/* SPDX-License-Identifier: Apache-2.0 */
/* Coded weights become f32: a column of a panel is 64 bytes, of which dwords hold one of 16 outputs in
 * each byte (kern/coded.h). The exponent of a code is moved by its scale, which is multiplied by 2^120
 * once a group: exact, and so the product is that of the code's value and its scale, rounded once. */
#include "kern/wide/cmatmul.h"
#include "kern/wide/qvec.h"

#include "base/scope.h"
#include "kern/coded.h"

enum {
    UNITS = 16 / TW_QW, /* vectors of codes in a column */
    BYTES = 4,          /* of a dword: vectors that one of codes becomes */
    CHUNK = 128,        /* columns that stay in the first cache between units */
    PREFETCH = 8192,    /* bytes ahead of a single stream */
};

typedef struct group {
    _Alignas(64) float scale[TW_PANEL]; /* times 2^120 */
} group;

static void load_group(const tw_packed *w, const char *panel, size_t k, group *g)
{
    const char *head = panel + tw_coded_head_at(w, k);
    const qf move = q_set1(0x1p120f);
    for (size_t i = 0; i < TW_PANEL; i += TW_QW)
        q_store_f(g->scale + i, q_load_f(head + i * sizeof(float)) * move);
}

/* Codes of unit u at p: ret[b] is outputs 16 b + TW_QW u .. */
TW_INLINE void widen_unit(const void *p, const qf scale[BYTES], qf ret[BYTES])
{
    const qu w = q_load(p);
    TW_UNROLL
    for (unsigned b = 0; b < BYTES; b++) {
        /* The sign comes down along with the rest, four times too many. */
        const qi v = (qi)(w << (24 - 8 * b)) >> 4;
        ret[b] = (qf)((qu)v & 0x87f00000u) * scale[b];
    }
}

TW_INLINE void load_scales(const group *g, size_t u, qf ret[BYTES])
{
    TW_UNROLL
    for (size_t b = 0; b < BYTES; b++)
        ret[b] = q_load_f(g->scale + 16 * b + u * TW_QW);
}

typedef struct part {
    const char *codes; /* of column k0, unit u */
    const group *g;
    size_t k0, n, u;
    bool fresh, last;
} part;

/* n columns of one group, one unit of their outputs. n_rows: a constant where it is called. */
TW_INLINE void stream_part(const tw_coded_run *r, const part *at, const size_t n_rows)
{
    const size_t ldx = r->ldx, n = at->n, i_out = at->u * TW_QW;
    const float *x = r->x + at->k0;
    const char *p = at->codes;
    qf c[TW_CODED_ROWS * BYTES], scale[BYTES];
    load_scales(at->g, at->u, scale);
    TW_UNROLL
    for (size_t i = 0; i < n_rows * BYTES; i++) {
        const float *acc = r->acc + i / BYTES * TW_PANEL + i % BYTES * 16 + i_out;
        c[i] = at->fresh ? q_set1(0.0f) : q_load_f(acc);
    }
    for (size_t k = 0; k < n; k++, p += TW_CODED_COLUMN) {
        qf wide[BYTES];
        __builtin_prefetch(p + PREFETCH);
        widen_unit(p, scale, wide);
        TW_UNROLL
        for (size_t row = 0; row < n_rows; row++) {
            const qf xv = q_set1(x[row * ldx + k]);
            TW_UNROLL
            for (size_t b = 0; b < BYTES; b++)
                c[row * BYTES + b] = q_fma(wide[b], xv, c[row * BYTES + b]);
        }
    }
    TW_UNROLL
    for (size_t i = 0; i < n_rows * BYTES; i++) {
        const size_t o = i / BYTES * TW_PANEL + i % BYTES * 16 + i_out;
        for (unsigned s = 0; at->last && s < r->n_sums; s++)
            c[i] = q_load_f(r->sums[s] + o) + c[i];
        q_store_f(r->acc + o, c[i]);
    }
}

TW_INLINE void stream_rows(const tw_coded_run *r, const size_t n_rows)
{
    group g;
    for (size_t k = r->k0, end; k < r->k1; k = end) {
        end = TW_MIN(TW_MIN(tw_coded_group_end(r->w, k), k + CHUNK), r->k1);
        load_group(r->w, r->panel, k, &g);
        part at = {.g = &g, .k0 = k, .n = end - k, .fresh = k == r->k0, .last = end == r->k1};
        at.codes = r->panel + tw_coded_at(r->w, k);
        for (at.u = 0; at.u < UNITS; at.u++, at.codes += 4 * TW_QW)
            stream_part(r, &at, n_rows);
    }
}

void TW_FN(stream_coded)(const tw_coded_run *r)
{
    switch (r->m) {
    case 1:
        stream_rows(r, 1);
        break;
    case 2:
        stream_rows(r, 2);
        break;
#ifdef __AVX512BW__ /* TW_CODED_ROWS */
    case 3:
        stream_rows(r, 3);
        break;
    case 4:
        stream_rows(r, 4);
        break;
#endif
    default:
        break;
    }
}

void TW_FN(widen_coded)(const tw_packed *w, const char *panel, size_t k0, size_t n, float *out)
{
    group g;
    const size_t k1 = k0 + n;
    for (size_t k = k0, end; k < k1; k = end) {
        end = TW_MIN(tw_coded_group_end(w, k), k1);
        load_group(w, panel, k, &g);
        const char *p = panel + tw_coded_at(w, k);
        for (size_t i = k; i < end; i++, p += TW_CODED_COLUMN, out += TW_PANEL) {
            TW_UNROLL
            for (size_t u = 0; u < UNITS; u++) {
                qf scale[BYTES], wide[BYTES];
                load_scales(&g, u, scale);
                widen_unit(p + 4 * TW_QW * u, scale, wide);
                TW_UNROLL
                for (size_t b = 0; b < BYTES; b++)
                    q_store_f(out + 16 * b + TW_QW * u, wide[b]);
            }
        }
    }
}
