/* SPDX-License-Identifier: Apache-2.0 */
/* Messages over a transport's byte streams: header, order, checks, counters. */
#include "link/link.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "link/crc32c.h"

enum { HEAD = TW_FRAME_DATA_BYTES, CRC_HEAD = 24 };

void tw_link_init(tw_link *l, const tw_link_ops *ops, uint8_t rank, uint8_t peer, bool verify)
{
    l->ops = ops;
    l->rank = rank;
    l->peer = peer;
    l->verify = verify;
    snprintf(l->who, sizeof l->who, "rank %u (%s %s)", peer, ops->name, l->proof.peer);
}

void tw_link_close(tw_link *l)
{
    if (l != NULL)
        l->ops->close(l);
}

void tw_link_refuse(tw_link *l, const char *transport, const char *reason)
{
    if (l->n_refused == TW_LINK_REFUSALS_MAX)
        return;
    tw_link_refusal *r = &l->refused[l->n_refused++];
    snprintf(r->transport, sizeof r->transport, "%s", transport);
    snprintf(r->reason, sizeof r->reason, "%s", reason);
}

static const char *op_name(const tw_link *l, uint8_t op)
{
    const char *name = l->op_name != NULL ? l->op_name(op) : NULL;
    return name != NULL ? name : "unknown operation";
}

static uint32_t message_crc(const uint8_t head[HEAD], const void *p, size_t n)
{
    return tw_crc32c(tw_crc32c(0, head, CRC_HEAD), p, n);
}

void tw_link_send(tw_link *l, uint8_t op, const void *p, size_t bytes)
{
    assert(!l->tx.busy);
    tw_frame_data f = {.op = op,
                       .from = l->rank,
                       .flags = l->verify ? TW_FRAME_CRC : 0,
                       .seq = l->tx_seq,
                       .bytes = bytes};
    tw_frame_data_encode(&f, l->tx.head);
    if (l->verify) {
        f.crc = message_crc(l->tx.head, p, bytes);
        tw_frame_data_encode(&f, l->tx.head);
    }
    l->tx.p = p;
    l->tx.bytes = bytes;
    l->tx.done = 0;
    l->tx.lead = SIZE_MAX;
    l->tx.busy = true;
}

void tw_link_send_paced(tw_link *l, uint8_t op, const void *p, size_t bytes)
{
    tw_link_send(l, op, p, bytes);
    if (bytes >= TW_LINK_LEAD_MIN && l->ops->lead != NULL)
        l->tx.lead = l->ops->lead(l);
}

void tw_link_recv(tw_link *l, uint8_t op, void *p, size_t bytes, bool exact)
{
    assert(!l->rx.busy);
    l->rx.p = p;
    l->rx.bytes = bytes;
    l->rx.done = 0;
    l->rx.op = op;
    l->rx.exact = exact;
    l->rx.checked = false;
    l->rx.sink = NULL;
    l->rx.stalled = false;
    l->rx.busy = true;
}

void tw_link_recv_sink(tw_link *l, uint8_t op, size_t bytes, void *p, size_t room,
                       tw_link_sink_fn *sink, void *ctx)
{
    assert(!l->verify);
    tw_link_recv(l, op, p, bytes, true);
    l->rx.sink = sink;
    l->rx.sink_ctx = ctx;
    l->rx.room = room;
    l->rx.lo = l->rx.hi = l->rx.eaten = 0;
}

size_t tw_link_tx_done(const tw_link *l)
{
    return l->tx.done > HEAD ? l->tx.done - HEAD : 0;
}

size_t tw_link_rx_done(const tw_link *l)
{
    if (!l->rx.checked || (l->verify && l->rx.busy))
        return 0;
    return l->rx.done - HEAD;
}

static int fail_move(const tw_link *l, ssize_t rc, tw_err *err)
{
    if (l->ops->explain != NULL)
        return l->ops->explain(l, (int)rc, err);
    if (rc == -ECONNRESET || rc == -EPIPE)
        return tw_err_set(err, -ECONNRESET, "%s closed its data connection", l->who);
    return tw_err_set(err, (int)rc, "%s: data connection: %s", l->who, strerror((int)-rc));
}

