/* SPDX-License-Identifier: Apache-2.0 */
/* What matmul.c wants of coded weights. */
#ifndef TWINAX_KERN_WIDE_CMATMUL_H
#define TWINAX_KERN_WIDE_CMATMUL_H

#include "kern/wide/qbase.h"

/* So many rows' chains lie in registers while the weights stream by, TW_QW * 4 outputs at once. */
enum { TW_CODED_ROWS = TW_QREGS / 8 };

/* One segment of one panel. */
typedef struct tw_coded_run {
    const tw_packed *w;
    const char *panel;
    const float *x; /* [m][K] at ldx */
    size_t ldx, m;  /* m <= TW_CODED_ROWS */
    size_t k0, k1;
    float *acc;               /* [m][64]: the segment's sums, with those of add */
    const float *const *sums; /* [n_sums] -> [m][64] */
    unsigned n_sums;
} tw_coded_run;

void TW_FN(stream_coded)(const tw_coded_run *r);
/* Columns [k0, k0 + n) of a panel to out [n][64], as an F32 panel has them. */
void TW_FN(widen_coded)(const tw_packed *w, const char *panel, size_t k0, size_t n, float *out);

#endif
