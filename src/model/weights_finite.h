/* SPDX-License-Identifier: Apache-2.0 */
/* Finds numbers that are none (infinities, NaN) in rows of weights, by their exponent's bits, many
 * at a time; of blocks by their scales. Must not know tensors. */
#ifndef TWINAX_MODEL_WEIGHTS_FINITE_H
#define TWINAX_MODEL_WEIGHTS_FINITE_H

#include <stdbool.h>
#include <stddef.h>

#include "kern/kern.h"

/* x: n elements of type (whole blocks), any alignment. */
bool tw_weights_finite(enum tw_dtype type, const void *x, size_t n);
/* Bits of element i, or of the scale of block i, for messages. */
unsigned tw_weights_bits(enum tw_dtype type, const void *x, size_t i);

#endif
