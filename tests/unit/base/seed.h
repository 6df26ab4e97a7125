/* SPDX-License-Identifier: Apache-2.0 */
/* Seed of a random test: TW_SEED when set, else a fresh one; printed as a TAP comment. */
#ifndef TWINAX_TESTS_SEED_H
#define TWINAX_TESTS_SEED_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/rng.h"

static inline tw_rng new_seeded_rng(const char *test)
{
    const char *given = getenv("TW_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : tw_clock_now_ns() % 1000000007;
    printf("# %s: TW_SEED=%llu\n", test, (unsigned long long)seed);
    fflush(stdout);
    return tw_rng_seed(seed);
}

#endif
