/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/remote_beat.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cluster/agent_life.h"
#include "fmt/agent_frame.h"
#include "os/fd.h"
#include "os/signal.h"
#include "os/urgent.h"

enum { SLICE_MS = 100 };

void tw_remote_beat_init(tw_remote_beat *b, int fd)
{
    const int flags = fcntl(fd, F_GETFL);
    if (flags >= 0)
        (void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    *b = (tw_remote_beat){.fd = fd, .poke_fd = -1};
    tw_urgent_lock_init(&b->lock);
}

/* A beat goes whole into a pipe, or not at all when nobody reads. A socket that takes half of one
 * is full: its frames would make no sense from then on, and the silence ends it. */
static bool beat_once(tw_remote_beat *b)
{
    if (pthread_mutex_trylock(&b->lock) != 0)
        return true; /* a frame is under way: it says the same */
    const ssize_t n = write(b->fd, tw_agent_beat, TW_AGENT_BEAT_BYTES);
    pthread_mutex_unlock(&b->lock);
    return n == TW_AGENT_BEAT_BYTES || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static void *run_beats(void *arg)
{
    tw_remote_beat *b = arg;
    struct pollfd pfd = {.fd = b->poke_fd, .events = POLLIN};
    (void)tw_urgent_begin();
    while (beat_once(b) && poll(&pfd, 1, (int)(TW_BEAT_NS / TW_NS_PER_MS)) <= 0)
        continue;
    return NULL;
}

int tw_remote_beat_start(tw_remote_beat *b, tw_err *err)
{
    sigset_t all, before; /* signals belong to the main thread */
    b->poke_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (b->poke_fd < 0)
        return tw_err_set(err, -errno, "eventfd: %s", strerror(errno));
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int rc = -pthread_create(&b->thread, NULL, run_beats, b);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    b->has_thread = rc == 0;
    return rc == 0 ? 0 : tw_err_set(err, rc, "no thread for heartbeats: %s", strerror(-rc));
}

void tw_remote_beat_done(tw_remote_beat *b)
{
    uint64_t one = 1;
    if (b->has_thread) {
        (void)!write(b->poke_fd, &one, sizeof one);
        pthread_join(b->thread, NULL);
    }
    b->has_thread = false;
    tw_fd_closep(&b->poke_fd);
    pthread_mutex_destroy(&b->lock);
}

int tw_remote_beat_send(tw_remote_beat *b, const char *p, size_t n, uint64_t deadline_ns)
{
    int rc = 0;
    pthread_mutex_lock(&b->lock);
    while (n > 0 && rc == 0) {
        const ssize_t got = write(b->fd, p, n);
        if (got < 0 && errno == EAGAIN) {
            struct pollfd pfd = {.fd = b->fd, .events = POLLOUT};
            (void)poll(&pfd, 1, SLICE_MS);
            rc = tw_signal_asked_to_stop()         ? -ECANCELED
                 : tw_clock_now_ns() > deadline_ns ? -ETIMEDOUT
                                                   : 0;
        } else if (got < 0 && errno != EINTR) {
            rc = -EPIPE;
        }
        p += got > 0 ? got : 0;
        n -= got > 0 ? (size_t)got : 0;
    }
    pthread_mutex_unlock(&b->lock);
    return rc;
}
