/* SPDX-License-Identifier: Apache-2.0 */
/* When another's silence is its death. Who listens may be late itself (stopped, starved, in a virtual
 * machine that paused), and so may be whoever is on the same machine: then the other gets a moment to
 * speak, but no fresh limit. With late listeners too, death is known no later than 4/3 of the limit
 * after the last word, or 1/3 of it after the listener runs again, whichever is later: 2 s for 1.5 s.
 * No clock of its own. */
#ifndef TWINAX_BASE_SILENCE_H
#define TWINAX_BASE_SILENCE_H

#include <stdint.h>

#include "base/clock.h"

/* A look that comes so much later than it was due is late. */
#define TW_SILENCE_LATE_NS (100 * TW_NS_PER_MS)

typedef struct tw_silence {
    uint64_t heard_ns;   /* the last word */
    uint64_t excused_ns; /* no death before; 0: nobody was late */
} tw_silence;

static inline void tw_silence_hear(tw_silence *s, uint64_t now_ns)
{
    *s = (tw_silence){.heard_ns = now_ns};
}

/* This look was due at due_ns; before what has come meanwhile is read. */
void tw_silence_look(tw_silence *s, uint64_t limit_ns, uint64_t due_ns, uint64_t now_ns);
/* From when on it is death, if no word comes before. */
uint64_t tw_silence_end(const tw_silence *s, uint64_t limit_ns);

#endif
