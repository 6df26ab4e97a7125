/* SPDX-License-Identifier: Apache-2.0 */
/* After setup: what doctor still fails although setup knows the step that mends it, and what only
 * waits for a reboot or a new login, which is no failure.
 * Pure: doctor's results in, words out. */
#ifndef TWINAX_HOST_SETUP_LEFT_H
#define TWINAX_HOST_SETUP_LEFT_H

#include "host/check.h"

typedef struct tw_setup_after {
    const tw_check_world *world;
    const tw_check_result *v; /* [n] */
    size_t n;
    const char *only;       /* "id,id": the steps that were asked for; NULL: all */
    const bool *reboot_due; /* [n_nodes]: setup knows of one that was not made */
} tw_setup_after;

typedef struct tw_setup_left {
    size_t n_failed, n_reboots, n_logins;
    char failed[200]; /* "box2: net.ports (network), ..." */
    char waits[200];  /* "box1: memory.memlock (next login), ..." */
} tw_setup_left;

void tw_setup_left_find(const tw_setup_after *a, tw_setup_left *ret);

#endif
