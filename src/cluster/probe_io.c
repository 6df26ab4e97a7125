/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cluster/probe_inside.h"
#include "os/fd.h"

enum { SPINS_A_LOOK = 16, SLEEP_SLICE_MS = 100 };
#define YIELD_AFTER_NS (10 * TW_NS_PER_US)

bool tw_probe_stopped(const tw_probe_stop *s)
{
    return s->asked != NULL && s->asked(s->ctx);
}

int tw_probe_pair_init(probe_pair *p, tw_probe_stop stop, tw_err *err)
{
    *p = (probe_pair){.stop = stop, .buf = tw_mem_calloc(1, TW_PROBE_BYTES_MAX)};
    for (unsigned i = 0; i < TW_ARRAY_LEN(p->fds); i++)
        p->fds[i] = -1;
    return p->buf != NULL ? 0 : tw_err_set(err, -ENOMEM, "no memory to measure with");
}

void tw_probe_pair_done(probe_pair *p)
{
    tw_link_close(p->link);
    p->link = NULL;
    for (unsigned i = 0; i < TW_ARRAY_LEN(p->fds); i++)
        tw_fd_closep(&p->fds[i]);
    tw_mem_free(p->buf);
    p->buf = NULL;
}

int tw_probe_fail(int rc, const char *doing, tw_err *err)
{
    if (rc == -ECANCELED)
        return tw_err_set(err, rc, "stopped while %s", doing);
    if (rc == -ETIMEDOUT)
        return tw_err_set(err, rc, "nothing moved for %d s while %s: packets are lost on this path",
                          PROBE_STALL_LIMIT_S, doing);
    if (rc == -ECONNRESET)
        return tw_err_set(err, rc, "the other end closed the connection while %s", doing);
    return tw_err_set(err, rc, "%s: %s", doing, strerror(-rc));
}

/* One look at what is to be done when nothing moved. */
static int wait_to_move(int fd, short events, enum tw_probe_wait wait, uint64_t since_ns,
                        const tw_probe_stop *stop)
{
    if (wait == TW_PROBE_SLEEP) {
        struct pollfd pfd = {.fd = fd, .events = events};
        if (poll(&pfd, 1, SLEEP_SLICE_MS) > 0)
            return 0;
    }
    uint64_t now = tw_clock_now_ns();
    if (tw_probe_stopped(stop))
        return -ECANCELED;
    if (now - since_ns > PROBE_STALL_LIMIT_S * TW_NS_PER_S)
        return -ETIMEDOUT;
    if (wait == TW_PROBE_SPIN && now - since_ns > YIELD_AFTER_NS)
        sched_yield(); /* the other end may be on this very core */
    return 0;
}

static int after_error(int fd, short events, enum tw_probe_wait wait, unsigned *n_spins,
                       uint64_t *since_ns, const tw_probe_stop *stop)
{
    if (errno == EINTR)
        return 0;
    if (errno != EAGAIN)
        return errno == EPIPE ? -ECONNRESET : -errno;
    if (*since_ns == 0)
        *since_ns = tw_clock_now_ns();
    if (wait == TW_PROBE_SPIN && ++*n_spins % SPINS_A_LOOK != 0) {
        tw_cpu_relax();
        return 0;
    }
    return wait_to_move(fd, events, wait, *since_ns, stop);
}

int tw_probe_send(int fd, const void *p, size_t n, enum tw_probe_wait wait,
                  const tw_probe_stop *stop)
{
    const char *at = p;
    unsigned n_spins = 0;
    uint64_t since_ns = 0;
    while (n > 0) {
        ssize_t got = send(fd, at, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (got >= 0) {
            at += got;
            n -= (size_t)got;
            since_ns = 0;
            continue;
        }
        int rc = after_error(fd, POLLOUT, wait, &n_spins, &since_ns, stop);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int tw_probe_recv(int fd, void *p, size_t n, enum tw_probe_wait wait, const tw_probe_stop *stop)
{
    char *at = p;
    unsigned n_spins = 0;
    uint64_t since_ns = 0;
    while (n > 0) {
        ssize_t got = recv(fd, at, n, MSG_DONTWAIT);
        if (got == 0)
            return -ECONNRESET;
        if (got > 0) {
            at += got;
            n -= (size_t)got;
            since_ns = 0;
            continue;
        }
        int rc = after_error(fd, POLLIN, wait, &n_spins, &since_ns, stop);
        if (rc != 0)
            return rc;
    }
    return 0;
}
