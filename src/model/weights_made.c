/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces whose packed numbers are made of the file's, not copied: widened a row at a time, quantised
 * where the model shall be, packed a panel at a time. */
#include "base/scope.h"
#include "model/weights_inside.h"

enum { ALIGN_BYTES = 64 };

bool tw_piece_is_made(const tw_piece *p)
{
    return !p->is_vector && p->type != p->t->type;
}

static size_t wide_bytes(const tw_piece *p)
{
    return TW_DIV_UP(p->n_cols * sizeof(float), (size_t)ALIGN_BYTES) * ALIGN_BYTES;
}

/* One row widened, then a panel of rows as they are packed. */
size_t tw_piece_scratch_bytes(const tw_piece *p)
{
    return tw_piece_is_made(p) ? wide_bytes(p) + TW_PANEL * tw_dtype_row_bytes(p->type, p->n_cols)
                               : 0;
}

void tw_piece_make(const tw_loader *l, const tw_piece *p, size_t row, size_t n, void *scratch)
{
    const size_t bytes = tw_dtype_row_bytes(p->type, p->n_cols);
    float *wide = scratch;
    uint8_t *rows = (uint8_t *)scratch + wide_bytes(p);
    for (size_t r = 0; r < n; r++) {
        tw_dequantize_row(p->t->type, wide, tw_piece_at(l, p, row + r), p->n_cols);
        tw_quantize_rows(p->type, rows + r * bytes, wide, p->n_cols);
    }
    tw_pack_quant_rows(p->type, l->base + p->off_bytes, p->n_rows, p->n_cols, row, rows, n, bytes,
                       0);
}
