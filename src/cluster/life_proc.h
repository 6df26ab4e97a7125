/* SPDX-License-Identifier: Apache-2.0 */
/* A process by pid and the moment it began: a bare pid may be another's by the time it is asked for.
 * Must not know what the process is for. */
#ifndef TWINAX_CLUSTER_LIFE_PROC_H
#define TWINAX_CLUSTER_LIFE_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "twinax/err.h"

typedef struct tw_life_proc {
    pid_t pid;      /* 0: none */
    uint64_t start; /* clock ticks since this machine's boot */
} tw_life_proc;

/* False: there is no such process (a zombie counts as none). */
bool tw_life_proc_read(pid_t pid, tw_life_proc *ret);
bool tw_life_proc_alive(const tw_life_proc *p);
/* Only to this very process. -ESRCH: it is gone. */
TW_MUST_CHECK int tw_life_proc_kill(const tw_life_proc *p, int sig);
/* Waits until none of p [n] is alive, at most limit_ns. True: none is. */
bool tw_life_proc_await_gone(const tw_life_proc *p, unsigned n, uint64_t limit_ns);
/* Resident bytes; 0: unknown or gone. */
uint64_t tw_life_proc_rss(pid_t pid);
/* Processes of this user whose environment has TWINAX_RUN=run, oldest first; how many there are, at
 * most max are filled in. Those that ended meanwhile are left out. */
unsigned tw_life_proc_find(const char *run, tw_life_proc *ret, unsigned max);

#endif