static int poll_tx(tw_link *l, tw_err *err)
{
    tw_link_tx *t = &l->tx;
    struct iovec iov[2];
    int n = 0;
    if (t->done < HEAD)
        iov[n++] = (struct iovec){t->head + t->done, HEAD - t->done};
    size_t sent = tw_link_tx_done(l);
    const size_t room = tw_link_tx_room(l);
    if (room == 0)
        return 0;
    if (t->bytes > sent) {
        /* iovec is shared with readers and so not const; write only reads from it. */
        iov[n++] = (struct iovec){(void *)(uintptr_t)(t->p + sent), TW_MIN(t->bytes - sent, room)};
    }
    ssize_t rc = l->ops->write(l, iov, n);
    if (rc < 0)
        return fail_move(l, rc, err);
    t->done += (size_t)rc;
    l->tx_bytes += (size_t)rc;
    if (t->done == HEAD + t->bytes) {
        t->busy = false;
        l->tx_seq++;
        l->tx_msgs++;
    }
    return rc > 0;
}

/* The head is complete: is this the message that is expected? */
static int check_head(tw_link *l, tw_err *err)
{
    tw_link_rx *r = &l->rx;
    if (tw_frame_data_decode(r->head, &r->got) != 0)
        return tw_err_set(err, -EPROTO,
                          "%s sent bytes that are no message (where %s, message "
                          "%llu, was expected)",
                          l->who, op_name(l, r->op), (unsigned long long)l->rx_seq);
    const tw_frame_data *g = &r->got;
    bool flags_ok = g->flags == (l->verify ? TW_FRAME_CRC : 0);
    if (g->op != r->op || g->seq != l->rx_seq || g->from != l->peer || !flags_ok ||
        (r->exact && g->bytes != r->bytes))
        return tw_err_set(err, -EPROTO,
                          "%s sent %s of %llu bytes as message %llu (from rank %u, flags %u), "
                          "expected %s of %s%zu bytes as message %llu",
                          l->who, op_name(l, g->op), (unsigned long long)g->bytes,
                          (unsigned long long)g->seq, g->from, g->flags, op_name(l, r->op),
                          r->exact ? "" : "at most ", r->bytes, (unsigned long long)l->rx_seq);
    if (g->bytes > r->bytes)
        return tw_err_set(err, -EMSGSIZE, "%s sent %s of %llu bytes, expected at most %zu", l->who,
                          op_name(l, g->op), (unsigned long long)g->bytes, r->bytes);
    r->checked = true;
    return 0;
}

static int finish_rx(tw_link *l, tw_err *err)
{
    tw_link_rx *r = &l->rx;
    size_t bytes = (size_t)r->got.bytes;
    if (l->verify) {
        uint32_t crc = message_crc(r->head, r->p, bytes);
        if (crc != r->got.crc)
            return tw_err_set(err, -EBADMSG,
                              "%s: checksum of %s, message %llu, %zu bytes: found %08x, wanted "
                              "%08x; the path between the ranks damages data",
                              l->who, op_name(l, r->op), (unsigned long long)l->rx_seq, bytes, crc,
                              r->got.crc);
    }
    r->busy = false;
    l->rx_seq++;
    l->rx_msgs++;
    return 0;
}

/* Offers what has come until the sink takes no more. Moves no byte of the transport unless it can
 * be seen in place. */
static ssize_t feed_sink(tw_link *l)
{
    tw_link_rx *r = &l->rx;
    size_t had = r->eaten, took = 1, there = 0;
    r->stalled = false;
    while (took > 0 && r->lo < r->hi) {
        there = r->hi - r->lo;
        took = r->sink(r->sink_ctx, r->p + r->lo, there);
        r->lo += took;
        r->eaten += took;
    }
    if (r->lo == r->hi)
        r->lo = r->hi = 0;
    while (took > 0 && r->hi == 0 && r->eaten < r->bytes && l->ops->view != NULL) {
        const void *p;
        ssize_t n = l->ops->view(l, &p);
        if (n <= 0)
            return n < 0 ? n : r->eaten > had;
        there = TW_MIN((size_t)n, r->bytes - r->eaten);
        took = r->sink(r->sink_ctx, p, there);
        l->ops->skip(l, took);
        l->rx_bytes += took;
        r->done += took;
        r->eaten += took;
    }
    /* A part of a unit waits for the peer, not for our send. */
    r->stalled = took == 0 && there >= TW_LINK_SINK_UNIT;
    return r->eaten > had;
}

