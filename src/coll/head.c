/* SPDX-License-Identifier: Apache-2.0 */
/* Rank 0's part of the rendezvous. */
#include "coll/meet.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "os/fd.h"

/* Polls gate and rendezvous connections; wakes at least every 100 ms for the gate's own clock. */
static int sleep_on_gate(const tw_meet *m)
{
    struct pollfd pfd[TW_GATE_POLLS + TW_RANKS_MAX];
    unsigned n = tw_gate_polls(&m->gate, pfd);
    for (unsigned i = 1; i < m->n_ranks; i++)
        if (m->m.fds[i] >= 0 && !m->ready[i])
            pfd[n++] = (struct pollfd){.fd = m->m.fds[i], .events = POLLIN};
    (void)poll(pfd, n, 100); /* whatever it says, all are looked at */
    return 0;
}

static void refuse_all(tw_meet *m, const char *text)
{
    for (unsigned i = 1; i < m->n_ranks; i++)
        if (m->m.fds[i] >= 0)
            tw_meet_send_text(m->m.fds[i], 0, text);
}

static int check_guest(const tw_meet *m, const tw_gate_guest *g, tw_frame_hello *ret, tw_err *err)
{
    if (g->ctl.version != TW_FRAME_VERSION)
        return tw_err_set(err, -EPROTO,
                          "a rank at %s speaks protocol version %u, rank 0 speaks %u: install the "
                          "same twinax on both",
                          g->name, g->ctl.version, TW_FRAME_VERSION);
    if (g->ctl.type != TW_FRAME_HELLO || tw_frame_hello_decode(g->body, g->ctl.bytes, ret) != 0)
        return tw_err_set(err, -EBADMSG, "%s: its hello is malformed", g->name);
    if (ret->rank == 0 || ret->rank >= m->n_ranks)
        return tw_err_set(err, -EPROTO, "%s says it is rank %u of %u; rank 0 has a group of %u",
                          g->name, ret->rank, ret->n_ranks, m->n_ranks);
    if (m->m.fds[ret->rank] >= 0)
        return tw_err_set(err, -EEXIST, "rank %u is here already, from %s", ret->rank,
                          m->hellos[ret->rank].name);
    return tw_meet_compare(m, ret, err);
}

/* A rank that was taken in and is gone again may come back until all are here. */
static void forget_gone(tw_meet *m)
{
    for (unsigned i = 1; i < m->n_ranks; i++) {
        char c;
        if (m->m.fds[i] < 0)
            continue;
        ssize_t n = recv(m->m.fds[i], &c, 1, MSG_DONTWAIT | MSG_PEEK);
        if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
            continue;
        tw_fd_closep(&m->m.fds[i]);
        tw_gate_guest_done(&m->hellos[i]);
    }
}

/* 0: taken in, or turned away alone. Else the group cannot be. */
static int take_hello(tw_meet *m, tw_gate_guest *g, tw_err *err)
{
    tw_frame_hello h;
    tw_err why;
    forget_gone(m);
    int rc = check_guest(m, g, &h, &why);
    if (rc != 0) {
        tw_meet_send_text(g->fd, 0, why.msg);
        bool alone = rc == -EEXIST || rc == -EBADMSG;
        if (alone) {
            m->gate.n_dropped++;
            snprintf(m->gate.last_drop, sizeof m->gate.last_drop, "%.119s", why.msg);
        }
        tw_gate_guest_done(g);
        return alone ? 0 : tw_err_set(err, rc, "%s", why.msg);
    }
    if (tw_meet_welcome(g, m->deadline_ns, &why) != 0) {
        tw_gate_guest_done(g);
        return 0;
    }
    m->hellos[h.rank] = *g;
    m->hellos[h.rank].fd = -1;
    m->m.fds[h.rank] = g->fd;
    m->table.peers[h.rank] = h.me;
    return 0;
}

static unsigned find_missing(const tw_meet *m)
{
    for (unsigned i = 1; i < m->n_ranks; i++)
        if (m->m.fds[i] < 0)
            return i;
    return 0;
}

static int tell_missing(const tw_meet *m, unsigned missing, const char *what, tw_err *err)
{
    char more[224] = "";
    double wait_s = (double)(m->o->rendezvous_ns != 0 ? m->o->rendezvous_ns : 30 * TW_NS_PER_S);
    if (m->gate.n_dropped > 0)
        snprintf(more, sizeof more, " (%llu connections were turned away, the last one %s)",
                 (unsigned long long)m->gate.n_dropped, m->gate.last_drop);
    return tw_err_set(err, -ETIMEDOUT, "rank %u %s within %.1f s%s", missing, what, wait_s * 1e-9,
                      more);
}

