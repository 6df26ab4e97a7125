/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <signal.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scope.h"
#include "ui/job.h"

/* The words of a command are those of `sh` here: argv[0] is the program, "-c" and a script follow. */
static void start(tw_ui_job *j, tw_ui_lines *lines, uint64_t limit_ns, const char *script)
{
    const tw_ui_command c = tw_ui_command_of("-c", script, NULL);
    tw_err err = {0};
    if (tw_ui_job_start(j, "/bin/sh", &c, lines, limit_ns, &err) != 0)
        fail_msg("%s", err.msg);
}

static void await(tw_ui_job *j)
{
    const uint64_t until = tw_clock_now_ns() + 60 * TW_NS_PER_S;
    while (!tw_ui_job_pump(j, tw_clock_now_ns())) {
        struct pollfd fds[TW_UI_FDS_MAX];
        assert_true(tw_clock_now_ns() < until);
        (void)poll(fds, (nfds_t)tw_ui_job_fds(j, fds), 20);
    }
    assert_false(j->is_running);
    assert_false(tw_ui_job_pump(j, tw_clock_now_ns())); /* it is over once */
}

/* The first line is there: it has set what it sets. */
static void await_line(tw_ui_job *j, const tw_ui_lines *l)
{
    const uint64_t until = tw_clock_now_ns() + 60 * TW_NS_PER_S;
    while (tw_ui_lines_n(l) == 0) {
        struct pollfd fds[TW_UI_FDS_MAX];
        assert_true(tw_clock_now_ns() < until);
        (void)poll(fds, (nfds_t)tw_ui_job_fds(j, fds), 20);
        assert_false(tw_ui_job_pump(j, tw_clock_now_ns()));
    }
}

static void reads_lines(void **state)
{
    tw_ui_job j = {.n_asked = 0};
    tw_ui_lines l;
    (void)state;
    assert_true(tw_ui_lines_init(&l));
    start(&j, &l, 0, "echo out; echo err >&2; printf last; exit 3");
    assert_int_equal(tw_ui_job_exit(&j), -1);
    await(&j);
    assert_int_equal(tw_ui_job_exit(&j), 3);
    assert_int_equal(tw_ui_lines_n(&l), 3);
    assert_string_equal(tw_ui_lines_at(&l, 2), "last");
    tw_ui_job_done(&j, 0);
    tw_ui_lines_done(&l);
}

static void keeps_an_answer(void **state)
{
    tw_ui_job j = {.n_asked = 0};
    (void)state;
    for (int i = 0; i < 2; i++) { /* again, with the same struct */
        start(&j, NULL, 0, "echo '{\"a\":1}'; echo first >&2; echo second >&2; cat; exit 1");
        await(&j);
        assert_string_equal(j.out.data, "{\"a\":1}\n");
        assert_string_equal(j.last, "second");
        assert_int_equal(tw_ui_job_exit(&j), 1);
    }
    tw_ui_job_done(&j, 0);
}

/* The whole group is asked: a shell's own child too. */
static void is_cancelled(void **state)
{
    tw_ui_job j = {.n_asked = 0};
    tw_ui_lines l;
    (void)state;
    assert_true(tw_ui_lines_init(&l));
    start(&j, &l, 0, "sleep 1000 & echo begun; wait");
    await_line(&j, &l);
    const pid_t group = j.group;
    tw_ui_job_cancel(&j, tw_clock_now_ns());
    assert_true(j.was_cancelled);
    tw_ui_job_cancel(&j, tw_clock_now_ns()); /* a background child of sh ignores SIGINT */
    await(&j);
    assert_true(tw_ui_job_exit(&j) > 128);
    tw_ui_job_cancel(&j, tw_clock_now_ns()); /* of one that is over: nothing */
    assert_int_not_equal(group, getpgrp());
    tw_ui_job_done(&j, 0);
    tw_ui_lines_done(&l);
}

