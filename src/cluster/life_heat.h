/* SPDX-License-Identifier: Apache-2.0 */
/* How hot this machine is and what it draws, as far as its sensors may be read without rights. */
#ifndef TWINAX_CLUSTER_LIFE_HEAT_H
#define TWINAX_CLUSTER_LIFE_HEAT_H

#include <stdbool.h>

typedef struct tw_life_heat {
    bool has_celsius, has_watts;
    double celsius; /* the hottest of processor and GPU */
    double watts;   /* of the GPU (an APU's: of the whole package) or of the battery's discharge */
    char celsius_of[32], watts_of[32]; /* sensor: "k10temp" */
} tw_life_heat;

/* root NULL: this machine; else a folder with sys/ of a recorded one. */
void tw_life_heat_read(const char *root, tw_life_heat *ret);
/* A machine with a battery of its own (no mouse's). */
bool tw_life_is_laptop(const char *root);

#endif
