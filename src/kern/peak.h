/* SPDX-License-Identifier: Apache-2.0 */
/* What this machine can do at most, to hold the kernels against: one thread each; callers start
 * several. */
#ifndef TWINAX_KERN_PEAK_H
#define TWINAX_KERN_PEAK_H

#include <stddef.h>

#include "kern/kern.h"

/* f32 fma in registers, of the widest table that runs or of the one given; about 50 ms. */
double tw_peak_fma_gflops(void);
double tw_peak_fma_gflops_of(const tw_kern *k);

/* Reads all bytes once, as fast as one thread can; returns a sum that must be used. p is 64-byte
 * aligned, bytes a multiple of 512. */
double tw_peak_sum(const void *p, size_t bytes);

#endif
