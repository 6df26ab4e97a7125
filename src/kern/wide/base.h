/* SPDX-License-Identifier: Apache-2.0 */
/* What a machine's header of vector operations builds on, and what it gives. */
#ifndef TWINAX_KERN_WIDE_BASE_H
#define TWINAX_KERN_WIDE_BASE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kern/expf.h"
#include "kern/kern.h"
#include "kern/unroll.h"

/* What a header gives: TW_W lanes, TW_REGS registers, TW_FN for names, types vf and vi, and the
 * functions below avx2.h's own heads. Lanes are independent except where a name says otherwise. The
 * chains of a product run in the order in which v_strip splits a packed row; v_columns undoes it
 * once, at the end. */
#define TW_INLINE static inline __attribute__((always_inline))

#endif
