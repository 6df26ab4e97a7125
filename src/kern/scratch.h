/* SPDX-License-Identifier: Apache-2.0 */
/* How much scratch memory the vector kernels carve, the same for every instruction set. */
#ifndef TWINAX_KERN_SCRATCH_H
#define TWINAX_KERN_SCRATCH_H

#include <stddef.h>

#include "kern/kern.h"

/* matmul works on blocks of M x one panel x part of a segment: the running chains and three levels
 * of the tree for a block, and 16 columns of weights widened. */
enum { TW_BLOCK_M = 192, TW_BLOCK_K = 256 };
#define TW_MATMUL_SCRATCH_BYTES                                                                    \
    (sizeof(float) * ((size_t)4 * TW_BLOCK_M * TW_PANEL + (size_t)TW_BLOCK_K * TW_PANEL))

/* Behind these, the activations of a call that brings none for its quantised weights. */
#define TW_XROWS_SCRATCH_BYTES(k) (sizeof(tw_xblock) * TW_XROWS * ((k) / 32))

/* attn works on up to TW_ATTN_PAIRS (row, head) pairs at once: q, o of the span and of all, p, and a
 * block of K and of V widened; Q rounded up to 16. */
enum { TW_ATTN_PAIRS = 96 };
#define TW_ATTN_Q_PAD(q) (((q) + 15) / 16 * 16)
#define TW_ATTN_SCRATCH_BYTES(q)                                                                   \
    (sizeof(float) * (TW_ATTN_Q_PAD(q) * (3 * TW_ATTN_PAIRS + 2 * TW_KV_BLOCK) +                   \
                      (size_t)TW_ATTN_PAIRS * (TW_KV_BLOCK + 32)))

#endif
