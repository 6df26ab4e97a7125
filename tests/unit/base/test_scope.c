/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/scope.h"

static int g_n_cleaned;

static void note_cleaned(const int *p)
{
    g_n_cleaned += *p;
}

static void test_cleanup_by_scope(void **state)
{
    (void)state;
    g_n_cleaned = 0;
    for (int i = 0; i < 3; i++) {
        TW_CLEANUP(note_cleaned) int one = 1;
        if (one + i == 2)
            continue;
    }
    assert_int_equal(g_n_cleaned, 3);
}

static void test_sizes(void **state)
{
    (void)state;
    size_t v = 5;
    assert_false(tw_size_mul(SIZE_MAX / 2, 3, &v));
    assert_false(tw_size_add(SIZE_MAX, 1, &v));
    assert_int_equal(v, 5);
    assert_true(tw_size_mul(6, 7, &v));
    assert_int_equal(v, 42);
    assert_true(tw_size_add(SIZE_MAX - 1, 1, &v));
    assert_true(v == SIZE_MAX);
}

static void test_macros(void **state)
{
    (void)state;
    int a[7];
    assert_int_equal(TW_ARRAY_LEN(a), 7);
    assert_int_equal(TW_MIN(3, 4), 3);
    assert_int_equal(TW_MAX(3, 4), 4);
    assert_int_equal(TW_DIV_UP(0, 4), 0);
    assert_int_equal(TW_DIV_UP(1, 4), 1);
    assert_int_equal(TW_DIV_UP(8, 4), 2);
    assert_int_equal(TW_DIV_UP(9, 4), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cleanup_by_scope),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_macros),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
