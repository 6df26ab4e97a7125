/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/str.h"
#include "twinax/err.h"

static void test_fills_and_returns(void **state)
{
    (void)state;
    tw_err err = {0};
    assert_int_equal(tw_err_set(&err, -ENOENT, "%s: not found, wanted %d", "file", 3), -ENOENT);
    assert_int_equal(err.code, -ENOENT);
    assert_string_equal(err.msg, "file: not found, wanted 3");
    assert_int_equal(tw_err_set(NULL, -EIO, "nobody listens"), -EIO);
}

/* Whatever byte the cut falls on, what is left is whole code points and as many as fit. */
static void test_cuts_between_code_points(void **state)
{
    (void)state;
    static const char *const points[] = {"a", "\xC3\xA4", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"};
    for (unsigned i_point = 0; i_point < 4; i_point++) {
        for (int n_front = 0; n_front < 8; n_front++) {
            char text[512];
            int len = snprintf(text, sizeof(text), "%.*s", n_front, "--------");
            while ((size_t)len < sizeof(text) - 5)
                len += snprintf(text + len, sizeof(text) - (size_t)len, "%s", points[i_point]);
            tw_err err;
            (void)tw_err_set(&err, -EIO, "%s", text);
            size_t n = strlen(err.msg);
            assert_true(tw_utf8_valid(err.msg, n));
            assert_memory_equal(err.msg, text, n);
            assert_true(n < sizeof(err.msg) && n + i_point + 1 >= sizeof(err.msg));
        }
    }
}

/* "%.10s" of a text may cut a code point, a file's name may be in another code: JSON takes neither. */
static void test_is_text(void **state)
{
    (void)state;
    tw_err err;
    (void)tw_err_set(&err, -EIO, "%.2s: \xC3\xA4 %s", "x\xC3\xA4", "\xFFz\xE2\x82");
    assert_string_equal(err.msg, "x?: \xC3\xA4 ?z??");
}

static void test_exact_fit_is_not_cut(void **state)
{
    (void)state;
    char text[241];
    tw_err err;
    memset(text, 'x', sizeof(text));
    text[239] = '\0';
    (void)tw_err_set(&err, -EIO, "%s", text);
    assert_string_equal(err.msg, text);
    text[239] = 'x';
    text[240] = '\0';
    (void)tw_err_set(&err, -EIO, "%s", text);
    assert_int_equal(strlen(err.msg), 239);
}

static void test_one_line(void **state)
{
    (void)state;
    tw_err err;
    (void)tw_err_set(&err, -EIO, "a\nb\x1b[31mc\td\x7f");
    assert_string_equal(err.msg, "a b [31mc d ");
    (void)tw_err_set(&err, -EIO, "a%s31mb", "\xC2\x9B");
    assert_string_equal(err.msg, "a  31mb");
}

static void test_wraps_itself(void **state)
{
    (void)state;
    tw_err err;
    (void)tw_err_set(&err, -EIO, "inner");
    (void)tw_err_set(&err, err.code, "outer: %s", err.msg);
    assert_string_equal(err.msg, "outer: inner");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fills_and_returns), cmocka_unit_test(test_cuts_between_code_points),
        cmocka_unit_test(test_is_text),           cmocka_unit_test(test_exact_fit_is_not_cut),
        cmocka_unit_test(test_one_line),          cmocka_unit_test(test_wraps_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
