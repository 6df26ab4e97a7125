/* SPDX-License-Identifier: Apache-2.0 */
/* Latency histogram: log-linear buckets (16 per octave, 1 ns to hours, <= 6.25 % error), fixed
 * size, no allocation. Thread: one writer. */
#ifndef TWINAX_BASE_HIST_H
#define TWINAX_BASE_HIST_H

#include <stdint.h>

enum { TW_HIST_BUCKETS = 16 * 48 };

typedef struct tw_hist {
    uint64_t n, sum_ns, min_ns, max_ns;
    uint32_t buckets[TW_HIST_BUCKETS];
} tw_hist;

void tw_hist_init(tw_hist *h);
void tw_hist_add(tw_hist *h, uint64_t ns);
uint64_t tw_hist_quantile_ns(const tw_hist *h, double q); /* 0 when empty; q 0..1 */
double tw_hist_mean_ns(const tw_hist *h);

#endif
