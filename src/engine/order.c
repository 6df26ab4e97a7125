/* SPDX-License-Identifier: Apache-2.0 */
/* Leading bits of all keys are counted; the bins that hold the best are collected and sorted by
 * radix, from the lowest digit: stable, and ids come ascending, so ties stay by id. */
#include "engine/order.h"

#include <string.h>

#define LEADING(key) ((key) >> (32 - TW_ORDER_BIN_BITS))

enum { DIGITS = 3, DIGIT_BITS = 11, DIGIT_VALUES = 1 << DIGIT_BITS };

/* Ascending keys: descending z. */
static uint32_t key_of(float z)
{
    uint32_t bits;
    z += 0.0f; /* -0 becomes 0 */
    memcpy(&bits, &z, sizeof bits);
    return (bits & 0x80000000u) != 0 ? bits : ~bits & 0x7fffffffu;
}

void tw_order_init(tw_order *o, const float *z, uint32_t n)
{
    memset(o->bins, 0, sizeof o->bins);
    o->z = z;
    o->n = n;
    for (uint32_t i = 0; i < n; i++)
        o->bins[LEADING(key_of(z[i]))]++;
}

/* One stable pass; first: where each value of the digit begins. */
static void scatter(const tw_candidate *from, uint32_t n, unsigned shift, uint32_t *first,
                    tw_candidate *to)
{
    uint32_t at = 0;
    for (uint32_t d = 0; d < DIGIT_VALUES; d++) {
        const uint32_t here = first[d];
        first[d] = at;
        at += here;
    }
    for (uint32_t i = 0; i < n; i++)
        to[first[(key_of(from[i].z) >> shift) & (DIGIT_VALUES - 1)]++] = from[i];
}

/* An odd number of passes: from b to v. */
static void sort_by_radix(tw_candidate *v, tw_candidate *b, uint32_t n)
{
    uint32_t counts[DIGITS][DIGIT_VALUES] = {0};
    for (uint32_t i = 0; i < n; i++)
        for (unsigned d = 0; d < DIGITS; d++)
            counts[d][(key_of(b[i].z) >> (d * DIGIT_BITS)) & (DIGIT_VALUES - 1)]++;
    scatter(b, n, 0, counts[0], v);
    scatter(v, n, DIGIT_BITS, counts[1], b);
    scatter(b, n, 2 * DIGIT_BITS, counts[2], v);
}

uint32_t tw_order_take(const tw_order *o, uint32_t n_wanted, tw_candidate *v)
{
    uint32_t n_bins = 0, n = 0, at = 0;
    while (n_bins < TW_ORDER_BINS && n < n_wanted)
        n += o->bins[n_bins++];
    tw_candidate *found = v + o->n;
    for (uint32_t i = 0; i < o->n; i++)
        if (LEADING(key_of(o->z[i])) < n_bins)
            found[at++] = (tw_candidate){.z = o->z[i], .id = i};
    sort_by_radix(v, found, n);
    return n;
}
