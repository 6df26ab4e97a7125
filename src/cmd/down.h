/* SPDX-License-Identifier: Apache-2.0 */
/* Ending what a record names, and the proof that nothing of it is left: here by the mark in each
 * process's environment, on nodes by pid and start time. */
#ifndef TWINAX_CMD_DOWN_H
#define TWINAX_CMD_DOWN_H

#include "cluster/life_state.h"

typedef struct tw_down_report {
    unsigned n_killed;  /* were still there after the end, and had to be killed */
    unsigned n_left;    /* are there even now */
    unsigned n_unasked; /* nodes that could not be asked */
    char left[400];     /* who, in words */
} tw_down_report;

/* Asks the keeper to end (then insists), waits, then looks everywhere and kills what is left. Each
 * step is bounded, a node that does not answer too. r->keeper may be gone already. */
void tw_down_end(const tw_life_record *r, tw_down_report *ret);

#endif
