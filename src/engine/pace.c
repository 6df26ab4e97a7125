/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/pace.h"

#include "base/scope.h"

#define LONGEST_NS (3600 * TW_NS_PER_S)

static unsigned bucket_of(uint32_t rows)
{
    return rows > 1 ? 31U - (unsigned)__builtin_clz(rows) : 0;
}

uint64_t tw_pace_predict(const tw_pace *p, uint32_t rows)
{
    const unsigned want = bucket_of(rows);
    for (unsigned i = 0; i <= want; i++) {
        const uint64_t t = p->typical_ns[want - i];
        if (t != 0)
            return t > LONGEST_NS >> i ? LONGEST_NS : t << i;
    }
    for (unsigned k = want + 1; k < TW_PACE_BUCKETS; k++)
        if (p->typical_ns[k] != 0)
            return p->typical_ns[k];
    return TW_PACE_UNKNOWN_NS;
}

void tw_pace_note(tw_pace *p, uint32_t rows, uint64_t took_ns)
{
    uint64_t *typical = &p->typical_ns[bucket_of(rows)];
    const uint64_t took = TW_MAX(TW_MIN(took_ns, LONGEST_NS), 1);
    *typical = *typical == 0 ? took : TW_MAX((3 * *typical + TW_MIN(took, 8 * *typical)) / 4, 1);
}
