/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of coded weights, for this folder alone: where the numbers of a panel and their scales lie.
 *
 * A panel, one run of bytes; L = the 64 outputs:
 *
 *   | group: scale L f32 | column: L u8 | column ... | group: scale L f32 | column ...
 *
 * FP8: byte 4j + b of a column is output 16b + j, so that byte b of the dwords is 16 outputs in
 * order. The first group has phase columns less than group, the last what is left. */
#ifndef TWINAX_KERN_CODED_H
#define TWINAX_KERN_CODED_H

#include "kern/kern.h"

enum { TW_CODED_HEAD = TW_PANEL * 4, TW_CODED_COLUMN = TW_PANEL };

static inline size_t tw_coded_n_groups(const tw_packed *w)
{
    return w->k == 0 ? 0 : (w->phase + w->k - 1) / w->group + 1;
}

static inline size_t tw_coded_group(const tw_packed *w, size_t k)
{
    return (k + w->phase) / w->group;
}

/* The first column after k's group. */
static inline size_t tw_coded_group_end(const tw_packed *w, size_t k)
{
    const size_t left = w->group - (k + w->phase) % w->group;
    return w->k - k < left ? w->k : k + left;
}

/* Column k, in bytes from the panel's beginning, and its group's scales. */
static inline size_t tw_coded_at(const tw_packed *w, size_t k)
{
    return (tw_coded_group(w, k) + 1) * TW_CODED_HEAD + k * TW_CODED_COLUMN;
}

static inline size_t tw_coded_head_at(const tw_packed *w, size_t k)
{
    const size_t g = tw_coded_group(w, k), first = g == 0 ? 0 : g * w->group - w->phase;
    return g * TW_CODED_HEAD + first * TW_CODED_COLUMN;
}

/* Where output i lies in a column. */
static inline size_t tw_coded_place(size_t i)
{
    return i % 16 * 4 + i / 16;
}

#endif
