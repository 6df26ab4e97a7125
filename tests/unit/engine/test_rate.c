/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "engine/rate.h"

static void counts_the_last_ten_seconds(void **state)
{
    (void)state;
    tw_rate r = {{0}, {0}};
    const uint64_t t0 = 1000 * TW_NS_PER_S;
    assert_int_equal(tw_rate_sum(&r, t0), 0);
    for (uint64_t ms = 0; ms < 60000; ms += 100) {
        tw_rate_add(&r, t0 + ms * TW_NS_PER_MS, 5);
        const uint64_t sum = tw_rate_sum(&r, t0 + ms * TW_NS_PER_MS);
        const uint64_t want = ms < 10000 ? 5 * (ms / 100 + 1) : 500;
        assert_true(sum + 6 >= want && sum <= want + 6); /* 50 a second, within a bucket's edge */
    }
    /* It fades, and is gone after ten seconds; a bucket is not counted again a round later. */
    const uint64_t end = t0 + 60 * TW_NS_PER_S;
    assert_true(tw_rate_sum(&r, end + 5 * TW_NS_PER_S) < 260);
    assert_int_equal(tw_rate_sum(&r, end + 11 * TW_NS_PER_S), 0);
    assert_int_equal(tw_rate_sum(&r, end + 3000 * TW_NS_PER_S), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(counts_the_last_ten_seconds)};
    return cmocka_run_group_tests_name("engine_rate", tests, NULL, NULL);
}
