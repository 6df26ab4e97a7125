/* SPDX-License-Identifier: Apache-2.0 */
/* The functions of a table that know quantised weights. An instruction set may add another table that
 * differs in its dot of bytes alone: TW_QFN names what is made anew for it. */
#ifndef TWINAX_KERN_WIDE_QTABLE_H
#define TWINAX_KERN_WIDE_QTABLE_H

#include "kern/wide/qvec.h"
#include "kern/wide/wide.h"

/* As tw_kern.matmul: weights of any type. */
void TW_QFN(matmul_any)(const tw_matmul *op, size_t i_panel0, size_t i_panel1, void *scratch);
void TW_FN(quantize)(tw_xblock *q, const float *x, size_t k);

extern const tw_kern TW_QFN(table);

#endif
