/* SPDX-License-Identifier: Apache-2.0 */
/* The best of many logits, in the order of DESIGN 5.8 (z descending, id ascending; -0 equals 0), as
 * many as are asked for. The order is total, so however it is made the result is the same bits. */
#ifndef TWINAX_ENGINE_ORDER_H
#define TWINAX_ENGINE_ORDER_H

#include <stdbool.h>
#include <stdint.h>

typedef struct tw_candidate {
    float z;
    uint32_t id;
} tw_candidate;

enum { TW_ORDER_BIN_BITS = 11, TW_ORDER_BINS = 1 << TW_ORDER_BIN_BITS };

/* How many logits share the leading bits of their sorting key. */
typedef struct tw_order {
    const float *z; /* [n], borrowed */
    uint32_t n;
    uint32_t bins[TW_ORDER_BINS]; /* the best first */
} tw_order;

static inline bool tw_candidate_before(tw_candidate a, tw_candidate b)
{
    return a.z > b.z || (a.z == b.z && a.id < b.id);
}

/* z: [n], finite. Cost: reads z once. */
void tw_order_init(tw_order *o, const float *z, uint32_t n);
/* The first *return* of all, best first: at least n_wanted, or all that there are. v: [2 n], the
 * result in front; the rest is scratch. Cost: reads z once, then what is returned four times. */
uint32_t tw_order_take(const tw_order *o, uint32_t n_wanted, tw_candidate *v);

#endif
