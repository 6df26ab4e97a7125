/* SPDX-License-Identifier: Apache-2.0 */
/* How long a step of so many rows will take, learned from those that were: what a peer may need
 * before it counts as stuck (DESIGN 7) depends on model, machine and rows. Must not know: clocks. */
#ifndef TWINAX_ENGINE_PACE_H
#define TWINAX_ENGINE_PACE_H

#include <stdint.h>

#include "base/clock.h"

/* Nothing was measured yet: ten times this is waited for. */
#define TW_PACE_UNKNOWN_NS (6 * TW_NS_PER_S)

enum { TW_PACE_BUCKETS = 32 };

typedef struct tw_pace {
    uint64_t typical_ns[TW_PACE_BUCKETS]; /* of steps with 2^i .. 2^(i+1) - 1 rows; 0: none yet */
} tw_pace;

/* rows >= 1. Of a size that was not seen: a smaller one's time, growing with the rows (in truth it
 * grows less), or a larger one's. */
uint64_t tw_pace_predict(const tw_pace *p, uint32_t rows);
/* One outlier (a machine that slept) counts eightfold at most. */
void tw_pace_note(tw_pace *p, uint32_t rows, uint64_t took_ns);

#endif
