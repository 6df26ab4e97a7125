/* SPDX-License-Identifier: Apache-2.0 */
/* The few vector operations that the kernels of this folder are written in. Each source file is
 * compiled once an instruction set; the flags choose whose header gives the operations: a folder of
 * that machine's name. No file of this folder knows an intrinsic. */
#ifndef TWINAX_KERN_WIDE_VEC_H
#define TWINAX_KERN_WIDE_VEC_H

#include "kern/wide/base.h"

#if defined(__aarch64__)
#include "kern/arm/neon.h"
#elif defined(TW_WIDE_HALVES)
#include "kern/x86/avx512_halves.h"
#elif defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) &&                    \
    defined(__AVX512DQ__)
#include "kern/x86/avx512.h"
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include "kern/x86/avx2.h"
#else
#error "no instruction set chosen"
#endif

/* tw_expf, operation by operation. */
TW_INLINE vf v_exp(vf x)
{
    x = v_min(v_set1(TW_EXP_MAX), x); /* the second operand where either is NaN */
    x = v_max(v_set1(TW_EXP_MIN), x);
    vf magic = v_set1(TW_EXP_MAGIC);
    vf n = v_sub(v_fma(x, v_set1(TW_EXP_LOG2E), magic), magic);
    vf r = v_fma(n, v_set1(-TW_EXP_LN2_HI), x);
    r = v_fma(n, v_set1(-TW_EXP_LN2_LO), r);
    vf p = v_set1(TW_EXP_C6);
    p = v_fma(p, r, v_set1(TW_EXP_C5));
    p = v_fma(p, r, v_set1(TW_EXP_C4));
    p = v_fma(p, r, v_set1(TW_EXP_C3));
    p = v_fma(p, r, v_set1(TW_EXP_C2));
    p = v_add(v_fma(p, v_mul(r, r), r), v_set1(1.0f));
    return v_scale(p, n);
}

#endif
