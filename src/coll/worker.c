/* SPDX-License-Identifier: Apache-2.0 */
/* The other ranks' part of the rendezvous. */
#include "coll/meet.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "os/fd.h"
#include "os/sock.h"

/* Rank 1.. of a group of more than two: the higher ranks' links come here. */
static int open_listener(tw_meet *m, tw_err *err)
{
    struct sockaddr_storage self;
    socklen_t len = sizeof self;
    if (m->o->bind_address != NULL) {
        snprintf(m->address, sizeof m->address, "%s", m->o->bind_address);
    } else if (getsockname(m->m.fds[0], (struct sockaddr *)&self, &len) == 0) {
        /* "ip:port" or "[ip]:port" */
        char name[64];
        tw_sock_name(m->m.fds[0], name, sizeof name);
        const char *from = name[0] == '[' ? name + 1 : name;
        const char *to = name[0] == '[' ? strchr(name, ']') : strrchr(name, ':');
        snprintf(m->address, sizeof m->address, "%.*s", to != NULL ? (int)(to - from) : 0, from);
    }
    int rc = tw_sock_listen(m->address, 0, &m->gate.listeners[0], &m->port, err);
    if (rc == 0 && tw_meet_is_wildcard(m->gate.listeners[0]))
        return tw_err_set(err, -EINVAL,
                          "rendezvous: rank %u will not listen on all interfaces (%s); give its "
                          "address in the cluster's network",
                          m->rank, m->address);
    return rc;
}

static int expect(tw_meet *m, enum tw_frame_type type, tw_buf *body, tw_err *err)
{
    return tw_meet_expect(m, m->m.fds[0], m->who, type, body, err);
}

static int say_hello(tw_meet *m, tw_err *err)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(TW_FRAME_CTL_BYTES + TW_FRAME_BODY_MAX);
    if (m->gate.listeners[0] < 0 && m->n_ranks > 2 && m->rank + 1 < m->n_ranks) {
        int rc = open_listener(m, err);
        if (rc != 0)
            return rc;
    }
    int rc = tw_meet_hello_encode(m, &b);
    if (rc != 0)
        return tw_err_set(err, rc, "hello: too many or too long facts");
    return tw_meet_call(m, m->m.fds[0], m->who, &b, &m->talk, err);
}

/* Until rank 0 has let us in: a connection that it drops (it is bounded) is made again. */
static int join(tw_meet *m, tw_err *err)
{
    for (;;) {
        tw_err why = {0};
        int rc = tw_sock_connect(m->o->address, m->o->port, m->o->bind_address, m->deadline_ns,
                                 &m->m.fds[0], &why);
        if (rc != 0)
            return tw_err_set(err, rc, "rank 0: %.220s", why.msg);
        rc = say_hello(m, &why);
        if (rc == 0)
            return 0;
        bool again = rc == -ECONNRESET || rc == -EPIPE;
        if (!again || tw_clock_now_ns() >= m->deadline_ns)
            return tw_err_set(err, rc, "%s", why.msg);
        tw_fd_closep(&m->m.fds[0]);
    }
}

static int get_table(tw_meet *m, tw_err *err)
{
    tw_buf_reset(&m->table_body);
    int rc = expect(m, TW_FRAME_TABLE, &m->table_body, err);
    if (rc != 0)
        return rc;
    const uint8_t *body = (const uint8_t *)m->table_body.data;
    rc = tw_frame_table_decode(body, m->table_body.len, &m->table);
    if (rc != 0 || m->table.n_ranks != m->n_ranks)
        return tw_err_set(err, -EPROTO, "%s sent a malformed table of ranks", m->who);
    rc = tw_proof_check(&m->talk, TW_PROOF_TABLE, body, m->table_body.len - TW_FRAME_PROOF_BYTES,
                        m->table.seal, err);
    return rc != -EACCES
               ? rc
               : tw_err_set(err, rc, "%s: its table of ranks was altered on the way", m->who);
}

static unsigned find_missing_link(const tw_meet *m)
{
    for (unsigned i = m->rank + 1; i < m->n_ranks; i++)
        if (m->m.links[i] == NULL)
            return i;
    return 0;
}

static int accept_links(tw_meet *m, tw_err *err)
{
    unsigned missing;
    while ((missing = find_missing_link(m)) != 0) {
        struct pollfd pfd[TW_GATE_POLLS + 1];
        uint64_t now = tw_clock_now_ns();
        tw_gate_guest g;
        while (tw_gate_next(&m->gate, now, &g)) {
            int rc = tw_meet_accept_link(m, &g, err);
            if (rc != 0)
                return rc;
        }
        if (now >= m->deadline_ns)
            return tw_err_set(err, -ETIMEDOUT, "rank %u did not connect to rank %u", missing,
                              m->rank);
        if (find_missing_link(m) == 0)
            break;
        unsigned n = tw_gate_polls(&m->gate, pfd);
        pfd[n] = (struct pollfd){.fd = m->m.fds[0], .events = POLLIN};
        if (poll(pfd, n + 1, 100) > 0 && pfd[n].revents != 0) {
            /* Rank 0 has nothing to say now but that it is over. */
            int rc = expect(m, TW_FRAME_REFUSE, &m->table_body, err);
            return rc != 0 ? rc : tw_err_set(err, -ECONNREFUSED, "%s refused", m->who);
        }
    }
    return 0;
}

static int make_links(tw_meet *m, tw_err *err)
{
    for (unsigned i = 0; i < m->rank; i++) {
        int rc = tw_meet_connect_link(m, i, err);
        if (rc != 0)
            return rc;
    }
    return accept_links(m, err);
}

int tw_meet_as_worker(tw_meet *m, tw_err *err)
{
    TW_CLEANUP(tw_buf_done) tw_buf body = TW_BUF(TW_FRAME_BODY_MAX);
    snprintf(m->who, sizeof m->who, "rank 0 (%s port %u)", m->o->address, m->o->port);
    int rc = join(m, err);
    if (rc == 0)
        rc = get_table(m, err);
    if (rc != 0)
        return rc;
    tw_err why = {0};
    rc = make_links(m, &why);
    if (rc != 0) {
        tw_meet_send_text(m->m.fds[0], m->rank, why.msg);
        return tw_err_set(err, rc, "%s", why.msg);
    }
    rc = tw_meet_send_empty(m->m.fds[0], TW_FRAME_READY, m->deadline_ns);
    if (rc != 0)
        return tw_err_set(err, rc, "%s: %s", m->who, strerror(-rc));
    return expect(m, TW_FRAME_GO, &body, err);
}
