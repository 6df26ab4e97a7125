/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ui/lines.h"

static void feed(tw_ui_lines *l, unsigned stream, const char *text)
{
    tw_ui_lines_feed(l, stream, text, strlen(text));
}

static void expect(const tw_ui_lines *l, size_t n, const char *last)
{
    assert_int_equal(tw_ui_lines_n(l), n);
    assert_string_equal(tw_ui_lines_at(l, n - 1), last);
}

static void reads(void **state)
{
    tw_ui_lines l;
    (void)state;
    assert_true(tw_ui_lines_init(&l));
    feed(&l, 0, "one\r\ntwo\nthr");
    expect(&l, 3, "thr");
    feed(&l, 1, "error\n"); /* the other stream's line comes between, whole */
    assert_string_equal(tw_ui_lines_at(&l, 2), "error");
    feed(&l, 0, "ee\n\n");
    expect(&l, 5, "");
    assert_string_equal(tw_ui_lines_at(&l, 3), "three");
    assert_string_equal(tw_ui_lines_at(&l, 99), "");
    tw_ui_lines_clear(&l);
    assert_int_equal(tw_ui_lines_n(&l), 0);
    tw_ui_lines_done(&l);
}

/* As a terminal shows it: progress lines write over themselves. */
static void progress(void **state)
{
    tw_ui_lines l;
    (void)state;
    assert_true(tw_ui_lines_init(&l));
    feed(&l, 1, "\r\x1b[Kstarting: 1 %");
    expect(&l, 1, "starting: 1 %");
    feed(&l, 1, "\r\x1b[Kst");
    expect(&l, 1, "st");
    feed(&l, 1, "\r\x1b[K");
    assert_int_equal(tw_ui_lines_n(&l), 0);
    feed(&l, 1, "50 %\r60 %\rdone\n");
    expect(&l, 1, "done");
    tw_ui_lines_done(&l);
}

static void escapes(void **state)
{
    tw_ui_lines l;
    (void)state;
    assert_true(tw_ui_lines_init(&l));
    feed(&l, 0, "\x1b[1;31mFAIL\x1b[0m x\n");
    expect(&l, 1, "FAIL x");
    feed(&l, 0, "\x1b]0;title\x07y\x01z\x7f\n");
    expect(&l, 2, "yz");
    feed(&l, 0, "\x1b[31\nnext\n"); /* one that is never ended */
    expect(&l, 4, "next");
    tw_ui_lines_done(&l);
}

static void has_ends(void **state)
{
    tw_ui_lines l;
    char line[16];
    (void)state;
    assert_true(tw_ui_lines_init(&l));
    for (int i = 0; i < TW_UI_LINES_MAX + 5; i++) {
        snprintf(line, sizeof line, "%d\n", i);
        feed(&l, 0, line);
    }
    expect(&l, TW_UI_LINES_MAX, "2004");
    assert_string_equal(tw_ui_lines_at(&l, 0), "5");
    assert_int_equal(l.n_dropped, 5);
    for (int i = 0; i < 10 * TW_UI_LINE_BYTES; i++)
        feed(&l, 0, "x");
    feed(&l, 0, "\n");
    assert_int_equal(strlen(tw_ui_lines_at(&l, TW_UI_LINES_MAX - 1)), TW_UI_LINE_BYTES - 1);
    tw_ui_lines_done(&l);
}

static bool take_marked(void *ctx, const char *line)
{
    *(int *)ctx += line[0] == '{';
    return line[0] == '{';
}

static void takes(void **state)
{
    tw_ui_lines l;
    int n = 0;
    (void)state;
    assert_true(tw_ui_lines_init(&l));
    l.take = take_marked;
    l.take_ctx = &n;
    feed(&l, 0, "{1}\nkept\n{2}\n");
    expect(&l, 1, "kept");
    assert_int_equal(n, 2);
    tw_ui_lines_done(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(reads), cmocka_unit_test(progress),
                                       cmocka_unit_test(escapes), cmocka_unit_test(has_ends),
                                       cmocka_unit_test(takes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
