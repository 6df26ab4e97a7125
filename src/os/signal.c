/* SPDX-License-Identifier: Apache-2.0 */
#include "os/signal.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Both are lock-free, hence allowed in a handler. */
static atomic_bool g_asked;
static _Atomic int g_fd = -1;

static void note_signal(int sig)
{
    (void)sig;
    int errno_kept = errno;
    atomic_store(&g_asked, true);
    int fd = atomic_load(&g_fd);
    uint64_t one = 1;
    if (fd >= 0) {
        ssize_t n = write(fd, &one, sizeof(one));
        (void)n; /* full means readable already */
    }
    errno = errno_kept;
}

void tw_signal_init(void)
{
    if (atomic_load(&g_fd) < 0)
        atomic_store(&g_fd, eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));

    struct sigaction note = {.sa_handler = note_signal, .sa_flags = SA_RESTART};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigfillset(&note.sa_mask);
    sigaction(SIGINT, &note, NULL);
    sigaction(SIGTERM, &note, NULL);
    sigaction(SIGPIPE, &ignore, NULL);

    sigset_t wanted; /* a parent may have left them blocked */
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGINT);
    sigaddset(&wanted, SIGTERM);
    pthread_sigmask(SIG_UNBLOCK, &wanted, NULL);
}

bool tw_signal_asked_to_stop(void)
{
    return atomic_load_explicit(&g_asked, memory_order_relaxed);
}

bool tw_signal_take(void)
{
    const int fd = atomic_load(&g_fd);
    uint64_t count;
    if (fd >= 0) {
        ssize_t n = read(fd, &count, sizeof(count));
        (void)n; /* nothing to read: nobody asked */
    }
    return atomic_exchange(&g_asked, false);
}

int tw_signal_fd(void)
{
    return atomic_load(&g_fd);
}
