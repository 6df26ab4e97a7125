/* SPDX-License-Identifier: Apache-2.0 */
/* Where a rank's time goes, noted while it works: a ring of events in memory that is taken at the start,
 * nothing else. Brought together afterwards by one gather: an exchange has the same number on all
 * ranks, so what the least patient rank waited in it is what the transport takes, and what another
 * waited beyond that, it waited for a slower rank. No two clocks are compared for that. */
#ifndef TWINAX_ENGINE_PROFILE_H
#define TWINAX_ENGINE_PROFILE_H

#include "base/clock.h"
#include "twinax/coll.h"
#include "twinax/engine.h"

enum { TW_PROFILE_EVENTS = 32768 };

/* As it is gathered: one of each rank. */
typedef struct tw_profile_ring {
    uint64_t n; /* noted so far; the last TW_PROFILE_EVENTS of them are there */
    uint32_t n_exchanges, reserved;
    tw_profile_event events[TW_PROFILE_EVENTS];
} tw_profile_ring;

typedef struct tw_profiler {
    tw_profile_ring *ring; /* own place in rings */
    tw_profile_ring *rings;
    unsigned rank, n_ranks;
    tw_coll *coll;            /* NULL: one rank */
    tw_profile_event *merged; /* rank 0: [R][TW_PROFILE_EVENTS], in order of time */
} tw_profiler;

/* NULL in *ret where no profile is wanted. */
TW_MUST_CHECK int tw_profiler_new(tw_coll *coll, bool wanted, tw_profiler **ret, tw_err *err);
void tw_profiler_free(tw_profiler *p);

/* p may be NULL. Costs a clock at each end, and one line of memory. */
void tw_profiler_note(tw_profiler *p, enum tw_profile_kind kind, uint32_t number, uint32_t n_rows,
                      uint64_t begin_ns);

static inline uint64_t tw_profiler_now(const tw_profiler *p)
{
    return p != NULL ? tw_clock_now_ns() : 0;
}

/* All ranks call it at the same place; rank 0's ret is filled, and borrowed until the next. */
TW_MUST_CHECK int tw_profiler_gather(tw_profiler *p, tw_profile *ret, tw_err *err);

#endif
