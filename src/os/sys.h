/* SPDX-License-Identifier: Apache-2.0 */
/* What this machine is: cores, memory. */
#ifndef TWINAX_OS_SYS_H
#define TWINAX_OS_SYS_H

#include <stddef.h>
#include <stdint.h>

enum { TW_CPU_MAX = 1024 };

/* Fills cpus (<= max) with the cpu numbers this process may run on; returns how many there are. */
unsigned tw_sys_cpus(int *cpus, unsigned max);
uint64_t tw_sys_mem_available_bytes(void);
uint64_t tw_sys_rss_bytes(void);      /* this process, now */
uint64_t tw_sys_rss_peak_bytes(void); /* this process, highest (VmHWM) */
void tw_sys_cpu_name(char *out, size_t out_bytes);
/* 32 random bytes from the kernel. */
int tw_sys_random(void *out, size_t n);

#endif
