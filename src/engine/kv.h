/* SPDX-License-Identifier: Apache-2.0 */
/* KV cache of one rank: a pool of pages of 64 positions. A page holds, for every layer and local KV
 * head, K [64][Q] and V [64][Q]. Page tables belong to sequences; taking and giving back pages is
 * deterministic, so that all ranks agree without talking.
 *
 *   pool: [layer][page][K or V][kv head][64][Q]
 *
 * Invariant: every page is either free or in exactly one sequence's table. */
#ifndef TWINAX_ENGINE_KV_H
#define TWINAX_ENGINE_KV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kern/kern.h"
#include "twinax/err.h"

typedef struct tw_kv {
    uint32_t n_layers, n_kv, q_dim; /* L, local KV heads, Q */
    enum tw_dtype type;             /* BF16 or F32 */
    uint32_t n_pages, n_free;
    uint32_t *free;    /* [n_pages] stack of free pages */
    size_t head_bytes; /* of one [64][Q] block */
    size_t pool_bytes;
    uint8_t *pool;
} tw_kv;

TW_MUST_CHECK int tw_kv_init(tw_kv *kv, uint32_t n_layers, uint32_t n_kv, uint32_t q_dim,
                             enum tw_dtype type, uint32_t n_pages, tw_err *err);
/* Of the pool that init takes; false: it overflows. */
bool tw_kv_count_bytes(uint32_t n_layers, uint32_t n_kv, uint32_t q_dim, enum tw_dtype type,
                       uint32_t n_pages, size_t *ret);
void tw_kv_done(tw_kv *kv);

/* Extends table [n_have] to n_want pages; -ENOMEM leaves it unchanged. */
TW_MUST_CHECK int tw_kv_take(tw_kv *kv, uint32_t *table, uint32_t n_have, uint32_t n_want);
void tw_kv_give(tw_kv *kv, const uint32_t *table, uint32_t n);

static inline uint8_t *tw_kv_block(const tw_kv *kv, uint32_t i_layer, uint32_t page, unsigned is_v,
                                   uint32_t i_kv)
{
    size_t i = (((size_t)i_layer * kv->n_pages + page) * 2 + is_v) * kv->n_kv + i_kv;
    return kv->pool + i * kv->head_bytes;
}

#endif
