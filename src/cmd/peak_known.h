/* SPDX-License-Identifier: Apache-2.0 */
/* This machine's limits, measured once and remembered (measured.h): for `twinax plan` here, and for
 * the agent when another machine plans. */
#ifndef TWINAX_CMD_PEAK_KNOWN_H
#define TWINAX_CMD_PEAK_KNOWN_H

#include <stdbool.h>
#include <stdint.h>

#include "cmd/peak.h"

typedef struct tw_peak_known {
    tw_peak peak;
    uint64_t measured_s;  /* wall clock; 0: not known */
    uint64_t cache_bytes; /* 0: unknown */
} tw_peak_known;

/* n_threads 0: this machine's cores. */
unsigned tw_peak_threads(unsigned n_threads);
/* Measures (two seconds) when it is not known for this processor and so many threads, or anew. */
TW_MUST_CHECK int tw_peak_get(unsigned n_threads, bool anew, tw_peak_known *ret, tw_err *err);
/* What an agent calls (cluster/agent_peak.h). */
void tw_peak_lend(void);

#endif
