/* SPDX-License-Identifier: Apache-2.0 */
/* Which cpus lie near each other: by the kernel's lists in sysfs. */
#ifndef TWINAX_OS_CPUS_H
#define TWINAX_OS_CPUS_H

/* Orders cpus [n] so that neighbours share memory: node by node; within a node the first thread of
 * every core before the second of any. As they were where the kernel tells nothing. root: "/sys". Returns how
 * many nodes they lie on, 1 at least. */
unsigned tw_cpus_order(const char *root, int *cpus, unsigned n);

#endif
