/* SPDX-License-Identifier: Apache-2.0 */
/* What this machine is: cores, memory. */
#ifndef TWINAX_OS_SYS_H
#define TWINAX_OS_SYS_H

#include <stddef.h>
#include <stdint.h>

enum { TW_CPU_MAX = 1024 };

/* Fills cpus (<= max) with the cpu numbers this process may run on; returns how many there are (may
 * be more than max). Asks for the calling thread: a thread that a team has pinned sees one. */
unsigned tw_sys_cpus(int *cpus, unsigned max);
uint64_t tw_sys_mem_available_bytes(void);
uint64_t tw_sys_cache_bytes(void);    /* the largest cache, all of it; 0: unknown */
uint64_t tw_sys_rss_bytes(void);      /* this process, now */
uint64_t tw_sys_rss_peak_bytes(void); /* this process, highest (VmHWM) */
void tw_sys_rss_peak_reset(void); /* the highest begins anew at now, where the kernel allows it */
void tw_sys_cpu_name(char *out, size_t out_bytes);
/* Random bytes from the kernel; 0 or a negative errno. */
int tw_sys_random(void *out, size_t n);
/* This thread: FTZ and DAZ off, round to nearest. Each thread that computes calls it once; a team
 * does so for its own. */
void tw_sys_fp_strict(void);

#endif
