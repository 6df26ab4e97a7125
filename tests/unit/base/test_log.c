/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"

static int g_pipe[2], g_stderr;

static int divert_stderr(void **state)
{
    (void)state;
    g_stderr = dup(STDERR_FILENO);
    if (pipe2(g_pipe, O_NONBLOCK) < 0)
        return -1;
    return dup2(g_pipe[1], STDERR_FILENO) < 0;
}

static int restore_stderr(void **state)
{
    (void)state;
    dup2(g_stderr, STDERR_FILENO);
    close(g_stderr);
    close(g_pipe[0]);
    close(g_pipe[1]);
    return 0;
}

static const char *read_logged(void)
{
    static char text[8192];
    ssize_t n = read(g_pipe[0], text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void test_form(void **state)
{
    (void)state;
    tw_log_set(TW_LOG_INFO, 1);
    errno = EBUSY;
    tw_log(TW_LOG_INFO, "link", "closing link to rank %d", 0);
    assert_int_equal(errno, EBUSY);
    assert_string_equal(read_logged(), "r1 link: closing link to rank 0\n");
    tw_log_set(TW_LOG_INFO, -1);
    tw_log(TW_LOG_ERROR, "serve", "port taken");
    assert_string_equal(read_logged(), "serve: port taken\n");
    tw_log(TW_LOG_ERROR, "serve", "%s", "");
    assert_string_equal(read_logged(), "serve: \n");
}

static void test_levels(void **state)
{
    (void)state;
    for (int max = TW_LOG_ERROR; max <= TW_LOG_DEBUG; max++) {
        tw_log_set((enum tw_log_level)max, -1);
        for (int level = TW_LOG_ERROR; level <= TW_LOG_DEBUG; level++) {
            tw_log((enum tw_log_level)level, "a", "b");
            assert_string_equal(read_logged(), level <= max ? "a: b\n" : "");
        }
    }
}

static void test_one_line(void **state)
{
    (void)state;
    tw_log_set(TW_LOG_INFO, -1);
    tw_log(TW_LOG_INFO, "a", "x\ny\x1b[2Jz");
    assert_string_equal(read_logged(), "a: x y [2Jz\n");
}

static void test_long_line(void **state)
{
    (void)state;
    char text[4096];
    for (size_t shift = 0; shift < 4; shift++) {
        memset(text, '-', sizeof(text));
        for (size_t i = shift; i + 4 < sizeof(text); i += 4)
            memcpy(text + i, "\xF0\x9F\x98\x80", 4);
        text[sizeof(text) - 1] = '\0';
        tw_log_set(TW_LOG_INFO, 0);
        tw_log(TW_LOG_INFO, "a", "%s", text);
        const char *got = read_logged();
        size_t n = strlen(got);
        assert_true(n > 1000 && n <= 1024);
        assert_int_equal(got[n - 1], '\n');
        assert_true(tw_utf8_valid(got, n));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_form, divert_stderr, restore_stderr),
        cmocka_unit_test_setup_teardown(test_levels, divert_stderr, restore_stderr),
        cmocka_unit_test_setup_teardown(test_one_line, divert_stderr, restore_stderr),
        cmocka_unit_test_setup_teardown(test_long_line, divert_stderr, restore_stderr),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
