/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of coded weights, for this folder alone: where the numbers of a panel and their scales lie.
 *
 * A panel, one run of bytes; L = the 64 outputs:
 *
 *   FP8:  | group: scale L f32           | column: L u8         | column ... | group: ...
 *   INT4: | group: scale L f16, zero L u8 | two columns: 64 bytes | two ...    | group: ...
 *
 * FP8: byte 4j + b of a column is output 16b + j, so that byte b of the dwords is 16 outputs in
 * order. INT4: so are bits 4b .. of dword j for the first column of two, bits 16 + 4b .. for the second.
 * The first group has phase columns less than group, the last what is left. */
#ifndef TWINAX_KERN_CODED_H
#define TWINAX_KERN_CODED_H

#include "kern/kern.h"

enum { TW_CODED_LINE = TW_PANEL }; /* bytes of a column, or of two */

static inline size_t tw_coded_head_bytes(enum tw_dtype t)
{
    return (size_t)TW_PANEL * (t == TW_INT4 ? 3 : 4);
}

/* Of the columns before k, k even for INT4 unless it is inside a pair. */
static inline size_t tw_coded_line_bytes(enum tw_dtype t, size_t k)
{
    return (t == TW_INT4 ? k / 2 : k) * TW_CODED_LINE;
}

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
    return (tw_coded_group(w, k) + 1) * tw_coded_head_bytes(w->type) +
           tw_coded_line_bytes(w->type, k);
}

static inline size_t tw_coded_head_at(const tw_packed *w, size_t k)
{
    const size_t g = tw_coded_group(w, k), first = g == 0 ? 0 : g * w->group - w->phase;
    return g * tw_coded_head_bytes(w->type) + tw_coded_line_bytes(w->type, first);
}

/* Where output i lies in a column of FP8. */
static inline size_t tw_coded_place(size_t i)
{
    return i % 16 * 4 + i / 16;
}

#endif
