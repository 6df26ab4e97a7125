/* SPDX-License-Identifier: Apache-2.0 */
/* The few vector operations that the kernels of this folder are written in. Each source file is
 * compiled once an instruction set; the flags choose whose header gives the operations: a folder of
 * that machine's name. No file of this folder knows an intrinsic. */
#ifndef TWINAX_KERN_WIDE_VEC_H
#define TWINAX_KERN_WIDE_VEC_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kern/expf.h"
#include "kern/kern.h"
#include "kern/unroll.h"

#define TW_INLINE static inline __attribute__((always_inline))

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include "kern/x86/avx2.h"
#else
#error "no instruction set chosen"
#endif

#endif