static int gather_ranks(tw_meet *m, tw_err *err)
{
    unsigned missing;
    while ((missing = find_missing(m)) != 0) {
        tw_gate_guest g;
        uint64_t now = tw_clock_now_ns();
        while (tw_gate_next(&m->gate, now, &g)) {
            int rc = take_hello(m, &g, err);
            if (rc != 0)
                return rc;
        }
        forget_gone(m);
        if (now >= m->deadline_ns)
            return tell_missing(m, missing, "did not come", err);
        if (find_missing(m) != 0)
            sleep_on_gate(m);
    }
    return 0;
}

static int send_table(tw_meet *m, tw_err *err)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(TW_FRAME_CTL_BYTES + TW_FRAME_BODY_MAX);
    m->table.n_ranks = (uint8_t)m->n_ranks;
    m->table.peers[0] = tw_meet_self(m);
    int rc = tw_frame_table_encode(&b, &m->table);
    const size_t n = rc == 0 ? b.len - TW_FRAME_CTL_BYTES - TW_FRAME_PROOF_BYTES : 0;
    uint8_t *body = (uint8_t *)b.data + TW_FRAME_CTL_BYTES;
    for (unsigned i = 1; rc == 0 && i < m->n_ranks; i++) {
        tw_proof_make(&m->hellos[i].talk, TW_PROOF_TABLE, body, n, body + n);
        rc = tw_meet_send(m->m.fds[i], &b, m->deadline_ns);
    }
    return rc == 0 ? 0 : tw_err_set(err, rc, "send the table of ranks: %s", strerror(-rc));
}

/* READY or a refusal from a rank that is connecting its links. */
static int hear_worker(tw_meet *m, unsigned i, tw_err *err)
{
    TW_CLEANUP(tw_buf_done) tw_buf body = TW_BUF(TW_FRAME_BODY_MAX);
    tw_frame_ctl f;
    char c, text[200];
    uint8_t rank;
    ssize_t n = recv(m->m.fds[i], &c, 1, MSG_DONTWAIT | MSG_PEEK);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    int rc = tw_meet_recv(m->m.fds[i], &f, &body, m->deadline_ns);
    if (rc != 0)
        return tw_err_set(err, rc, "rank %u (%s) went away during the rendezvous: %s", i,
                          m->hellos[i].name, strerror(-rc));
    if (f.type == TW_FRAME_READY) {
        m->ready[i] = true;
        return 0;
    }
    if (f.type == TW_FRAME_REFUSE &&
        tw_frame_text_decode((const uint8_t *)body.data, body.len, &rank, text, sizeof text) == 0)
        return tw_err_set(err, -ECONNABORTED, "rank %u: %s", i, text);
    return tw_err_set(err, -EPROTO, "rank %u sent frame type %u where it should be ready", i,
                      f.type);
}

static unsigned find_unready(const tw_meet *m)
{
    for (unsigned i = 1; i < m->n_ranks; i++)
        if (!m->ready[i] || m->m.links[i] == NULL)
            return i;
    return 0;
}

static int gather_links(tw_meet *m, tw_err *err)
{
    unsigned unready;
    while ((unready = find_unready(m)) != 0) {
        tw_gate_guest g;
        uint64_t now = tw_clock_now_ns();
        int rc = 0;
        while (rc == 0 && tw_gate_next(&m->gate, now, &g)) {
            if (g.ctl.type == TW_FRAME_HELLO)
                tw_meet_send_text(g.fd, 0, "all ranks are here already");
            rc = tw_meet_accept_link(m, &g, err);
        }
        for (unsigned i = 1; rc == 0 && i < m->n_ranks; i++)
            if (!m->ready[i])
                rc = hear_worker(m, i, err);
        if (rc != 0)
            return rc;
        if (now >= m->deadline_ns)
            return tell_missing(m, unready, "did not make its data connections", err);
        if (find_unready(m) != 0)
            sleep_on_gate(m);
    }
    return 0;
}

static int send_go(tw_meet *m, tw_err *err)
{
    for (unsigned i = 1; i < m->n_ranks; i++) {
        int rc = tw_meet_send_empty(m->m.fds[i], TW_FRAME_GO, m->deadline_ns);
        if (rc != 0)
            return tw_err_set(err, rc, "rank %u (%s) went away at the end of the rendezvous: %s", i,
                              m->hellos[i].name, strerror(-rc));
    }
    return 0;
}

int tw_meet_as_head(tw_meet *m, tw_err *err)
{
    tw_err why = {0};
    int rc = gather_ranks(m, &why);
    if (rc == 0)
        rc = send_table(m, &why);
    if (rc == 0)
        rc = gather_links(m, &why);
    if (rc == 0)
        rc = send_go(m, &why);
    if (rc != 0) {
        refuse_all(m, why.msg);
        return tw_err_set(err, rc, "%s", why.msg);
    }
    return 0;
}
