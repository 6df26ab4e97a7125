/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TWINAX_CMD_BENCH_KERN_H
#define TWINAX_CMD_BENCH_KERN_H

#include <stdbool.h>

/* Times every kernel of every table that runs here, one thread, one line each (JSON objects when
 * json) with its share of this machine's fma peak or read bandwidth. Exit status. */
int tw_bench_kern(bool json);

#endif
