/* SPDX-License-Identifier: Apache-2.0 */
/* A serving laptop must not fall asleep, and when a machine did, somebody should say so.
 * Must not know what is served. */
#ifndef TWINAX_CLUSTER_LIFE_AWAKE_H
#define TWINAX_CLUSTER_LIFE_AWAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "os/child.h"

/* ---- how long the machine slept ---- */

/* Time that passes in CLOCK_BOOTTIME but not in CLOCK_MONOTONIC is sleep. */
typedef struct tw_life_sleep {
    uint64_t ahead_ns; /* of BOOTTIME before MONOTONIC at the last look */
    bool known;
} tw_life_sleep;

/* How long it slept since the last look; 0: not, or too short to tell (< 1 s). */
uint64_t tw_life_sleep_look(tw_life_sleep *s, uint64_t boot_ns, uint64_t mono_ns);
/* The same by this machine's clocks. */
uint64_t tw_life_sleep_now(tw_life_sleep *s);

/* ---- the inhibitor ---- */

typedef struct tw_life_awake {
    tw_child child; /* systemd-inhibit, which ends with us */
} tw_life_awake;

/* Where this is a laptop (or always) and systemd-inhibit is there: holds sleep off until closed. False, with
 * why in text: not held. From the main thread. */
bool tw_life_awake_hold(tw_life_awake *a, bool always, char *why, size_t why_bytes);
/* Ended though nobody asked: it was refused. */
bool tw_life_awake_lost(tw_life_awake *a);
void tw_life_awake_close(tw_life_awake *a);

#endif
