/* SPDX-License-Identifier: Apache-2.0 */
/* What held programs make in /dev/shm: a killed one leaves it there, holding memory, and nobody else
 * knows whose it was. The kernel says when a file is made; a look at the processes below us says which
 * of them has it open or mapped. Only what one of ours had, and nothing older, is removed.
 * Thread: one process notes, another may remove (the table is shared by fork). */
#ifndef TWINAX_VLLM_HOLD_SHM_H
#define TWINAX_VLLM_HOLD_SHM_H

#include <stdbool.h>
#include <stdint.h>

#include "twinax/err.h"

typedef struct tw_hold_shm tw_hold_shm;

/* Before the program is started. NULL: this machine cannot tell; every function takes that. */
tw_hold_shm *tw_hold_shm_open(const char *folder);
int tw_hold_shm_fd(const tw_hold_shm *s); /* readable: something was made; -1: never */
/* Takes what the kernel says; processes are looked at a moment later, once for many files. */
void tw_hold_shm_take(tw_hold_shm *s);
int tw_hold_shm_wait_ms(const tw_hold_shm *s); /* until the look is due; -1: none is */
/* Who has what, when a look is due; now: before its time, for all are about to be killed. Cost: a look at
 * all processes. */
void tw_hold_shm_look(tw_hold_shm *s, bool now);
/* Once all are dead; each of the two processes once. Also frees s. How many were removed. */
unsigned tw_hold_shm_remove(tw_hold_shm *s);

#endif
