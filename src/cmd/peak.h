/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's limits with n threads together, measured in this run: what bench's shares are of. */
#ifndef TWINAX_CMD_PEAK_H
#define TWINAX_CMD_PEAK_H

#include "twinax/err.h"

typedef struct tw_peak {
    unsigned n_threads;
    double fma_gflops; /* all threads together, f32 */
    double read_gb_s;  /* all threads together, each its own part of >= 1 GiB */
} tw_peak;

/* About two seconds. */
TW_MUST_CHECK int tw_peak_measure(unsigned n_threads, tw_peak *ret, tw_err *err);

#endif
