/* SPDX-License-Identifier: Apache-2.0 */
/* Counter-based random numbers: Philox4x32-10 (Salmon et al., SC'11). Same key and counter, same
 * numbers, on every machine; no state to carry between ranks. */
#ifndef TWINAX_BASE_RNG_H
#define TWINAX_BASE_RNG_H

#include <stdint.h>

void tw_rng_philox(const uint32_t key[2], const uint32_t ctr[4], uint32_t out[4]);

/* f32 in (0, 1), never 0 nor 1: (top 23 bits + 0.5) * 2^-23. */
float tw_rng_unit(uint32_t bits);

/* Stream for tests and seeded schedules. */
typedef struct tw_rng {
    uint32_t key[2];
    uint64_t ctr;
} tw_rng;

tw_rng tw_rng_seed(uint64_t seed);
uint64_t tw_rng_u64(tw_rng *r);
uint64_t tw_rng_below(tw_rng *r, uint64_t n); /* 0 <= v < n, unbiased */
float tw_rng_f32(tw_rng *r);                  /* (0, 1) */
float tw_rng_normal(tw_rng *r);               /* mean 0, variance 1 */

#endif
