/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/scope.h"
#include "fmt/jsonstr.h"
#include "fmt/sse.h"

static void test_lines(void **state)
{
    (void)state;
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(256);
    assert_int_equal(tw_sse_append(&b, "{}", 2), 0);
    assert_int_equal(tw_sse_append(&b, "a\nb", 3), 0);
    assert_int_equal(tw_sse_append(&b, "", 0), 0);
    assert_string_equal(b.data, "data: {}\n\ndata: a\ndata: b\n\ndata: \n\n");
}

static void test_ceiling(void **state)
{
    (void)state;
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(10);
    assert_int_equal(tw_sse_append(&b, "0123456789", 10), -E2BIG);
}

static void test_next(void **state)
{
    (void)state;
    tw_str in = TW_STR("data: one\n\n: comment\nevent: x\ndata:two\r\n\r\n\ndata: cut\n"), data;
    assert_true(tw_sse_next(&in, &data));
    assert_true(tw_str_is(data, "one"));
    assert_true(tw_sse_next(&in, &data));
    assert_true(tw_str_is(data, "two"));
    assert_true(tw_sse_next(&in, &data));
    assert_int_equal(data.len, 0);
    assert_false(tw_sse_next(&in, &data));
    assert_true(tw_str_is(in, "data: cut\n"));
}

static void check_json(const char *p, size_t n, bool ascii, const char *want)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(256);
    assert_int_equal(tw_jsonstr_append(&b, p, n, ascii), 0);
    assert_string_equal(b.data, want);
}

static void test_json_strings(void **state)
{
    (void)state;
    check_json("", 0, false, "\"\"");
    check_json("a\"b\\c\n\r\t\b\f\x01/\x7f", 13, false,
               "\"a\\\"b\\\\c\\n\\r\\t\\b\\f\\u0001/\x7f\"");
    check_json("\xc3\xa9\xf0\x9f\x98\x80", 6, false, "\"\xc3\xa9\xf0\x9f\x98\x80\"");
    check_json("\xc3\xa9\xf0\x9f\x98\x80", 6, true, "\"\\u00e9\\ud83d\\ude00\"");
    check_json("a\xff\xc3", 3, false, "\"a\xef\xbf\xbd\xef\xbf\xbd\""); /* never broken UTF-8 */
    check_json("\0", 1, false, "\"\\u0000\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_ceiling),
        cmocka_unit_test(test_next),
        cmocka_unit_test(test_json_strings),
    };
    return cmocka_run_group_tests_name("fmt_sse", tests, NULL, NULL);
}