/* Room for more of the payload; what waits is moved to the front when it is at the end. */
static size_t make_room(tw_link_rx *r, uint8_t **ret)
{
    if (r->hi == r->room && r->lo > 0) {
        memmove(r->p, r->p + r->lo, r->hi - r->lo);
        r->hi -= r->lo;
        r->lo = 0;
    }
    *ret = r->p + r->hi;
    return TW_MIN(r->room - r->hi, r->bytes - r->eaten - (r->hi - r->lo));
}

static int poll_sink(tw_link *l, tw_err *err)
{
    tw_link_rx *r = &l->rx;
    struct iovec iov[2];
    int n = 0;
    size_t head = r->done < HEAD ? HEAD - r->done : 0;
    bool in_place = l->ops->view != NULL;
    uint8_t *at = NULL;
    size_t room = in_place ? 0 : make_room(r, &at);
    if (head > 0)
        iov[n++] = (struct iovec){r->head + r->done, head};
    if (room > 0)
        iov[n++] = (struct iovec){at, room};
    ssize_t rc = n > 0 ? l->ops->read(l, iov, n) : 0;
    if (rc < 0)
        return fail_move(l, rc, err);
    r->done += (size_t)rc;
    l->rx_bytes += (size_t)rc;
    r->hi += (size_t)rc > head ? (size_t)rc - head : 0;
    if (!r->checked && r->done >= HEAD) {
        int ret = check_head(l, err);
        if (ret != 0)
            return ret;
    }
    ssize_t fed = r->checked ? feed_sink(l) : 0;
    if (fed < 0)
        return fail_move(l, fed, err);
    if (r->checked && r->eaten == r->bytes) {
        int ret = finish_rx(l, err);
        if (ret != 0)
            return ret;
    }
    return rc > 0 || fed > 0;
}

static int poll_rx(tw_link *l, tw_err *err)
{
    tw_link_rx *r = &l->rx;
    struct iovec iov[2];
    int n = 0;
    if (r->done < HEAD)
        iov[n++] = (struct iovec){r->head + r->done, HEAD - r->done};
    /* With a known size, head and payload come in one read; with an unknown one, the head first,
     * so that nothing of the next message is taken. */
    size_t got = r->done > HEAD ? r->done - HEAD : 0;
    size_t want = r->checked ? (size_t)r->got.bytes : r->exact ? r->bytes : 0;
    if (want > got)
        iov[n++] = (struct iovec){r->p + got, want - got};
    ssize_t rc = n > 0 ? l->ops->read(l, iov, n) : 0;
    if (rc < 0)
        return fail_move(l, rc, err);
    r->done += (size_t)rc;
    l->rx_bytes += (size_t)rc;
    if (!r->checked && r->done >= HEAD) {
        int ret = check_head(l, err);
        if (ret != 0)
            return ret;
    }
    if (r->checked && r->done == HEAD + r->got.bytes) {
        int ret = finish_rx(l, err);
        if (ret != 0)
            return ret;
    }
    return rc > 0;
}

int tw_link_poll(tw_link *l, tw_err *err)
{
    int moved = 0;
    if (l->tx.busy) {
        int rc = poll_tx(l, err);
        if (rc < 0)
            return rc;
        moved |= rc;
    }
    if (l->rx.busy) {
        int rc = l->rx.sink != NULL ? poll_sink(l, err) : poll_rx(l, err);
        if (rc < 0)
            return rc;
        moved |= rc;
    }
    return moved;
}
