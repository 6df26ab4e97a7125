/* SPDX-License-Identifier: Apache-2.0 */
/* The functions of one table, named by TW_FN of vec.h. */
#ifndef TWINAX_KERN_WIDE_WIDE_H
#define TWINAX_KERN_WIDE_WIDE_H

#include "kern/wide/vec.h"

void TW_FN(matmul)(const tw_matmul *op, size_t i_panel0, size_t i_panel1, void *scratch);
void TW_FN(attn)(const tw_attn *op, uint32_t i_row0, uint32_t i_row1, void *scratch);
void TW_FN(attn_spans)(const tw_attn *op, uint32_t i_row0, uint32_t i_row1, uint32_t i_span0,
                       uint32_t i_span1, void *scratch);
void TW_FN(attn_merge)(const tw_attn *op, uint32_t i_row0, uint32_t i_row1);
void TW_FN(rmsnorm)(float *y, const float *x, const float *w, size_t n, float eps);
void TW_FN(rope)(float *x, size_t n_heads, size_t ld, size_t n_rot, const float *c, const float *s);
void TW_FN(silu_mul)(float *y, const float *g, const float *u, size_t n);
void TW_FN(add)(float *y, const float *a, const float *b, size_t n);
void TW_FN(axpy)(float *y, float a, const float *x, size_t n);
void TW_FN(softmax)(float *y, const float *x, size_t n);
void TW_FN(to_f32)(float *y, const void *x, enum tw_dtype type, size_t n);
void TW_FN(from_f32)(void *y, const float *x, enum tw_dtype type, size_t n);
void TW_FN(exp)(float *y, const float *x, size_t n);
size_t TW_FN(argmax)(const float *x, size_t n);
bool TW_FN(all_finite)(const float *x, size_t n);

#endif
