/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "os/futex.h"

enum { N_TURNS = 2000 };

/* Two players take turns at one word; who has not the turn sleeps. A lost wake hangs the test. */
static void play(_Atomic uint32_t *turn, uint32_t parity, bool shared)
{
    for (uint32_t i = parity; i < 2 * N_TURNS; i += 2) {
        for (uint32_t seen; (seen = atomic_load(turn)) != i;)
            tw_futex_wait(turn, seen, UINT64_MAX, shared);
        atomic_store(turn, i + 1);
        tw_futex_wake(turn, 1, shared);
    }
}

static void *play_second(void *turn)
{
    play(turn, 1, false);
    return NULL;
}

static void test_between_threads(void **state)
{
    (void)state;
    static _Atomic uint32_t turn;
    pthread_t other;
    assert_int_equal(pthread_create(&other, NULL, play_second, &turn), 0);
    play(&turn, 0, false);
    pthread_join(other, NULL);
    assert_int_equal(atomic_load(&turn), 2 * N_TURNS);
}

static void test_between_processes(void **state)
{
    (void)state;
    _Atomic uint32_t *turn =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(turn, MAP_FAILED);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        play(turn, 1, true);
        _exit(0);
    }
    play(turn, 0, true);
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(atomic_load(turn), 2 * N_TURNS);
    munmap(turn, 4096);
}

static void test_returns_when_changed(void **state)
{
    (void)state;
    _Atomic uint32_t w = 5;
    errno = EBUSY;
    tw_futex_wait(&w, 4, UINT64_MAX, false); /* would hang */
    assert_int_equal(errno, EBUSY);
}

static void test_timeout(void **state)
{
    (void)state;
    _Atomic uint32_t w = 5;
    uint64_t end = tw_clock_now_ns() + 20 * TW_NS_PER_MS;
    unsigned n_waits = 0;
    for (uint64_t now; (now = tw_clock_now_ns()) < end; n_waits++)
        tw_futex_wait(&w, 5, end - now, false);
    assert_in_range(n_waits, 0, 100); /* it sleeps, it does not spin */
    tw_futex_wait(&w, 5, 0, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_between_threads),
        cmocka_unit_test(test_between_processes),
        cmocka_unit_test(test_returns_when_changed),
        cmocka_unit_test(test_timeout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
