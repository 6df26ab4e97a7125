/* SPDX-License-Identifier: Apache-2.0 */
/* Vectors for quantised weights, of the machine that the flags choose: see qbase.h. */
#ifndef TWINAX_KERN_WIDE_QVEC_H
#define TWINAX_KERN_WIDE_QVEC_H

#include "kern/wide/qbase.h"

#if defined(__AVX512BW__)
#include "kern/x86/quant_avx512.h"
#elif defined(__AVX2__)
#include "kern/x86/quant_avx2.h"
#elif defined(__aarch64__)
#include "kern/arm/quant_neon.h"
#endif

TW_INLINE qu q_fill(uint32_t v)
{
    return (qu)q_set1(0.0f) + v;
}

#endif
