/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <locale.h>

#include "ui/text.h"

static void expect_clip(const char *text, size_t width, bool ascii, const char *want)
{
    char out[TW_UI_ROW_BYTES];
    const size_t n = tw_ui_clip(text, width, ascii, out);
    assert_string_equal(out, want);
    assert_true(n <= width);
    assert_int_equal(n, tw_ui_columns(out));
}

static void clips(void **state)
{
    (void)state;
    expect_clip("twinax", 6, false, "twinax");
    expect_clip("twinax", 5, false, "twin\u2026");
    expect_clip("twinax", 5, true, "twin~");
    expect_clip("twinax", 0, false, "");
    expect_clip("64 \u00b0C \u2192 b\u00f6x", 20, true, "64  C > b?x");
    expect_clip("64 \u00b0C", 20, false, "64 \u00b0C");
}

/* Nothing that steers a terminal gets through, nor what is no text at all. */
static void cleans(void **state)
{
    (void)state;
    expect_clip("a\x1b[2Jb\rc\nd\te", 20, false, "a?[2Jb?c?d e");
    expect_clip("\xff\xc3(", 9, false,
                "??"
                "(");
    expect_clip("\xc2\x9b"
                "31m",
                9, false, "?31m");            /* CSI in one character */
    expect_clip("a\u202eb", 9, false, "a?b"); /* would turn the row around */
}

static void wraps(void **state)
{
    static const char text[] = "one two  three abcdefghijkl";
    static const char *const want[] = {"one two", "three", "abcdefgh", "ijkl"};
    const char *p = text;
    size_t skip = 0;
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        const size_t n = tw_ui_wrap(p, 8, &skip);
        assert_int_equal(n, strlen(want[i]));
        assert_memory_equal(p, want[i], n);
        p += n + skip;
    }
    assert_int_equal(*p, '\0');
    assert_int_equal(tw_ui_wrap(p, 8, &skip), 0);
    assert_true(tw_ui_wrap("\u2588\u2588", 1, &skip) == 3); /* whole characters, and one at least */
}

static void bars(void **state)
{
    char out[TW_UI_ROW_BYTES];
    const double v[] = {0, 1, 50, 100, -3};
    (void)state;
    tw_ui_bar(0.5, 4, true, out);
    assert_string_equal(out, "##..");
    tw_ui_bar(0.5, 4, false, out);
    assert_string_equal(out, "\u2588\u2588\u2591\u2591");
    tw_ui_bar(1.0 / 16, 2, false, out);
    assert_string_equal(out, "\u258f\u2591");
    tw_ui_bar(7, 2, true, out);
    assert_string_equal(out, "##");
    tw_ui_bar(0.0 / 0.0, 2, true, out);
    assert_string_equal(out, "..");
    tw_ui_spark(v, 5, 100, true, out);
    assert_string_equal(out, " .=@ ");
    tw_ui_spark(v, 4, 100, false, out);
    assert_string_equal(out, " \u2581\u2584\u2588");
}

static void numbers(void **state)
{
    char out[24];
    (void)state;
    tw_ui_bytes(0, out);
    assert_string_equal(out, "0 B");
    tw_ui_bytes(61.3 * 1024 * 1024 * 1024, out);
    assert_string_equal(out, "61.3 GiB");
    tw_ui_disk(145412407296.0, out);
    assert_string_equal(out, "145 GB");
    tw_ui_span(59, out);
    assert_string_equal(out, "59 s");
    tw_ui_span(192, out);
    assert_string_equal(out, "3 min 12 s");
    tw_ui_span(UINT64_MAX, out);
    assert_non_null(strstr(out, " d "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(clips), cmocka_unit_test(cleans),
                                       cmocka_unit_test(wraps), cmocka_unit_test(bars),
                                       cmocka_unit_test(numbers)};
    (void)setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
