/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"

#include <math.h>
#include <string.h>

static void step_philox(uint32_t c[4], const uint32_t k[2])
{
    uint64_t a = UINT64_C(0xD2511F53) * c[0];
    uint64_t b = UINT64_C(0xCD9E8D57) * c[2];
    uint32_t c1 = c[1], c3 = c[3];
    c[0] = (uint32_t)(b >> 32) ^ c1 ^ k[0];
    c[1] = (uint32_t)b;
    c[2] = (uint32_t)(a >> 32) ^ c3 ^ k[1];
    c[3] = (uint32_t)a;
}

void tw_rng_philox(const uint32_t key[2], const uint32_t ctr[4], uint32_t out[4])
{
    uint32_t k[2] = {key[0], key[1]};
    uint32_t c[4] = {ctr[0], ctr[1], ctr[2], ctr[3]};
    for (unsigned i = 0; i < 10; i++) {
        step_philox(c, k);
        k[0] += UINT32_C(0x9E3779B9);
        k[1] += UINT32_C(0xBB67AE85);
    }
    memcpy(out, c, sizeof(c));
}

float tw_rng_unit(uint32_t bits)
{
    /* 23 bits and the half: 24 significant bits, so every step is exact. */
    return ((float)(bits >> 9) + 0.5f) * 0x1p-23f;
}

tw_rng tw_rng_seed(uint64_t seed)
{
    return (tw_rng){.key = {(uint32_t)seed, (uint32_t)(seed >> 32)}, .ctr = 0};
}

uint64_t tw_rng_u64(tw_rng *r)
{
    const uint32_t ctr[4] = {(uint32_t)r->ctr, (uint32_t)(r->ctr >> 32), 0, 0};
    uint32_t out[4];
    tw_rng_philox(r->key, ctr, out);
    r->ctr++;
    return (uint64_t)out[1] << 32 | out[0];
}

uint64_t tw_rng_below(tw_rng *r, uint64_t n)
{
    if (n == 0)
        return 0;
    uint64_t n_uneven = (0 - n) % n; /* 2^64 mod n: so many values are refused */
    uint64_t v;
    do
        v = tw_rng_u64(r);
    while (v < n_uneven);
    return v % n;
}

float tw_rng_f32(tw_rng *r)
{
    return tw_rng_unit((uint32_t)(tw_rng_u64(r) >> 32));
}

/* ln(x) by IEEE operations alone, so that every machine draws the same numbers: x = m * 2^e with m
 * near 1, ln m = 2 atanh((m - 1) / (m + 1)), |t| < 0.172. */
static double find_ln(double x)
{
    int e;
    double m = frexp(x, &e);
    if (m < 0.70710678118654752440) {
        m *= 2.0;
        e--;
    }
    double t = (m - 1.0) / (m + 1.0), t2 = t * t, sum = 0.0;
    for (int i = 19; i >= 1; i -= 2)
        sum = sum * t2 + 1.0 / i;
    return 2.0 * t * sum + e * 0.69314718055994530942;
}

float tw_rng_normal(tw_rng *r)
{
    /* Marsaglia's polar method. */
    double u, s;
    do {
        uint64_t bits = tw_rng_u64(r);
        u = ((double)(bits >> 32) + 0.5) * 0x1p-31 - 1.0;
        double v = ((double)(uint32_t)bits + 0.5) * 0x1p-31 - 1.0;
        s = u * u + v * v;
    } while (s >= 1.0 || s <= 0.0);
    return (float)(u * sqrt(-2.0 * find_ln(s) / s));
}
