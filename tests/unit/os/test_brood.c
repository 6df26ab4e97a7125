/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that are never where one has just looked. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "os/brood.h"

enum { RUNNERS = 4, LOOKS = 20 };
#define RUN_NS   (3 * TW_NS_PER_S)
#define GRACE_NS (50 * TW_NS_PER_MS)

/* Each generation begins the next one and ends. */
static void run_away(uint64_t until)
{
    signal(SIGTERM, SIG_IGN);
    while (tw_clock_now_ns() < until)
        if (fork() != 0)
            _exit(0);
}

/* In a process of its own: it takes in orphans. 0: all was good. */
static int try_to_end(void)
{
    const uint64_t until = tw_clock_now_ns() + RUN_NS;
    tw_err err = {0};
    if (tw_brood_begin(&err) != 0)
        return 1;
    for (unsigned i = 0; i < RUNNERS; i++)
        if (fork() == 0) {
            run_away(until);
            _exit(0);
        }
    const bool ended = tw_brood_end(GRACE_NS);
    for (unsigned i = 0; ended && i < LOOKS; i++)
        if (tw_brood_count() != 0)
            return 2;
    return 0; /* not ended is no lie */
}

static void test_none_is_left_when_it_says_so(void **state)
{
    int status = -1;
    (void)state;
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0)
        _exit(try_to_end());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_none_is_left_when_it_says_so)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
