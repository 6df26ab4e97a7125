/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/signal.h"

/* Signals are the process's: every test has a process of its own. Its exit status is the number of
 * the first check that failed, 0 when all were good. */
#define CHECK(n, x)                                                                                \
    do {                                                                                           \
        if (!(x))                                                                                  \
            _exit(n);                                                                              \
    } while (0)

static int run_apart(void (*fn)(int), int sig)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        fn(sig);
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static bool is_readable(int timeout_ms)
{
    struct pollfd p = {.fd = tw_signal_fd(), .events = POLLIN};
    return poll(&p, 1, timeout_ms) == 1;
}

static void ask_to_stop(int sig)
{
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, sig);
    sigprocmask(SIG_BLOCK, &blocked, NULL); /* as a careless parent leaves it */
    tw_signal_init();
    tw_signal_init();
    CHECK(1, !tw_signal_asked_to_stop());
    CHECK(2, tw_signal_fd() >= 0);
    CHECK(3, !is_readable(0));
    raise(sig);
    CHECK(4, tw_signal_asked_to_stop());
    CHECK(5, is_readable(10000));
    for (int i = 0; i < 100; i++)
        raise(sig);
    CHECK(6, is_readable(10000)); /* and it stays readable */
    CHECK(7, tw_signal_take() && !tw_signal_take());
    CHECK(8, !tw_signal_asked_to_stop() && !is_readable(0));
    raise(sig); /* a second one counts again */
    CHECK(9, tw_signal_asked_to_stop() && is_readable(10000));
}

static void test_asked_to_stop(void **state)
{
    (void)state;
    assert_int_equal(run_apart(ask_to_stop, SIGINT), 0);
    assert_int_equal(run_apart(ask_to_stop, SIGTERM), 0);
}

static void write_to_nobody(int sig)
{
    (void)sig;
    int fds[2];
    tw_signal_init();
    CHECK(1, pipe(fds) == 0);
    close(fds[0]);
    CHECK(2, write(fds[1], "x", 1) == -1 && errno == EPIPE);
    CHECK(3, !tw_signal_asked_to_stop());
}

static void test_sigpipe(void **state)
{
    (void)state;
    assert_int_equal(run_apart(write_to_nobody, 0), 0);
}

/* A poll on the fd alone wakes when another process sends the signal. */
static void wait_for_it(int sig)
{
    (void)sig;
    pid_t parent = getpid();
    tw_signal_init();
    pid_t pid = fork();
    if (pid == 0) {
        kill(parent, SIGTERM);
        _exit(0);
    }
    int n;
    struct pollfd p = {.fd = tw_signal_fd(), .events = POLLIN};
    do
        n = poll(&p, 1, 60000);
    while (n < 0 && errno == EINTR);
    CHECK(1, n == 1);
    CHECK(2, tw_signal_asked_to_stop());
    waitpid(pid, NULL, 0);
}

static void test_poll_wakes(void **state)
{
    (void)state;
    assert_int_equal(run_apart(wait_for_it, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_asked_to_stop),
        cmocka_unit_test(test_sigpipe),
        cmocka_unit_test(test_poll_wakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
