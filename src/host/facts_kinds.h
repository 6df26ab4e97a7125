/* SPDX-License-Identifier: Apache-2.0 */
/* How a fact that may be unknown is held. A zeroed struct knows nothing: an empty string, a number 0
 * that cannot be 0 in truth, TW_UNKNOWN, a count that is not known. */
#ifndef TWINAX_HOST_FACTS_KINDS_H
#define TWINAX_HOST_FACTS_KINDS_H

#include <stdbool.h>
#include <stdint.h>

typedef enum tw_tri { TW_UNKNOWN, TW_NO, TW_YES } tw_tri;

static inline tw_tri tw_tri_of(bool b)
{
    return b ? TW_YES : TW_NO;
}

/* A number that may well be 0. In JSON a number, or nothing. */
typedef struct tw_count {
    uint64_t v;
    bool known;
} tw_count;

static inline tw_count tw_count_of(uint64_t v)
{
    return (tw_count){.v = v, .known = true};
}

#define TW_BYTES_UNLIMITED UINT64_MAX /* a limit that is none; in JSON "unlimited" */

#endif
