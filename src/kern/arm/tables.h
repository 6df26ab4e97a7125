/* SPDX-License-Identifier: Apache-2.0 */
/* What the core knows of the AArch64 libraries. */
#ifndef TWINAX_KERN_ARM_TABLES_H
#define TWINAX_KERN_ARM_TABLES_H

#include "kern/kern.h"

extern const tw_kern tw_neon_table, tw_neondot_table, tw_neoni8mm_table;

/* As those of kern/x86/tables.h. */
double tw_neon_peak_fma(size_t n_steps, float *ret_sink);
double tw_neon_peak_sum(const void *p, size_t bytes);

#endif
