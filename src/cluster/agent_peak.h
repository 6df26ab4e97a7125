/* SPDX-License-Identifier: Apache-2.0 */
/* A node's limits: what it reads and multiplies. The program that runs the agent measures: this floor
 * knows no kernels. */
#ifndef TWINAX_CLUSTER_AGENT_PEAK_H
#define TWINAX_CLUSTER_AGENT_PEAK_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/remote.h"

typedef struct tw_agent_peak_words {
    unsigned n_threads;
    double read_gb_s, fma_gflops;
    uint64_t measured_s;  /* by the node's wall clock */
    uint64_t cache_bytes; /* 0: unknown */
} tw_agent_peak_words;

/* n_threads 0: the node's cores. */
typedef int (*tw_agent_peak_fn)(unsigned n_threads, bool anew, tw_agent_peak_words *ret,
                                tw_err *err);

/* Once, before tw_agent_run. */
void tw_agent_on_peak(tw_agent_peak_fn fn);
/* The head's end: asks a node; it may have to measure for some seconds. */
TW_MUST_CHECK int tw_remote_peak(tw_remote *n, unsigned n_threads, bool anew,
                                 tw_agent_peak_words *ret, tw_err *err);

#endif
