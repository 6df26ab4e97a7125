/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces whose packed numbers are made of the file's, not copied: widened a row at a time, quantised
 * where the model shall be, packed a panel at a time; or coded ones, with their scales. */
#include "base/scope.h"
#include "model/coded.h"
#include "model/weights_finite.h"
#include "model/weights_inside.h"

enum { ALIGN_BYTES = 64 };

tw_packed tw_piece_packed(const tw_piece *p, const void *data)
{
    tw_packed w = {.type = p->type, .n = p->n_rows, .k = p->n_cols, .data = data};
    if (tw_dtype_is_coded(p->type)) {
        w.group = tw_coded_group(p->t->coded);
        w.phase = p->col0 % w.group;
    }
    return w;
}

bool tw_piece_is_made(const tw_piece *p)
{
    return !p->is_vector && (p->type != p->t->type || p->t->coded != NULL);
}

size_t tw_tensor_row_bytes(const tw_tensor *t)
{
    return t->coded != NULL ? tw_coded_row_bytes(t->coded) : tw_dtype_row_bytes(t->type, t->n_cols);
}

/* A coded panel is widened whole: its numbers may lie beside each other by columns. */
static size_t wide_bytes(const tw_piece *p)
{
    const size_t n_rows = p->t->coded != NULL ? TW_PANEL : 1;
    return TW_DIV_UP(n_rows * p->n_cols * sizeof(float), (size_t)ALIGN_BYTES) * ALIGN_BYTES;
}

static size_t n_groups(const tw_piece *p)
{
    const tw_packed w = tw_piece_packed(p, NULL);
    return TW_DIV_UP(w.phase + w.k, w.group);
}

/* What is widened, then a panel of rows as they are packed. */
size_t tw_piece_scratch_bytes(const tw_piece *p)
{
    if (!tw_piece_is_made(p))
        return 0;
    if (tw_dtype_is_coded(p->type)) {
        const size_t scales = n_groups(p) * (sizeof(float) + 1) * TW_PANEL;
        return scales + (p->type == TW_INT4 ? p->n_cols * TW_PANEL : 0);
    }
    return wide_bytes(p) +
           (tw_dtype_is_quant(p->type) ? TW_PANEL * tw_dtype_row_bytes(p->type, p->n_cols) : 0);
}

static bool scales_finite(const tw_piece *p, float (*scale)[TW_PANEL], size_t n)
{
    bool finite = true;
    for (size_t g = 0; g < n_groups(p); g++)
        finite = finite && tw_weights_finite(TW_F32, scale[g], n);
    return finite;
}

/* Codes go as they are. scratch: scales, zeros, and 4 bits by byte. */
static bool make_coded(const tw_loader *l, const tw_piece *p, size_t row, size_t n, void *scratch)
{
    const tw_coded *c = p->t->coded;
    float(*scale)[TW_PANEL] = scratch;
    uint8_t(*zero)[TW_PANEL] = (uint8_t(*)[TW_PANEL])(scale + n_groups(p));
    uint8_t *dst = l->base + p->off_bytes, *number = zero[n_groups(p)];
    const tw_packed w = tw_piece_packed(p, dst);
    tw_codes src = {.code = number, .ld = p->n_cols, .scale = *scale, .zero = *zero};
    if (p->type == TW_INT4) {
        tw_coded_numbers(c, p->row0 + row, n, p->col0, p->n_cols, number);
    } else {
        src.code = tw_piece_at(l, p, row);
        src.ld = p->t->n_cols;
        for (size_t r = 0; r < n; r++)
            if (!tw_weights_finite(TW_FP8, src.code + r * src.ld, p->n_cols))
                return false;
    }
    tw_coded_scales(c, p->row0 + row, n, p->col0, p->n_cols, scale,
                    p->type == TW_INT4 ? zero : NULL);
    if (!scales_finite(p, scale, n))
        return false;
    tw_pack_coded_rows(&w, dst, row, &src, n);
    return true;
}

bool tw_piece_make(const tw_loader *l, const tw_piece *p, size_t row, size_t n, void *scratch)
{
    if (tw_dtype_is_coded(p->type))
        return make_coded(l, p, row, n, scratch);
    const bool quant = tw_dtype_is_quant(p->type);
    const size_t bytes = tw_dtype_row_bytes(p->type, p->n_cols);
    uint8_t *rows = (uint8_t *)scratch + wide_bytes(p), *dst = l->base + p->off_bytes;
    float *wide = scratch;
    if (p->t->coded != NULL) {
        tw_coded_widen(p->t->coded, p->row0 + row, n, p->col0, p->n_cols, wide);
        if (!tw_weights_finite(TW_F32, wide, n * p->n_cols))
            return false;
    }
    for (size_t r = 0; r < n && quant; r++) {
        if (p->t->coded == NULL)
            tw_dequantize_row(p->t->type, wide, tw_piece_at(l, p, row + r), p->n_cols);
        tw_quantize_rows(p->type, rows + r * bytes, wide, p->n_cols);
        wide += p->t->coded != NULL ? p->n_cols : 0;
    }
    if (quant)
        tw_pack_quant_rows(p->type, dst, p->n_cols, row, rows, n, bytes, 0);
    else
        tw_pack_rows(p->type, dst, p->n_rows, p->n_cols, row, wide, n, p->n_cols);
    return true;
}
