/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/pace.h"

static void test_nothing_known(void **state)
{
    (void)state;
    const tw_pace p = {0};
    assert_int_equal(tw_pace_predict(&p, 1), TW_PACE_UNKNOWN_NS);
    assert_int_equal(tw_pace_predict(&p, UINT32_MAX), TW_PACE_UNKNOWN_NS);
}

static void test_sizes(void **state)
{
    (void)state;
    tw_pace p = {0};
    tw_pace_note(&p, 4, 100);
    assert_int_equal(tw_pace_predict(&p, 4), 100);
    assert_int_equal(tw_pace_predict(&p, 7), 100);
    assert_int_equal(tw_pace_predict(&p, 8), 200); /* more rows: as if each cost as much */
    assert_int_equal(tw_pace_predict(&p, 512), 12800);
    assert_int_equal(tw_pace_predict(&p, 1), 100); /* fewer: no longer than this */
    tw_pace_note(&p, 512, 3000);
    assert_int_equal(tw_pace_predict(&p, 600), 3000);
    assert_int_equal(tw_pace_predict(&p, 8), 200);
}

static void test_follows(void **state)
{
    (void)state;
    tw_pace p = {0};
    tw_pace_note(&p, 1, 1000);
    for (int i = 0; i < 40; i++)
        tw_pace_note(&p, 1, 5000);
    assert_in_range(tw_pace_predict(&p, 1), 4900, 5000);
    /* The machine slept for a day: one step does not make ten days of patience. */
    tw_pace_note(&p, 1, 24 * 3600 * TW_NS_PER_S);
    assert_in_range(tw_pace_predict(&p, 1), 5000, 3 * 5000);
    tw_pace_note(&p, UINT32_MAX, UINT64_MAX);
    assert_int_equal(tw_pace_predict(&p, UINT32_MAX), 3600 * TW_NS_PER_S);
    for (int i = 0; i < 100; i++)
        tw_pace_note(&p, 1, 0);
    assert_int_equal(tw_pace_predict(&p, 1), 1); /* and never "not known" again */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_known),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_follows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
