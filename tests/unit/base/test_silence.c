/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/silence.h"

#define MS    TW_NS_PER_MS
#define LIMIT (1500 * MS)
#define T0    (1000 * TW_NS_PER_S)

static void test_silent(void **state)
{
    tw_silence s;
    (void)state;
    tw_silence_hear(&s, T0);
    assert_int_equal(tw_silence_end(&s, LIMIT), T0 + LIMIT);
    tw_silence_look(&s, LIMIT, T0 + 500 * MS, T0 + 510 * MS); /* in time */
    tw_silence_look(&s, LIMIT, T0 + 700 * MS, T0 + 600 * MS); /* woken by something else */
    assert_int_equal(tw_silence_end(&s, LIMIT), T0 + LIMIT);
    tw_silence_hear(&s, T0 + 600 * MS);
    assert_int_equal(tw_silence_end(&s, LIMIT), T0 + 600 * MS + LIMIT);
}

/* Late or not, whoever runs again in time knows a death within 2 s of the last word. */
static void test_late(void **state)
{
    (void)state;
    for (uint64_t due = 1; due <= 1500; due += 7)
        for (uint64_t at = due; at <= 6000; at += 13) {
            tw_silence s;
            tw_silence_hear(&s, T0);
            tw_silence_look(&s, LIMIT, T0 + due * MS, T0 + at * MS);
            const uint64_t end = tw_silence_end(&s, LIMIT);
            assert_true(end >= T0 + LIMIT);
            assert_true(end <= T0 + (at <= 1500 ? 2000 : at + 500) * MS);
            if (at >= due + 100) /* who was late himself gives half a second */
                assert_true(end >= T0 + (at + 500) * MS);
            tw_silence_hear(&s, T0 + at * MS); /* what had come meanwhile is read: all is well */
            assert_int_equal(tw_silence_end(&s, LIMIT), T0 + at * MS + LIMIT);
        }
}

/* Late again and again: each time half a second from then on, no more. */
static void test_late_again(void **state)
{
    tw_silence s;
    (void)state;
    tw_silence_hear(&s, T0);
    for (uint64_t at = 400; at <= 4000; at += 400) {
        tw_silence_look(&s, LIMIT, T0 + (at - 200) * MS, T0 + at * MS);
        const uint64_t want = at + 500 > 1625 ? at + 500 : 1625;
        assert_int_equal(tw_silence_end(&s, LIMIT), T0 + want * MS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_silent),
        cmocka_unit_test(test_late),
        cmocka_unit_test(test_late_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
