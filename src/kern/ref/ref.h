/* SPDX-License-Identifier: Apache-2.0 */
/* The scalar specification's functions, one file a subject; table.c collects them. */
#ifndef TWINAX_KERN_REF_REF_H
#define TWINAX_KERN_REF_REF_H

#include "kern/kern.h"

void tw_ref_matmul(const tw_matmul *op, size_t i_panel0, size_t i_panel1, void *scratch);
void tw_ref_quantize(tw_xblock *q, const float *x, size_t k);
/* One segment's chain, quantised weights. x [K / 32] */
float tw_ref_quant_chain(const tw_packed *w, size_t i_n, const tw_xblock *x, size_t k0, size_t k1);
/* Of output i_n, column k: coded weights. */
float tw_ref_coded_weight(const tw_packed *w, size_t i_n, size_t k);
void tw_ref_attn(const tw_attn *op, uint32_t i_row0, uint32_t i_row1, void *scratch);
void tw_ref_attn_spans(const tw_attn *op, uint32_t i_row0, uint32_t i_row1, uint32_t i_span0,
                       uint32_t i_span1, void *scratch);
void tw_ref_attn_merge(const tw_attn *op, uint32_t i_row0, uint32_t i_row1);
void tw_ref_rmsnorm(float *y, const float *x, const float *w, size_t n, float eps);
void tw_ref_rope(float *x, size_t n_heads, size_t ld, size_t n_rot, const float *c, const float *s);
void tw_ref_silu_mul(float *y, const float *g, const float *u, size_t n);
void tw_ref_add(float *y, const float *a, const float *b, size_t n);
void tw_ref_axpy(float *y, float a, const float *x, size_t n);
void tw_ref_softmax(float *y, const float *x, size_t n);
void tw_ref_to_f32(float *y, const void *x, enum tw_dtype type, size_t n);
void tw_ref_from_f32(void *y, const float *x, enum tw_dtype type, size_t n);
void tw_ref_exp(float *y, const float *x, size_t n);
size_t tw_ref_argmax(const float *x, size_t n);
bool tw_ref_all_finite(const float *x, size_t n);

/* l [16]: halving tree, l += l + 8, + 4, + 2, + 1. l is overwritten. */
float tw_ref_tree16(float l[TW_LANES]);

#endif
