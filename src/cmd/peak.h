/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's limits with n threads together, measured in this run: what bench's shares are of. */
#ifndef TWINAX_CMD_PEAK_H
#define TWINAX_CMD_PEAK_H

#include <stddef.h>

#include "twinax/err.h"

typedef struct tw_peak {
    unsigned n_threads;
    double fma_gflops; /* all threads together, f32 */
    double read_gb_s;  /* all threads together, each its own part of >= 1 GiB */
} tw_peak;

/* About two seconds. The best moment of several sweeps: on a machine that others use too, what it
 * could do. */
TW_MUST_CHECK int tw_peak_measure(unsigned n_threads, tw_peak *ret, tw_err *err);

/* A team and a gigabyte that stay, to measure before and after each of many things. Pages are as the
 * engine's weights have them. While it is there its caller is pinned (os/team.h). */
typedef struct tw_peak_meter tw_peak_meter;

TW_MUST_CHECK int tw_peak_meter_new(unsigned n_threads, tw_peak_meter **ret, tw_err *err);
/* What is asked for: one whole sweep over all of it, some tens of ms; the best of many short runs of fma,
 * about 50 ms. The rest of ret stays as it is. */
enum { TW_PEAK_READ = 1, TW_PEAK_FMA = 2 };
TW_MUST_CHECK int tw_peak_meter_look(tw_peak_meter *m, unsigned what, tw_peak *ret, tw_err *err);
size_t tw_peak_meter_bytes(const tw_peak_meter *m);
void tw_peak_meter_free(tw_peak_meter *m); /* NULL is fine */

#endif
