/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/range_map.h"

#include <errno.h>
#include <string.h>

#include "base/scope.h"

/* Small enough that all nodes have work until the end, large enough that asking costs nothing. */
#define UNITS_A_NODE 64
#define RANGE_MIN    (UINT64_C(1) << 18)
#define RANGE_MAX    (UINT64_C(32) << 20)

uint64_t tw_hub_map_range_bytes(const tw_hub_list *l, unsigned n_nodes)
{
    const uint64_t parts = (uint64_t)UNITS_A_NODE * TW_MAX(n_nodes, 1u);
    const uint64_t bytes = TW_DIV_UP(tw_hub_list_bytes(l), parts);
    const uint64_t even = TW_DIV_UP(bytes, RANGE_MIN) * RANGE_MIN;
    return TW_MIN(TW_MAX(even, RANGE_MIN), RANGE_MAX);
}

/* Whether an earlier file has the same hash. Lists are short, but for odd ones: those that are long
 * have their equal files in no order, and then it takes a moment. */
static bool came_before(const tw_hub_list *l, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (strcmp(l->v[k].etag, l->v[i].etag) == 0)
            return true;
    return false;
}

int tw_hub_map_make(const tw_hub_list *l, uint64_t range_bytes, tw_hub_map *ret, tw_err *err)
{
    TW_CLEANUP(tw_hub_map_done)
    tw_hub_map m = {.range_bytes = range_bytes, .n_files = l->n, .list = l};
    uint64_t n = 0;
    m.first = tw_mem_calloc(l->n + 1, sizeof *m.first);
    m.twice = tw_mem_calloc(TW_MAX(l->n, 1u), sizeof *m.twice);
    if (m.first == NULL || m.twice == NULL)
        return tw_err_set(err, -ENOMEM, "no memory");
    for (size_t i = 0; i < l->n; i++) {
        m.first[i] = (uint32_t)n;
        m.twice[i] = came_before(l, i);
        n += m.twice[i] ? 0 : TW_DIV_UP(l->v[i].size, range_bytes);
        if (n > TW_HUB_UNITS_MAX)
            return tw_err_set(err, -E2BIG, "more than %d ranges of %llu bytes: take larger ones",
                              TW_HUB_UNITS_MAX, (unsigned long long)range_bytes);
    }
    m.first[l->n] = (uint32_t)n;
    m.n_units = (size_t)n;
    m.file = tw_mem_calloc(TW_MAX(m.n_units, 1u), sizeof *m.file);
    if (m.file == NULL)
        return tw_err_set(err, -ENOMEM, "no memory");
    for (size_t i = 0; i < l->n; i++)
        for (size_t u = m.first[i]; u < m.first[i + 1]; u++)
            m.file[u] = (uint32_t)i;
    *ret = m;
    m = (tw_hub_map){.n_units = 0};
    return 0;
}

uint64_t tw_hub_map_at(const tw_hub_map *m, size_t unit)
{
    return (unit - m->first[m->file[unit]]) * m->range_bytes;
}

uint64_t tw_hub_map_bytes(const tw_hub_map *m, size_t unit)
{
    const uint64_t size = m->list->v[m->file[unit]].size;
    return TW_MIN(m->range_bytes, size - tw_hub_map_at(m, unit));
}

void tw_hub_map_done(tw_hub_map *m)
{
    tw_mem_free(m->first);
    tw_mem_free(m->file);
    tw_mem_free(m->twice);
    *m = (tw_hub_map){.n_units = 0};
}
