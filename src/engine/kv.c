/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/kv.h"

#include <errno.h>

#include "base/mem.h"
#include "base/scope.h"
#include "os/file.h"

bool tw_kv_count_bytes(uint32_t n_layers, uint32_t n_kv, uint32_t q_dim, enum tw_dtype type,
                       uint32_t n_pages, size_t *ret)
{
    size_t n = (size_t)TW_KV_BLOCK * q_dim * tw_dtype_bytes(type);
    return tw_size_mul(n, n_kv, &n) && tw_size_mul(n, 2, &n) && tw_size_mul(n, n_pages, &n) &&
           tw_size_mul(n, n_layers, ret);
}

int tw_kv_init(tw_kv *kv, uint32_t n_layers, uint32_t n_kv, uint32_t q_dim, enum tw_dtype type,
               uint32_t n_pages, tw_err *err)
{
    *kv = (tw_kv){.n_layers = n_layers, .n_kv = n_kv, .q_dim = q_dim, .type = type};
    kv->n_pages = kv->n_free = n_pages;
    kv->head_bytes = (size_t)TW_KV_BLOCK * q_dim * tw_dtype_bytes(type);
    size_t bytes = 0;
    if (!tw_kv_count_bytes(n_layers, n_kv, q_dim, type, n_pages, &bytes))
        return tw_err_set(err, -EOVERFLOW, "KV cache of %u pages overflows; lower --ctx", n_pages);
    kv->pool_bytes = bytes;
    kv->free = tw_mem_alloc(sizeof(*kv->free) * n_pages);
    kv->pool = kv->free != NULL ? tw_pages_new(bytes) : NULL;
    if (kv->pool == NULL) {
        tw_kv_done(kv);
        return tw_err_set(err, -ENOMEM,
                          "no memory for the KV cache (%zu MiB): lower --ctx or --max-seqs",
                          bytes >> 20);
    }
    for (uint32_t i = 0; i < n_pages; i++)
        kv->free[i] = n_pages - 1 - i; /* low pages first: they are the warm ones */
    return 0;
}

void tw_kv_done(tw_kv *kv)
{
    tw_mem_free(kv->free);
    if (kv->pool != NULL)
        tw_pages_free(kv->pool, kv->pool_bytes);
    kv->free = NULL;
    kv->pool = NULL;
}

int tw_kv_take(tw_kv *kv, uint32_t *table, uint32_t n_have, uint32_t n_want)
{
    if (n_want <= n_have)
        return 0;
    if (n_want - n_have > kv->n_free)
        return -ENOMEM;
    for (uint32_t i = n_have; i < n_want; i++)
        table[i] = kv->free[--kv->n_free];
    return 0;
}

void tw_kv_give(tw_kv *kv, const uint32_t *table, uint32_t n)
{
    while (n > 0)
        kv->free[kv->n_free++] = table[--n];
}
