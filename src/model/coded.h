/* SPDX-License-Identifier: Apache-2.0 */
/* Matrices whose numbers stand for others in a checkpoint: FP8 with scales by block, row or tensor;
 * 4 bits with scales and zeros by group, as GPTQ and AWQ lay them out. They stay packed where kernels
 * can have them so (decision 0026), else they are widened to f32 as they load (decision 0023). Must not
 * know where the files come from. */
#ifndef TWINAX_MODEL_CODED_H
#define TWINAX_MODEL_CODED_H

#include "fmt/json.h"
#include "model/config.h"

/* One matrix [N][K], bound; pointers into maps, at any alignment.
 * FP8:  data u8 [N][K] (e4m3), scales [ceil(N / block_rows)][n_scale_cols]
 * GPTQ: data u32 [K/8][N], eight of a column, lowest bits first; zeros u32 [groups][N/8]; g_idx u32 [K]
 *       or NULL; scales [groups][N]
 * AWQ:  data u32 [K][N/8], eight of a row in the order 0 2 4 6 1 3 5 7; zeros alike; scales alike */
typedef struct tw_coded {
    enum tw_coded_kind kind;
    const uint8_t *data, *scales, *zeros, *g_idx;
    enum tw_dtype scale_type;
    size_t n_rows, n_cols;
    size_t block_rows, block_cols, n_scale_cols; /* FP8 */
    size_t group;                                /* columns of one scale: GPTQ, AWQ */
    unsigned zero_add;                           /* GPTQ's first format keeps zeros less one */
} tw_coded;

/* config.json's quantization_config; what is not read is refused by name. */
void tw_coded_config_read(tw_json_obj *o, tw_coded_config *ret);

/* Bytes that a row's numbers take, scales apart. */
size_t tw_coded_row_bytes(const tw_coded *c);
/* Whether a row's numbers lie together; else they lie beside those of the other rows. */
bool tw_coded_by_rows(const tw_coded *c);
/* Rows [row, row + n), columns [col0, col0 + n_cols), to out [n][n_cols]: number times scale, one
 * rounding. */
void tw_coded_widen(const tw_coded *c, size_t row, size_t n, size_t col0, size_t n_cols,
                    float *out);

/* What it is packed as: its own type, or F32. Cost: reads FP8's scales, and g_idx; not the scales of 4
 * bits, a thirtieth of a model, whose numbers are looked at as they load. */
enum tw_dtype tw_coded_packed_type(const tw_coded *c);
/* Columns that share a scale. */
size_t tw_coded_group(const tw_coded *c);
/* scale[g][i]: of row + i, n of them, in the g-th group of those that hold one of the columns [col0,
 * col0 + n_cols); zero: alike, of 4 bits, or NULL. */
void tw_coded_scales(const tw_coded *c, size_t row, size_t n, size_t col0, size_t n_cols,
                     float (*scale)[TW_PANEL], uint8_t (*zero)[TW_PANEL]);
/* 4 bits: the numbers of rows [row, row + n) and these columns, to out [n][n_cols]. */
void tw_coded_numbers(const tw_coded *c, size_t row, size_t n, size_t col0, size_t n_cols,
                      uint8_t *out);

#endif
