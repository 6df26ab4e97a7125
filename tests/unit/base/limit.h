/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of promises that name a time. Where a machine is known to be slow (emulated ones in
 * tests/lab), TW_TIME_SCALE in the environment multiplies them; elsewhere it is 1. A limit that only
 * ends what hangs is no promise: it is far above what is needed, and not from here. */
#ifndef TWINAX_TESTS_LIMIT_H
#define TWINAX_TESTS_LIMIT_H

#include <stdint.h>
#include <stdlib.h>

/* How often a promise may be measured: it holds when it is kept once, and a busy test machine is late
 * now and then. What is said must be right every time. */
enum { TRIES_FOR_TIME = 3 };

static inline uint64_t scaled_limit(uint64_t limit_ns)
{
    const char *s = getenv("TW_TIME_SCALE");
    double scale = s != NULL ? strtod(s, NULL) : 1;
    return scale > 1 ? (uint64_t)((double)limit_ns * scale) : limit_ns;
}

#endif
