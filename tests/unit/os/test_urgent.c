/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "os/urgent.h"

static void *begin(void *ret)
{
    *(enum tw_urgent *)ret = tw_urgent_begin();
    const int policy = sched_getscheduler(0);
    if (*(enum tw_urgent *)ret == TW_URGENT_REALTIME && (policy & ~SCHED_RESET_ON_FORK) != SCHED_RR)
        return "not real time";
    if (*(enum tw_urgent *)ret == TW_URGENT_NICE && getpriority(PRIO_PROCESS, (id_t)gettid()) >= 0)
        return "not before the others";
    return NULL;
}

/* It gets what it may have; the other threads stay what they are. */
static void test_begin(void **state)
{
    pthread_t t;
    enum tw_urgent got = TW_URGENT_NONE;
    void *wrong = NULL;
    (void)state;
    assert_int_equal(pthread_create(&t, NULL, begin, &got), 0);
    assert_int_equal(pthread_join(t, &wrong), 0);
    if (wrong != NULL)
        fail_msg("%s", (const char *)wrong);
    printf("# got %d\n", (int)got);
    assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), getpriority(PRIO_PROCESS, (id_t)gettid()));
}

/* Who may nothing gets nothing, and goes on. */
static void test_unprivileged(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        printf("# skipped: root is wanted to become nobody\n");
        return;
    }
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        const struct rlimit none = {0, 0};
        (void)setrlimit(RLIMIT_RTPRIO, &none);
        (void)setrlimit(RLIMIT_NICE, &none);
        (void)setrlimit(RLIMIT_MEMLOCK, &none);
        _exit(setuid(65534) != 0 ? 9 : (int)tw_urgent_begin());
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, TW_URGENT_NONE << 8);
}

static void test_lock(void **state)
{
    pthread_mutex_t m;
    (void)state;
    tw_urgent_lock_init(&m);
    assert_int_equal(pthread_mutex_lock(&m), 0);
    assert_int_equal(pthread_mutex_trylock(&m), EBUSY);
    assert_int_equal(pthread_mutex_unlock(&m), 0);
    assert_int_equal(pthread_mutex_destroy(&m), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_begin),
        cmocka_unit_test(test_unprivileged),
        cmocka_unit_test(test_lock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
