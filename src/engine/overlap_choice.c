/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/overlap_choice.h"

#include "base/scope.h"

bool tw_overlap_choose(const tw_overlap_choice *c)
{
    if (c->n < TW_OVERLAP_TRIALS || c->row_ns[0] == 0 || c->row_ns[1] == 0)
        return c->n % 2 == 1;
    const bool better = c->row_ns[1] < c->row_ns[0];
    return c->n % TW_OVERLAP_RETRY == TW_OVERLAP_RETRY - 1 ? !better : better;
}

void tw_overlap_note(tw_overlap_choice *c, bool overlapped, uint32_t n_rows, uint64_t took_ns)
{
    const uint64_t row_ns = TW_MAX(took_ns / TW_MAX(n_rows, 1u), (uint64_t)1);
    uint64_t *of_late = &c->row_ns[overlapped];
    /* One step that was disturbed counts as twice the usual at most. */
    *of_late = *of_late == 0 ? row_ns : (3 * *of_late + TW_MIN(row_ns, 2 * *of_late)) / 4;
    c->n++;
}
