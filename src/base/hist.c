/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hist.h"

#include <math.h>
#include <string.h>

#include "base/scope.h"

/* Values below 16 have a bucket each; above, the octave [2^e, 2^(e+1)) has 16 of equal width. */
static unsigned find_bucket(uint64_t ns)
{
    if (ns < 16)
        return (unsigned)ns;
    unsigned e = 63u - (unsigned)__builtin_clzll(ns);
    unsigned i = (e - 3) * 16 + (unsigned)((ns >> (e - 4)) & 15);
    return TW_MIN(i, (unsigned)TW_HIST_BUCKETS - 1);
}

static uint64_t find_middle(unsigned i_bucket)
{
    if (i_bucket < 32)
        return i_bucket; /* width 1 */
    unsigned shift = i_bucket / 16 - 1;
    return ((UINT64_C(16) + i_bucket % 16) << shift) + (UINT64_C(1) << (shift - 1));
}

void tw_hist_init(tw_hist *h)
{
    memset(h, 0, sizeof(*h));
}

void tw_hist_add(tw_hist *h, uint64_t ns)
{
    h->min_ns = h->n == 0 ? ns : TW_MIN(h->min_ns, ns);
    h->max_ns = TW_MAX(h->max_ns, ns);
    h->n++;
    h->sum_ns += ns;
    uint32_t *count = &h->buckets[find_bucket(ns)];
    *count += *count < UINT32_MAX;
}

uint64_t tw_hist_quantile_ns(const tw_hist *h, double q)
{
    if (h->n == 0)
        return 0;
    if (!(q > 0.0))
        return h->min_ns;
    if (q >= 1.0)
        return h->max_ns;
    uint64_t rank = (uint64_t)ceil(q * (double)h->n);
    uint64_t seen = 0;
    for (unsigned i = 0; i < TW_HIST_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen >= rank && i < TW_HIST_BUCKETS - 1) {
            uint64_t ns = find_middle(i);
            return TW_MIN(TW_MAX(ns, h->min_ns), h->max_ns);
        }
    }
    return h->max_ns; /* the last bucket has no upper border */
}

double tw_hist_mean_ns(const tw_hist *h)
{
    return h->n == 0 ? 0.0 : (double)h->sum_ns / (double)h->n;
}
