/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cluster/life_log.h"

static char folder[64], path[96], old[100];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/twinax-log-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/log", folder);
    snprintf(old, sizeof old, "%s.1", path);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    unlink(old);
    return rmdir(folder);
}

static void lines_name_who_says_them(void **state)
{
    (void)state;
    static const struct {
        const char *line, *node, *text;
        unsigned rank;
    } cases[] = {
        {"serve: ready", "", "serve: ready", 0},
        {"r3 link: tcp", "", "link: tcp", 3},
        {"box2: r1 rank: bad", "box2", "rank: bad", 1},
        {"box2: no rank here", "", "box2: no rank here", 0},
        {"r9 none", "", "r9 none", 0},
        {"", "", "", 0},
        {"r1", "", "r1", 0},
        {"me@box.lan: r7 x", "me@box.lan", "x", 7},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tw_str node, text;
        unsigned rank;
        tw_life_log_split(tw_str_from(cases[i].line), &node, &rank, &text);
        assert_true(tw_str_is(node, cases[i].node));
        assert_true(tw_str_is(text, cases[i].text));
        assert_int_equal(rank, cases[i].rank);
    }
}

static void bytes_become_lines(void **state)
{
    (void)state;
    tw_life_log l;
    tw_err err = {0};
    struct stat st;
    uint64_t at = 0;
    tw_buf b = TW_BUF(1 << 16);
    assert_int_equal(tw_life_log_open(&l, path, "box1", 0, &err), 0);
    tw_life_log_take(&l, 1000, "one\ntw", 6, false);
    tw_life_log_take(&l, 2000, "o\r\n\nbox2: r1 th\x1bree\nrest", 24, false);
    tw_life_log_take(&l, 86400000, "", 0, true);
    assert_string_equal(l.last, "rest");
    tw_life_log_close(&l);
    assert_int_equal(tw_life_log_tail(path, 10, &b, &at, &err), 0);
    assert_string_equal(b.data, "1970-01-01T00:00:01.000Z box1 r0 one\n"
                                "1970-01-01T00:00:02.000Z box1 r0 two\n"
                                "1970-01-01T00:00:02.000Z box2 r1 th ree\n"
                                "1970-01-02T00:00:00.000Z box1 r0 rest\n");
    assert_int_equal(at, b.len);
    tw_buf_reset(&b);
    assert_int_equal(tw_life_log_tail(path, 1, &b, &at, &err), 0);
    assert_string_equal(b.data, "1970-01-02T00:00:00.000Z box1 r0 rest\n");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    tw_buf_done(&b);
}

/* Two files, each within the bound, and no line lost between them. */
static void a_full_file_makes_room(void **state)
{
    (void)state;
    enum { MAX_BYTES = 2000, N = 100 };
    tw_life_log l;
    tw_err err = {0};
    struct stat st;
    uint64_t at = 0;
    char line[40];
    tw_buf b = TW_BUF(1 << 16);
    assert_int_equal(tw_life_log_open(&l, path, "box1", MAX_BYTES, &err), 0);
    for (int i = 0; i < N; i++) {
        int n = snprintf(line, sizeof line, "line %d\n", i);
        tw_life_log_take(&l, 0, line, (size_t)n, false);
        assert_int_equal(stat(path, &st), 0);
        assert_true(st.st_size <= MAX_BYTES);
    }
    assert_int_equal(stat(old, &st), 0);
    assert_true(st.st_size > MAX_BYTES / 2 && st.st_size <= MAX_BYTES);
    assert_int_equal(tw_life_log_tail(path, 40, &b, &at, &err), 0);
    const char *p = b.data;
    for (int i = N - 40; i < N; i++) {
        snprintf(line, sizeof line, "r0 line %d\n", i);
        p = strstr(p, line);
        assert_non_null(p);
    }
    /* A line longer than the bound is cut, never the file's end. */
    char *longer = calloc(1, 10000);
    memset(longer, 'x', 9999);
    tw_life_log_take(&l, 0, longer, 9999, true);
    free(longer);
    tw_life_log_close(&l);
    tw_buf_done(&b);
}

static void a_link_is_no_log(void **state)
{
    (void)state;
    tw_life_log l;
    tw_err err = {0};
    assert_int_equal(symlink("/dev/null", path), 0);
    assert_int_equal(tw_life_log_open(&l, path, "box1", 0, &err), -ELOOP);
    assert_non_null(strstr(err.msg, "link"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_name_who_says_them),
        cmocka_unit_test_setup_teardown(bytes_become_lines, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_full_file_makes_room, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_link_is_no_log, make_folder, remove_folder),
    };
    return cmocka_run_group_tests_name("cluster_life_log", tests, NULL, NULL);
}
