/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <time.h>

#include "base/clock.h"

static void test_never_goes_back(void **state)
{
    (void)state;
    uint64_t last = tw_clock_now_ns();
    for (int i = 0; i < 100000; i++) {
        uint64_t now = tw_clock_now_ns();
        assert_true(now >= last);
        last = now;
        tw_cpu_relax();
    }
}

/* The same clock as the system's, in nanoseconds: our reading lies between two of its own. */
static void test_is_monotonic_clock(void **state)
{
    (void)state;
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    uint64_t now = tw_clock_now_ns();
    clock_gettime(CLOCK_MONOTONIC, &b);
    assert_true((uint64_t)a.tv_sec * TW_NS_PER_S + (uint64_t)a.tv_nsec <= now);
    assert_true(now <= (uint64_t)b.tv_sec * TW_NS_PER_S + (uint64_t)b.tv_nsec);
}

static void test_unix_seconds(void **state)
{
    (void)state;
    struct timespec a, b;
    clock_gettime(CLOCK_REALTIME, &a);
    uint64_t s = tw_clock_unix_s();
    clock_gettime(CLOCK_REALTIME, &b);
    assert_true(s + 1 >= (uint64_t)a.tv_sec && s <= (uint64_t)b.tv_sec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_never_goes_back),
        cmocka_unit_test(test_is_monotonic_clock),
        cmocka_unit_test(test_unix_seconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
