/* SPDX-License-Identifier: Apache-2.0 */
#include "kern/ref/ref.h"

#include <math.h>
#include <string.h>

#include "kern/half.h"

static float weight_at(const tw_packed *w, size_t n, size_t k)
{
    if (tw_dtype_is_coded(w->type))
        return tw_ref_coded_weight(w, n, k);
    size_t row = ((n / TW_PANEL) * w->k + k) * TW_PANEL, col = n % TW_PANEL;
    if (w->type == TW_F32) {
        float v;
        memcpy(&v, (const char *)w->data + 4 * (row + col), sizeof v);
        return v;
    }
    uint16_t h;
    if (w->type == TW_F16) {
        memcpy(&h, (const char *)w->data + 2 * (row + col), sizeof h);
        return tw_f16_to_f32(h);
    }
    size_t j = col % 16;
    memcpy(&h, (const char *)w->data + 2 * (row + col - j + (j < 8 ? 2 * j : 2 * (j - 8) + 1)),
           sizeof h);
    return tw_bf16_to_f32(h);
}

typedef struct row {
    const float *x;
    const tw_xblock *xq; /* quantised weights */
} row;

static float chain(const tw_matmul *op, const row *r, size_t n_out, size_t k0, size_t k1)
{
    if (tw_dtype_is_quant(op->w->type))
        return tw_ref_quant_chain(op->w, n_out, r->xq, k0, k1);
    float acc = 0.0f;
    for (size_t k = k0; k < k1; k++)
        acc = fmaf(weight_at(op->w, n_out, k), r->x[k], acc);
    return acc;
}

/* The tree over segments [s, s + n): false where all of them are empty. */
static bool sum_segments(const tw_matmul *op, const row *r, size_t n_out, unsigned s, unsigned n,
                         float *ret)
{
    if (n == 1) {
        *ret = chain(op, r, n_out, op->seg[s], op->seg[s + 1]);
        return op->seg[s] < op->seg[s + 1];
    }
    float a, b;
    bool has_a = sum_segments(op, r, n_out, s, n / 2, &a);
    bool has_b = sum_segments(op, r, n_out, s + n / 2, n / 2, &b);
    *ret = has_a && has_b ? a + b : has_a ? a : b;
    return has_a || has_b;
}

void tw_ref_matmul(const tw_matmul *op, size_t i_panel0, size_t i_panel1, void *scratch)
{
    for (size_t m = 0; m < op->m; m++) {
        row r = {op->x + m * op->ldx, NULL};
        if (tw_dtype_is_quant(op->w->type) && op->xq) {
            r.xq = op->xq + m * op->ldxq;
        } else if (tw_dtype_is_quant(op->w->type)) {
            tw_ref_quantize(scratch, r.x, op->w->k);
            r.xq = scratch;
        }
        for (size_t n = i_panel0 * TW_PANEL; n < i_panel1 * TW_PANEL && n < op->w->n; n++) {
            float y;
            sum_segments(op, &r, n, 0, op->n_seg, &y);
            op->y[m * op->ldy + n] = op->add ? y + op->add[n] : y;
        }
    }
}

void tw_segments(size_t k, size_t granule, uint32_t ret_seg[TW_SEGMENTS + 1])
{
    size_t n_granules = (k + granule - 1) / granule;
    for (size_t i = 0; i <= TW_SEGMENTS; i++) {
        size_t at = i * n_granules / TW_SEGMENTS * granule;
        ret_seg[i] = (uint32_t)(at < k ? at : k);
    }
}
