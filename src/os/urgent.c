/* SPDX-License-Identifier: Apache-2.0 */
#include "os/urgent.h"

#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/scope.h"

enum { STACK_BYTES = 32 * 1024, NICE_WANTED = -15 };

/* What it will use of its stack is there and stays: under memory pressure a page would have to be
 * waited for. The stack ends with the thread, and the lock with it. */
static void __attribute__((noinline)) hold_stack(void)
{
    unsigned char room[STACK_BYTES];
    memset(room, 0, sizeof room);
    __asm__ volatile("" : : "r"(room) : "memory"); /* it is written to */
    (void)mlock(room, sizeof room);
}

enum tw_urgent tw_urgent_begin(void)
{
    const struct sched_param lowest = {.sched_priority = 1};
    const id_t self = (id_t)gettid();
    hold_stack();
    if (sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &lowest) == 0)
        return TW_URGENT_REALTIME;
    struct rlimit r = {0, 0};
    (void)getrlimit(RLIMIT_NICE, &r);
    const int allowed = 20 - (int)TW_MIN(r.rlim_cur, (rlim_t)40);
    const int wanted = TW_MAX(allowed, (int)NICE_WANTED);
    if (wanted < getpriority(PRIO_PROCESS, self) && setpriority(PRIO_PROCESS, self, wanted) == 0)
        return TW_URGENT_NICE;
    return TW_URGENT_NONE;
}

void tw_urgent_lock_init(pthread_mutex_t *m)
{
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    (void)pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
    if (pthread_mutex_init(m, &attr) != 0) /* a kernel without such locks */
        (void)pthread_mutex_init(m, NULL);
    pthread_mutexattr_destroy(&attr);
}
