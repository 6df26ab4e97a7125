/* SPDX-License-Identifier: Apache-2.0 */
#include "model/coded.h"

#include <string.h>

#include "base/scope.h"
#include "kern/half.h"

enum { GROUP_MIN = 16 }; /* columns of a scale: with fewer, packing saves little */

static uint32_t load_u32(const uint8_t *p, size_t i)
{
    uint32_t v;
    memcpy(&v, p + 4 * i, sizeof(v));
    return v;
}

static float load_scale(const tw_coded *c, size_t i)
{
    float v;
    tw_dequantize_row(c->scale_type, &v, c->scales + i * tw_dtype_bytes(c->scale_type), 1);
    return v;
}

static void widen_fp8(const tw_coded *c, size_t row, size_t col0, size_t n_cols, float *out)
{
    const uint8_t *p = c->data + row * c->n_cols;
    const size_t i_scale = row / c->block_rows * c->n_scale_cols;
    for (size_t k = col0; k < col0 + n_cols;) {
        const size_t end = TW_MIN((k / c->block_cols + 1) * c->block_cols, col0 + n_cols);
        const float scale = load_scale(c, i_scale + k / c->block_cols);
        for (; k < end; k++)
            *out++ = tw_e4m3_to_f32(p[k]) * scale;
    }
}

/* Which four bits of a word have the i-th of its eight: AWQ's order. */
static const uint8_t awq_place[8] = {0, 4, 1, 5, 2, 6, 3, 7};

static unsigned nibble(uint32_t word, unsigned place)
{
    return word >> (4 * place) & 15;
}

/* A group's zero for a row: in both formats eight rows a word. */
static int zero_of(const tw_coded *c, size_t group, size_t row)
{
    const uint32_t word = load_u32(c->zeros, group * (c->n_rows / 8) + row / 8);
    const unsigned i = (unsigned)(row % 8);
    return (int)nibble(word, c->kind == TW_CODED_AWQ ? awq_place[i] : i) + (int)c->zero_add;
}

static unsigned number_of(const tw_coded *c, size_t row, size_t k)
{
    return c->kind == TW_CODED_AWQ
               ? nibble(load_u32(c->data, k * (c->n_rows / 8) + row / 8), awq_place[row % 8])
               : nibble(load_u32(c->data, k / 8 * c->n_rows + row), (unsigned)(k % 8));
}

static void widen_four(const tw_coded *c, size_t row, size_t col0, size_t n_cols, float *out)
{
    size_t group = SIZE_MAX;
    float scale = 0;
    int zero = 0;
    for (size_t k = col0; k < col0 + n_cols; k++) {
        const size_t g = c->g_idx != NULL ? load_u32(c->g_idx, k) : k / c->group;
        if (g != group) {
            group = g;
            scale = load_scale(c, g * c->n_rows + row);
            zero = zero_of(c, g, row);
        }
        *out++ = (float)((int)number_of(c, row, k) - zero) * scale;
    }
}

bool tw_coded_by_rows(const tw_coded *c)
{
    return c->kind == TW_CODED_FP8;
}

size_t tw_coded_row_bytes(const tw_coded *c)
{
    return c->kind == TW_CODED_FP8 ? c->n_cols : c->n_cols / 2;
}

static bool scales_fit_fp8(const tw_coded *c)
{
    const size_t n = TW_DIV_UP(c->n_rows, c->block_rows) * c->n_scale_cols;
    bool fit = true;
    for (size_t i = 0; i < n && fit; i++) {
        const float scale = load_scale(c, i);
        fit = scale > -TW_FP8_SCALE_END && scale < TW_FP8_SCALE_END;
    }
    return fit;
}

/* Columns of a group lie together. */
static bool is_in_order(const tw_coded *c)
{
    for (size_t k = 0; c->g_idx != NULL && k < c->n_cols; k++)
        if (load_u32(c->g_idx, k) != k / c->group)
            return false;
    return true;
}

enum tw_dtype tw_coded_packed_type(const tw_coded *c)
{
    if (tw_coded_group(c) < GROUP_MIN)
        return TW_F32;
    if (c->kind == TW_CODED_FP8)
        return scales_fit_fp8(c) ? TW_FP8 : TW_F32;
    const bool fits = c->scale_type == TW_F16 && c->group % 2 == 0 && is_in_order(c);
    return fits ? TW_INT4 : TW_F32;
}

size_t tw_coded_group(const tw_coded *c)
{
    return c->kind == TW_CODED_FP8 ? c->block_cols : c->group;
}

void tw_coded_scales(const tw_coded *c, size_t row, size_t n, size_t col0, size_t n_cols,
                     float (*scale)[TW_PANEL], uint8_t (*zero)[TW_PANEL])
{
    const size_t group = tw_coded_group(c), g0 = col0 / group;
    const size_t n_groups = (col0 + n_cols - 1) / group - g0 + 1;
    const bool fp8 = c->kind == TW_CODED_FP8;
    for (size_t g = 0; g < n_groups; g++)
        for (size_t i = 0; i < n; i++) {
            scale[g][i] = load_scale(c, fp8 ? (row + i) / c->block_rows * c->n_scale_cols + g0 + g
                                            : (g0 + g) * c->n_rows + row + i);
            if (zero != NULL)
                zero[g][i] = (uint8_t)zero_of(c, g0 + g, row + i);
        }
}

/* A word holds eight columns of a row. */
static void numbers_gptq(const tw_coded *c, size_t row, size_t n, size_t col0, size_t n_cols,
                         uint8_t *out)
{
    for (size_t k = 0, n_k; k < n_cols; k += n_k) {
        const size_t first = (col0 + k) % 8;
        n_k = TW_MIN(8 - first, n_cols - k);
        for (size_t i = 0; i < n; i++) {
            uint32_t word = load_u32(c->data, (col0 + k) / 8 * c->n_rows + row + i) >> 4 * first;
            for (size_t j = 0; j < n_k; j++, word >>= 4)
                out[i * n_cols + k + j] = word & 15;
        }
    }
}

/* Eight rows of a column. */
static void numbers_awq(const tw_coded *c, size_t row, size_t n, size_t col0, size_t n_cols,
                        uint8_t *out)
{
    for (size_t k = 0; k < n_cols; k++)
        for (size_t i = 0, n_i; i < n; i += n_i) {
            const size_t first = (row + i) % 8;
            n_i = TW_MIN(8 - first, n - i);
            const uint32_t word = load_u32(c->data, (col0 + k) * (c->n_rows / 8) + (row + i) / 8);
            for (size_t j = 0; j < n_i; j++)
                out[(i + j) * n_cols + k] = (uint8_t)nibble(word, awq_place[first + j]);
        }
}

void tw_coded_numbers(const tw_coded *c, size_t row, size_t n, size_t col0, size_t n_cols,
                      uint8_t *out)
{
    (c->kind == TW_CODED_AWQ ? numbers_awq : numbers_gptq)(c, row, n, col0, n_cols, out);
}

void tw_coded_widen(const tw_coded *c, size_t row, size_t n, size_t col0, size_t n_cols, float *out)
{
    for (size_t i = 0; i < n; i++, out += n_cols) {
        if (c->kind == TW_CODED_FP8)
            widen_fp8(c, row + i, col0, n_cols, out);
        else
            widen_four(c, row + i, col0, n_cols, out);
    }
}
