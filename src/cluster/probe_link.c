/* SPDX-License-Identifier: Apache-2.0 */
/* The same measurements over a link of ours, as ranks use it: RDMA, or TCP to try the code. Both
 * ends make the link at the same time out of connection 1, whose bytes nobody has used yet. */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/scope.h"
#include "cluster/probe_inside.h"
#include "link/verbs.h"
#include "os/fd.h"

enum { LINK_OP = 1, LOOKS_A_CLOCK = 64, SLEEP_SLICE_MS = 50 };
#define MESSAGE_BYTES ((size_t)1 << 20)
#define MEET_LIMIT_NS (10 * TW_NS_PER_S)
#define STALL_NS      (PROBE_STALL_LIMIT_S * TW_NS_PER_S)

int tw_probe_link_make(probe_pair *p, enum tw_probe_link_kind kind, unsigned side, tw_err *err)
{
    int fd = p->n_fds > 1 ? tw_fd_steal(&p->fds[1]) : -1;
    if (fd < 0 || p->link != NULL)
        return tw_err_set(err, -EPROTO, "no fresh connection to make a link of");
    uint8_t us = (uint8_t)side, them = (uint8_t)(1 - side);
    if (kind == TW_PROBE_LINK_TCP)
        return tw_link_tcp_new(fd, us, them, false, &p->link, err);
    tw_link_verbs_opts opts = {.deadline_ns = tw_clock_now_ns() + MEET_LIMIT_NS};
    int rc = tw_link_verbs_new(fd, us, them, false, &opts, &p->link, err);
    if (rc == -EOPNOTSUPP)
        p->fds[1] = fd;
    return rc;
}

static void sleep_on(tw_link *l)
{
    struct pollfd pfd;
    if (!l->ops->arm(l, &pfd))
        return;
    int n = poll(&pfd, 1, SLEEP_SLICE_MS);
    l->ops->disarm(l, n > 0 ? pfd.revents : 0);
}

typedef struct link_wait {
    enum tw_probe_wait wait;
    unsigned n_looks;
    uint64_t since_ns;
} link_wait;

/* One turn: moves what can be moved, else waits in its way. */
static int turn(probe_pair *p, link_wait *w, tw_err *err)
{
    int rc = tw_link_poll(p->link, err);
    if (rc != 0) {
        w->since_ns = 0;
        return rc < 0 ? rc : 0;
    }
    if (w->wait == TW_PROBE_SLEEP)
        sleep_on(p->link);
    else if (++w->n_looks % LOOKS_A_CLOCK != 0)
        return 0;
    uint64_t now = tw_clock_now_ns();
    w->since_ns = w->since_ns != 0 ? w->since_ns : now;
    if (tw_probe_stopped(&p->stop))
        return tw_err_set(err, -ECANCELED, "stopped");
    if (now - w->since_ns > STALL_NS)
        return tw_err_set(err, -ETIMEDOUT, "%s: nothing moved for %d s", p->link->who,
                          PROBE_STALL_LIMIT_S);
    if (w->wait == TW_PROBE_SPIN && now - w->since_ns > 10 * TW_NS_PER_US)
        sched_yield(); /* the other end may be on this very core */
    return 0;
}

static int finish(probe_pair *p, link_wait *w, bool rx, tw_err *err)
{
    int rc = 0;
    while (rc == 0 && !(rx ? tw_link_rx_idle(p->link) : tw_link_tx_idle(p->link)))
        rc = turn(p, w, err);
    return rc;
}

int tw_probe_link_send(probe_pair *p, uint32_t bytes, enum tw_probe_wait wait, tw_err *err)
{
    link_wait w = {.wait = wait};
    tw_link_send(p->link, LINK_OP, p->buf, bytes);
    return finish(p, &w, false, err);
}

int tw_probe_link_recv(probe_pair *p, uint32_t bytes, enum tw_probe_wait wait, tw_err *err)
{
    link_wait w = {.wait = wait};
    tw_link_recv(p->link, LINK_OP, p->buf, bytes, true);
    return finish(p, &w, true, err);
}

/* What one end of a flood knows. The receiving window is from the end of the first message to the
 * end of the last but one, which is the last that was sent at full speed. */
typedef struct link_flood {
    uint8_t *tx, *rx; /* [MESSAGE_BYTES] */
    uint64_t until_ns, first_ns, last_ns, n_rx;
    bool sends, receives; /* still */
} link_flood;

static void start_next(probe_pair *p, link_flood *f)
{
    if (f->sends && tw_link_tx_idle(p->link)) {
        f->tx[0] = tw_clock_now_ns() >= f->until_ns;
        f->sends = f->tx[0] == 0;
        tw_link_send(p->link, LINK_OP, f->tx, MESSAGE_BYTES);
        p->moved_bytes += MESSAGE_BYTES;
    }
}

static void take_message(probe_pair *p, link_flood *f)
{
    if (!f->receives || !tw_link_rx_idle(p->link))
        return;
    uint64_t now = tw_clock_now_ns();
    p->moved_bytes += MESSAGE_BYTES;
    f->receives = f->rx[0] == 0;
    if (f->n_rx == 0)
        f->first_ns = now;
    if (f->receives || f->n_rx == 0)
        f->last_ns = now;
    f->n_rx += f->receives;
    if (f->receives)
        tw_link_recv(p->link, LINK_OP, f->rx, MESSAGE_BYTES, true);
}

int tw_probe_link_flood(probe_pair *p, bool send, bool receive, uint64_t ns, uint64_t *ret_bytes,
                        uint64_t *ret_ns, tw_err *err)
{
    _Static_assert(2 * ((size_t)1 << 20) <= TW_PROBE_BYTES_MAX, "both ways fit the buffer");
    link_flood f = {.tx = p->buf,
                    .rx = p->buf + MESSAGE_BYTES,
                    .until_ns = tw_clock_now_ns() + ns,
                    .sends = send,
                    .receives = receive};
    link_wait w = {.wait = TW_PROBE_SPIN};
    int rc = 0;
    if (receive)
        tw_link_recv(p->link, LINK_OP, f.rx, MESSAGE_BYTES, true);
    while (rc == 0 && (f.sends || f.receives || !tw_link_tx_idle(p->link))) {
        start_next(p, &f);
        rc = turn(p, &w, err);
        take_message(p, &f);
    }
    *ret_bytes = f.n_rx > 1 ? (f.n_rx - 1) * MESSAGE_BYTES : 0;
    *ret_ns = f.last_ns - f.first_ns;
    return rc;
}
