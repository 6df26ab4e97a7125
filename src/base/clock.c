/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <time.h>

uint64_t tw_clock_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * TW_NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t tw_clock_unix_s(void)
{
    return (uint64_t)time(NULL);
}
