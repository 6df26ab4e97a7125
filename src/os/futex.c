/* SPDX-License-Identifier: Apache-2.0 */
#include "os/futex.h"

#include <errno.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

void tw_futex_wait(_Atomic uint32_t *w, uint32_t seen, uint64_t timeout_ns, bool shared)
{
    int errno_kept = errno;
    struct timespec ts = {.tv_sec = (time_t)(timeout_ns / TW_NS_PER_S),
                          .tv_nsec = (int)(timeout_ns % TW_NS_PER_S)};
    (void)syscall(SYS_futex, w, shared ? FUTEX_WAIT : FUTEX_WAIT_PRIVATE, seen,
                  timeout_ns == UINT64_MAX ? NULL : &ts, NULL, 0);
    errno = errno_kept;
}

void tw_futex_wake(_Atomic uint32_t *w, int n, bool shared)
{
    int errno_kept = errno;
    (void)syscall(SYS_futex, w, shared ? FUTEX_WAKE : FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
    errno = errno_kept;
}
