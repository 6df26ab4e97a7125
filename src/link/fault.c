/* SPDX-License-Identifier: Apache-2.0 */
#include "link/fault.h"

#include <errno.h>

#include "base/mem.h"
#include "base/scope.h"

typedef struct fault_link {
    tw_link l;
    tw_link *inner;
    tw_link_fault fault;
    uint64_t n_read;
} fault_link;

static fault_link *fault_of(tw_link *l)
{
    return (fault_link *)l; /* first member */
}

static ssize_t fault_write(tw_link *l, const struct iovec *iov, int n_iov)
{
    tw_link *inner = fault_of(l)->inner;
    return inner->ops->write(inner, iov, n_iov);
}

/* Byte i of what was just read. */
static uint8_t *byte_of(const struct iovec *iov, uint64_t i)
{
    while (i >= iov->iov_len) {
        i -= iov->iov_len;
        iov++;
    }
    return (uint8_t *)iov->iov_base + i;
}

static ssize_t fault_read(tw_link *l, const struct iovec *iov, int n_iov)
{
    fault_link *f = fault_of(l);
    struct iovec cut[2];
    uint64_t left = f->fault.cut_rx_at - f->n_read;
    if (f->fault.delay_rx > 0) {
        f->fault.delay_rx--;
        return 0;
    }
    if (left == 0)
        return -ECONNRESET;
    for (int i = 0; i < n_iov; i++) {
        cut[i] = (struct iovec){iov[i].iov_base, (size_t)TW_MIN(left, iov[i].iov_len)};
        left -= cut[i].iov_len;
    }
    ssize_t n = f->inner->ops->read(f->inner, cut, n_iov);
    if (n <= 0)
        return n;
    uint64_t at = f->fault.flip_rx_at;
    if (at >= f->n_read && at - f->n_read < (uint64_t)n)
        *byte_of(cut, at - f->n_read) ^= 0x10;
    f->n_read += (uint64_t)n;
    return n;
}

static bool fault_arm(tw_link *l, struct pollfd *ret)
{
    fault_link *f = fault_of(l);
    f->inner->tx.busy = l->tx.busy;
    f->inner->rx.busy = l->rx.busy;
    f->inner->rx.stalled = l->rx.stalled;
    return f->fault.delay_rx == 0 && f->inner->ops->arm(f->inner, ret);
}

static void fault_disarm(tw_link *l, short revents)
{
    tw_link *inner = fault_of(l)->inner;
    inner->ops->disarm(inner, revents);
}

static void fault_close(tw_link *l)
{
    tw_link_close(fault_of(l)->inner);
    tw_mem_free(l);
}

static const tw_link_ops fault_ops = {.name = "fault",
                                      .write = fault_write,
                                      .read = fault_read,
                                      .arm = fault_arm,
                                      .disarm = fault_disarm,
                                      .close = fault_close};

int tw_link_fault_new(tw_link *inner, const tw_link_fault *fault, tw_link **ret, tw_err *err)
{
    fault_link *f = tw_mem_calloc(1, sizeof *f);
    if (f == NULL) {
        tw_link_close(inner);
        return tw_err_set(err, -ENOMEM, "no memory for a link");
    }
    f->inner = inner;
    f->fault = *fault;
    f->l.proof = inner->proof;
    tw_link_init(&f->l, &fault_ops, inner->rank, inner->peer, inner->verify);
    *ret = &f->l;
    return 0;
}
