/* SPDX-License-Identifier: Apache-2.0 */
/* The data path: slots, credits, completions. No system call while both sides are awake. */
#include "link/verbs.h"

#include <endian.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/le.h"
#include "base/mem.h"
#include "base/scope.h"
#include "link/verbs_inside.h"

_Static_assert(SLOTS < 64 && SLOT_BYTES <= 0x3ffff, "fit the immediate");
_Static_assert((SLOTS & (SLOTS - 1)) == 0, "message numbers wrap at a slot's turn");
_Static_assert(SLOTS *VERBS_FLAG_STEP <= 4096, "flags fit their page");
_Static_assert(VERBS_GIVE_BACK >= 1, "a slot is given back at some time");

/* How long close waits until the peer's adapter has all that was sent. */
#define CLOSE_NS (500 * TW_NS_PER_MS)

static tw_verbs_link *verbs_of(tw_link *l)
{
    return (tw_verbs_link *)l; /* first member */
}

/* Our own words for a failure that is no completion. */
static int fail_link(tw_verbs_link *v, int code, const char *note)
{
    if (v->failed != 0)
        return v->failed;
    v->failed = code;
    v->status = TW_VERBS_OK;
    snprintf(v->note, sizeof v->note, "%s", note);
    return code;
}

static void take_failure(tw_verbs_link *v, const tw_verbs_wc *wc)
{
    /* The first one tells the cause; what it flushes out tells nothing. */
    bool better =
        v->failed == 0 || (v->status == TW_VERBS_FLUSH_ERR && wc->status != TW_VERBS_FLUSH_ERR);
    if (!better)
        return;
    v->failed = tw_verbs_status_code(wc->status);
    v->status = wc->status;
    v->vendor = wc->vendor;
    v->failed_recv = wc->is_recv;
}

static bool take_credits(tw_verbs_link *v, unsigned n)
{
    v->credits += n;
    if (v->credits <= SLOTS)
        return true;
    (void)fail_link(v, -EPROTO, "the peer gave back more slots than it had");
    return false;
}

static uint32_t slot_head(const tw_verbs_link *v)
{
    return v->by_flag ? VERBS_SLOT_HEAD : 0;
}

static void take_data(tw_verbs_link *v, const tw_verbs_imm *m)
{
    if (m->kind != TW_VERBS_DATA || v->n_arrived + v->owed >= SLOTS ||
        m->bytes > SLOT_BYTES - slot_head(v) || m->bytes == 0) {
        (void)fail_link(v, -EPROTO, "the peer wrote into a slot that was not free");
        return;
    }
    v->arrived[(v->i_recv + v->n_arrived) % SLOTS] = m->bytes;
    v->n_arrived++;
    v->rx_data++;
}

