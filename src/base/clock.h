/* SPDX-License-Identifier: Apache-2.0 */
/* Monotonic time in nanoseconds. State machines get "now" passed in, so that tests own time. */
#ifndef TWINAX_BASE_CLOCK_H
#define TWINAX_BASE_CLOCK_H

#include <stdint.h>

#define TW_NS_PER_US UINT64_C(1000)
#define TW_NS_PER_MS UINT64_C(1000000)
#define TW_NS_PER_S  UINT64_C(1000000000)
#define TW_NEVER_NS  UINT64_MAX /* a deadline that never comes */

uint64_t tw_clock_now_ns(void); /* CLOCK_MONOTONIC */
uint64_t tw_clock_unix_s(void); /* wall clock: "created" fields, ages of files */

static inline void tw_cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
