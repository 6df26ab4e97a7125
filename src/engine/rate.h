/* SPDX-License-Identifier: Apache-2.0 */
/* How many of something there were in the last ten seconds: eleven buckets of a second, the oldest
 * partly counted. No clock of its own. */
#ifndef TWINAX_ENGINE_RATE_H
#define TWINAX_ENGINE_RATE_H

#include <stdint.h>

enum { TW_RATE_SECONDS = 10 };

typedef struct tw_rate {
    uint64_t second[TW_RATE_SECONDS + 1]; /* which second a bucket is of, plus 1; 0: none */
    uint64_t n[TW_RATE_SECONDS + 1];
} tw_rate;

void tw_rate_add(tw_rate *r, uint64_t now_ns, uint64_t n);
/* Within the ten seconds before now. */
uint64_t tw_rate_sum(const tw_rate *r, uint64_t now_ns);

#endif
