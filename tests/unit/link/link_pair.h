/* SPDX-License-Identifier: Apache-2.0 */
/* Two ends of any link in one thread; cmocka.h comes first. */
#ifndef TWINAX_TESTS_LINK_PAIR_H
#define TWINAX_TESTS_LINK_PAIR_H

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "base/clock.h"
#include "link/link.h"
#include "os/sock.h"

static inline void pair_sockets(int fds[2])
{
    int l = -1;
    uint16_t port = 0;
    tw_err err = {0};
    assert_int_equal(tw_sock_listen("127.0.0.1", 0, &l, &port, &err), 0);
    assert_int_equal(tw_sock_connect("127.0.0.1", port, NULL, TW_NEVER_NS, &fds[1], &err), 0);
    struct pollfd p = {.fd = l, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 10000), 1);
    assert_int_equal(tw_sock_accept(l, &fds[0]), 0);
    close(l);
}

/* Polls both ends until all is idle or one fails; *err is then filled. */
static inline int pair_carry(tw_link *l[2], tw_err *err)
{
    uint64_t until = tw_clock_now_ns() + 60 * TW_NS_PER_S;
    while (tw_clock_now_ns() < until) {
        bool busy = false;
        for (int i = 0; i < 2; i++) {
            int rc = tw_link_poll(l[i], err);
            if (rc < 0)
                return rc;
            busy |= !tw_link_tx_idle(l[i]) || !tw_link_rx_idle(l[i]);
        }
        if (!busy)
            return 0;
    }
    return tw_err_set(err, -ETIMEDOUT, "nothing moves");
}

/* One end that sleeps until a message wakes it. */
typedef struct sleeper {
    tw_link *l;
    uint8_t in[100];
    int rc;
    unsigned n_sleeps;
    unsigned n_unwoken; /* slept to the end of a limit that a message never needs */
    tw_err err;
} sleeper;

static inline void *sleep_for_message(void *arg)
{
    sleeper *s = arg;
    tw_link_recv(s->l, 1, s->in, sizeof s->in, true);
    while ((s->rc = tw_link_poll(s->l, &s->err)) >= 0 && !tw_link_rx_idle(s->l)) {
        struct pollfd p;
        if (!s->l->ops->arm(s->l, &p))
            continue;
        s->n_sleeps++;
        int n = poll(&p, 1, 30000);
        s->n_unwoken += n == 0;
        s->l->ops->disarm(s->l, n > 0 ? p.revents : 0);
    }
    return NULL;
}

#endif