static void insists(void **state)
{
    tw_ui_job j = {.n_asked = 0};
    tw_ui_lines l;
    (void)state;
    assert_true(tw_ui_lines_init(&l));
    start(&j, &l, 0, "trap '' INT TERM; echo deaf; while :; do sleep 0.05; done");
    await_line(&j, &l);
    /* Time is the caller's: seconds pass at once. */
    uint64_t now = tw_clock_now_ns();
    tw_ui_job_cancel(&j, now);
    for (int i = 0; i < 2; i++) {
        now += 21 * TW_NS_PER_S;
        (void)tw_ui_job_pump(&j, now);
    }
    assert_int_equal(j.n_asked, 3);
    await(&j);
    assert_int_equal(tw_ui_job_exit(&j), 128 + SIGKILL);
    tw_ui_job_done(&j, 0);
    tw_ui_lines_done(&l);
}

static void has_a_limit(void **state)
{
    tw_ui_job j = {.n_asked = 0};
    (void)state;
    start(&j, NULL, TW_NS_PER_S, "exec sleep 1000");
    assert_false(tw_ui_job_pump(&j, j.began_ns + TW_NS_PER_S / 2));
    (void)tw_ui_job_pump(&j, j.began_ns + 2 * TW_NS_PER_S);
    assert_true(j.is_late && j.n_asked == 1);
    await(&j);
    assert_false(j.was_cancelled);
    tw_ui_job_done(&j, 0);
}

static void done_kills(void **state)
{
    tw_ui_job j = {.n_asked = 0}, none = {.n_asked = 0};
    tw_ui_lines l;
    (void)state;
    assert_true(tw_ui_lines_init(&l));
    start(&j, &l, 0, "trap '' INT TERM; echo deaf; while :; do sleep 0.05; done");
    await_line(&j, &l);
    const pid_t pid = j.child.pid;
    tw_ui_job_done(&j, TW_NS_PER_S / 20);
    assert_int_equal(kill(pid, 0), -1);
    tw_ui_job_done(&none, 0);
    tw_ui_lines_done(&l);
}

static void says_why_not(void **state)
{
    tw_ui_job j = {.n_asked = 0};
    tw_err err = {0};
    tw_ui_command c = tw_ui_command_of("x", NULL);
    (void)state;
    assert_true(tw_ui_job_start(&j, "/no/such/program", &c, NULL, 0, &err) < 0);
    assert_non_null(strstr(err.msg, "/no/such/program"));
    assert_false(j.is_running);
    c.is_cut = true;
    assert_true(tw_ui_job_start(&j, "/bin/sh", &c, NULL, 0, &err) < 0);
    tw_ui_job_done(&j, 0);
}

/* A turn's time is taken before what it starts begins. */
static void is_younger_than_its_turn(void **state)
{
    const uint64_t turn_ns = tw_clock_now_ns();
    tw_ui_job j = {.n_asked = 0};
    tw_ui_lines l;
    (void)state;
    assert_true(tw_ui_lines_init(&l));
    start(&j, &l, 30 * TW_NS_PER_S, "echo there; exec sleep 30");
    assert_int_equal(tw_ui_job_age_s(&j, turn_ns), 0);
    assert_int_equal(tw_ui_job_age_s(&j, j.began_ns + 2 * TW_NS_PER_S), 2);
    assert_false(tw_ui_job_pump(&j, turn_ns) && j.is_late);
    assert_false(j.is_late); /* not asked to end at once */
    tw_ui_job_done(&j, 5 * TW_NS_PER_S);
    tw_ui_lines_done(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_lines),  cmocka_unit_test(keeps_an_answer),
        cmocka_unit_test(is_cancelled), cmocka_unit_test(insists),
        cmocka_unit_test(has_a_limit),  cmocka_unit_test(is_younger_than_its_turn),
        cmocka_unit_test(done_kills),   cmocka_unit_test(says_why_not)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