/* What a device wrote before the flag that we have read is read after it. */
static void order_device_reads(void)
{
#if defined(__x86_64__)
    __asm__ volatile("lfence" ::: "memory");
#elif defined(__aarch64__)
    __asm__ volatile("dmb oshld" ::: "memory");
#else
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/* Takes what has come, without a look at the queue. */
static void look_at_flags(tw_verbs_link *v)
{
    while (v->by_flag && v->failed == 0) {
        unsigned i = v->rx_data % SLOTS;
        const uint32_t *flag = (const uint32_t *)(const void *)tw_verbs_flag_in(v, i);
        if (le32toh(__atomic_load_n(flag, __ATOMIC_ACQUIRE)) != v->rx_data)
            return;
        order_device_reads();
        tw_verbs_imm m = tw_verbs_imm_decode(tw_le_u32(tw_verbs_slot_in(v, i)));
        v->n_by_flag++;
        v->l.proof.rx_by_flag++;
        if (take_credits(v, m.credits))
            take_data(v, &m);
    }
}

static void take_arrival(tw_verbs_link *v, uint32_t imm)
{
    tw_verbs_imm m = tw_verbs_imm_decode(imm);
    if (m.seq != (v->rx_imm_seq & 63)) {
        (void)fail_link(v, -EPROTO, "a write came out of order");
        return;
    }
    v->rx_imm_seq++;
    if (m.kind == TW_VERBS_DATA && v->n_by_flag > 0) { /* the flag was faster */
        v->n_by_flag--;
        return;
    }
    if (!take_credits(v, m.credits) || m.kind == TW_VERBS_CREDIT)
        return;
    if (m.kind == TW_VERBS_PROBE && v->rx_imm_seq == 1) { /* it alone is the first */
        v->probe_came = true;
        v->i_recv = 1;
        v->rx_data = 1;
        v->owed = 1;
        return;
    }
    take_data(v, &m);
}

int tw_verbs_drain(tw_verbs_link *v)
{
    tw_verbs_wc wc[TW_VERBS_BATCH];
    int n;
    do {
        unsigned n_recv = 0;
        n = v->api->poll_cq(v->cq, wc, TW_VERBS_BATCH);
        if (n < 0)
            return fail_link(v, n, "the completion queue failed (overrun)");
        for (int i = 0; i < n; i++) {
            /* Of a failed write with a flag both parts complete. */
            v->n_unacked -= !wc[i].is_recv && v->n_unacked > 0;
            n_recv += wc[i].is_recv;
            if (wc[i].status != TW_VERBS_OK)
                take_failure(v, &wc[i]);
            else if (wc[i].is_recv && v->failed == 0)
                take_arrival(v, wc[i].imm);
        }
        int rc = n_recv > 0 && v->failed == 0 ? v->api->post_recv(v->qp, n_recv) : 0;
        if (rc != 0)
            return fail_link(v, rc, "no receive could be posted");
    } while (n == TW_VERBS_BATCH);
    return v->failed;
}

int tw_verbs_post(tw_verbs_link *v, enum tw_verbs_kind kind, uint32_t bytes)
{
    tw_verbs_imm m = {kind, v->tx_imm_seq, v->owed, bytes};
    unsigned i = v->tx_data % SLOTS;
    bool with_flag = v->by_flag && kind == TW_VERBS_DATA;
    uint8_t *slot = tw_verbs_slot(v, i);
    uint32_t head[2] = {htole32(tw_verbs_imm_encode(&m)), 0};
    if (with_flag)
        memcpy(slot, head, sizeof head);
    tw_verbs_write w = {.p = slot,
                        .bytes = bytes + (with_flag ? VERBS_SLOT_HEAD : 0),
                        .with_flag = with_flag,
                        .flag = htole32(v->tx_data),
                        .flag_remote = v->peer_addr + (uint64_t)SLOTS * SLOT_BYTES +
                                       (uint64_t)i * VERBS_FLAG_STEP,
                        .lkey = v->part.lkey,
                        .rkey = v->peer_rkey,
                        .imm = tw_verbs_imm_encode(&m),
                        .remote = v->peer_addr + (uint64_t)i * SLOT_BYTES};
    int rc = v->api->post_write(v->qp, &w);
    if (rc != 0)
        return fail_link(v, rc, "a write could not be posted");
    v->n_unacked++;
    v->tx_imm_seq++;
    v->owed = 0;
    if (kind != TW_VERBS_CREDIT) {
        v->tx_data++;
        v->credits--;
    }
    return 0;
}

/* Gives slots back by themselves when no message of ours takes them along. */
static int give_back(tw_verbs_link *v)
{
    if (v->owed < VERBS_GIVE_BACK || v->failed != 0 || v->n_unacked >= VERBS_DEPTH)
        return v->failed;
    return tw_verbs_post(v, TW_VERBS_CREDIT, 0);
}

/* Where the next byte of an iovec list is. */
typedef struct cursor {
    const struct iovec *iov;
    int n;
    size_t at;
} cursor;

/* Moves up to n bytes between slot and list; how many were moved. */
static size_t move(cursor *c, uint8_t *slot, size_t n, bool into_slot)
{
    size_t done = 0;
    while (done < n && c->n > 0) {
        size_t k = TW_MIN(n - done, c->iov->iov_len - c->at);
        uint8_t *p = (uint8_t *)c->iov->iov_base + c->at;
        if (k > 0 && into_slot)
            memcpy(slot + done, p, k);
        else if (k > 0)
            memcpy(p, slot + done, k);
        done += k;
        c->at += k;
        if (c->at == c->iov->iov_len) {
            c->iov++;
            c->n--;
            c->at = 0;
        }
    }
    return done;
}

static ssize_t verbs_write(tw_link *l, const struct iovec *iov, int n_iov)
{
    tw_verbs_link *v = verbs_of(l);
    cursor c = {iov, n_iov, 0};
    size_t done = 0;
    /* Where a flag brings what comes, the queue is asked only for what is needed of it. */
    bool lazy = v->by_flag && v->credits > 0 && v->n_unacked < SLOTS;
    int rc = lazy ? v->failed : tw_verbs_drain(v);
    if (rc == 0 && v->peer_gone)
        rc = -ECONNRESET;
    while (rc == 0 && c.n > 0 && v->credits > 0 && v->n_unacked < VERBS_DEPTH) {
        uint8_t *p = tw_verbs_slot(v, v->tx_data % SLOTS) + slot_head(v);
        size_t n = move(&c, p, SLOT_BYTES - slot_head(v), true);
        if (n == 0)
            break;
        rc = tw_verbs_post(v, TW_VERBS_DATA, (uint32_t)n);
        done += rc == 0 ? n : 0;
    }
    if (rc == 0)
        rc = give_back(v);
    return rc != 0 ? rc : (ssize_t)done;
}

/* Takes what has come, by flag or by completion. */
static int look(tw_verbs_link *v)
{
    look_at_flags(v);
    bool lazy = v->by_flag && !v->peer_gone && v->n_by_flag < VERBS_LAZY &&
                (v->n_arrived > 0 || ++v->n_looks % VERBS_LOOKS != 0);
    return lazy ? v->failed : tw_verbs_drain(v);
}

static ssize_t verbs_read(tw_link *l, const struct iovec *iov, int n_iov)
{
    tw_verbs_link *v = verbs_of(l);
    cursor c = {iov, n_iov, 0};
    size_t done = 0;
    int rc = look(v);
    while (c.n > 0 && v->n_arrived > 0) {
        uint32_t left = v->arrived[v->i_recv] - v->taken;
        size_t n = move(&c, tw_verbs_slot_in(v, v->i_recv) + slot_head(v) + v->taken, left, false);
        done += n;
        v->taken += (uint32_t)n;
        if (n < left)
            break;
        v->taken = 0;
        v->i_recv = (v->i_recv + 1) % SLOTS;
        v->n_arrived--;
        v->owed++;
    }
    (void)give_back(v); /* a failure comes out of the next call */
    if (done > 0)
        return (ssize_t)done;
    return rc != 0 ? rc : v->peer_gone ? -ECONNRESET : 0;
}

static bool may_move(const tw_verbs_link *v)
{
    return v->failed != 0 || v->peer_gone || (v->l.rx.busy && v->n_arrived > 0) ||
           (v->l.tx.busy && v->credits > 0);
}

static bool verbs_arm(tw_link *l, struct pollfd *ret)
{
    tw_verbs_link *v = verbs_of(l);
    (void)tw_verbs_drain(v);
    if (may_move(v))
        return false;
    /* What was sent and not acknowledged may fail, which is no solicited event. */
    bool solicited = !l->tx.busy && v->n_unacked == 0;
    int rc = v->api->arm_cq(v->cq, solicited);
    if (rc != 0)
        (void)fail_link(v, rc, "the completion queue could not be armed");
    /* What came before it was armed makes no event. */
    (void)tw_verbs_drain(v);
    if (may_move(v))
        return false;
    *ret = (struct pollfd){.fd = v->epoll_fd, .events = POLLIN};
    return true;
}

static void look_at_socket(tw_verbs_link *v)
{
    char c;
    ssize_t n = recv(v->sock, &c, 1, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        v->peer_gone = true;
}

static void verbs_disarm(tw_link *l, short revents)
{
    tw_verbs_link *v = verbs_of(l);
    struct epoll_event e[2];
    if (revents == 0)
        return;
    int n = epoll_wait(v->epoll_fd, e, 2, 0);
    for (int i = 0; i < n; i++) {
        if (e[i].data.fd == v->cq_fd)
            v->api->take_events(v->cq);
        else
            look_at_socket(v);
    }
    /* What the peer sent before it closed is here: its adapter waits for our acknowledgements. */
    if (v->peer_gone)
        (void)tw_verbs_drain(v);
}

void tw_verbs_free(tw_verbs_link *v)
{
    if (v->api != NULL) {
        /* The queue pair first: nobody may write into memory that is given back. */
        v->api->destroy_qp(v->qp);
        v->api->destroy_cq(v->cq);
    }
    tw_verbs_pool_give(&v->part);
    if (v->epoll_fd >= 0)
        close(v->epoll_fd);
    tw_mem_free(v);
}

static void verbs_close(tw_link *l)
{
    tw_verbs_link *v = verbs_of(l);
    uint64_t until = tw_clock_now_ns() + CLOSE_NS;
    /* A destroyed queue pair sends nothing more: what was handed over has to be there first. */
    while (tw_verbs_drain(v) == 0 && v->n_unacked > 0 && tw_clock_now_ns() < until)
        sched_yield();
    int sock = v->sock;
    tw_verbs_free(v);
    close(sock);
}

const tw_link_ops tw_verbs_link_ops = {.name = "rdma",
                                       .write = verbs_write,
                                       .read = verbs_read,
                                       .arm = verbs_arm,
                                       .disarm = verbs_disarm,
                                       .close = verbs_close,
                                       .explain = tw_verbs_explain};
