/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/rate.h"

#include <stdbool.h>

#include "base/clock.h"

enum { N_BUCKETS = TW_RATE_SECONDS + 1 };

void tw_rate_add(tw_rate *r, uint64_t now_ns, uint64_t n)
{
    const uint64_t s = now_ns / TW_NS_PER_S;
    const unsigned i = (unsigned)(s % N_BUCKETS);
    if (r->second[i] != s + 1) {
        r->second[i] = s + 1;
        r->n[i] = 0;
    }
    r->n[i] += n;
}

uint64_t tw_rate_sum(const tw_rate *r, uint64_t now_ns)
{
    const uint64_t s = now_ns / TW_NS_PER_S, part_ns = now_ns % TW_NS_PER_S;
    uint64_t sum = 0;
    for (unsigned i = 0; i < N_BUCKETS; i++) {
        const uint64_t of = r->second[i];
        if (of == 0 || of - 1 > s || s - (of - 1) > TW_RATE_SECONDS)
            continue;
        const bool oldest = s - (of - 1) == TW_RATE_SECONDS;
        sum += oldest ? (uint64_t)((double)r->n[i] * (1.0 - (double)part_ns / (double)TW_NS_PER_S))
                      : r->n[i];
    }
    return sum;
}
