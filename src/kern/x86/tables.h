/* SPDX-License-Identifier: Apache-2.0 */
/* What the core knows of the x86 libraries. */
#ifndef TWINAX_KERN_X86_TABLES_H
#define TWINAX_KERN_X86_TABLES_H

#include "kern/kern.h"

extern const tw_kern tw_avx2_table, tw_avx512_table, tw_avx512vnni_table;
extern const tw_kern tw_halves_table; /* in tests alone */

/* n_steps steps of independent fma chains in registers; returns the number of flops. */
double tw_avx2_peak_fma(size_t n_steps, float *ret_sink);
double tw_avx512_peak_fma(size_t n_steps, float *ret_sink);
double tw_halves_peak_fma(size_t n_steps, float *ret_sink);
double tw_avx2_peak_sum(const void *p, size_t bytes);
double tw_avx512_peak_sum(const void *p, size_t bytes);
double tw_halves_peak_sum(const void *p, size_t bytes);

#endif
