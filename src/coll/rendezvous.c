/* SPDX-License-Identifier: Apache-2.0 */
#include "coll/rendezvous.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "coll/meet.h"
#include "os/fd.h"
#include "os/sock.h"

int tw_meet_send(int fd, const tw_buf *b, uint64_t deadline_ns)
{
    return tw_sock_send_all(fd, b->data, b->len, deadline_ns);
}

int tw_meet_send_empty(int fd, enum tw_frame_type type, uint64_t deadline_ns)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(TW_FRAME_CTL_BYTES);
    int rc = tw_frame_ctl_encode(&b, type, NULL, 0);
    return rc != 0 ? rc : tw_meet_send(fd, &b, deadline_ns);
}

void tw_meet_send_text(int fd, unsigned rank, const char *text)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(512);
    if (tw_frame_text_encode(&b, TW_FRAME_REFUSE, (uint8_t)rank, text) == 0)
        (void)!send(fd, b.data, b.len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

int tw_meet_recv(int fd, tw_frame_ctl *ret, tw_buf *body, uint64_t deadline_ns)
{
    uint8_t head[TW_FRAME_CTL_BYTES], chunk[256];
    int rc = tw_sock_recv_all(fd, head, sizeof head, deadline_ns);
    if (rc == 0)
        rc = tw_frame_ctl_decode(head, ret);
    tw_buf_reset(body);
    for (size_t left = rc == 0 ? ret->bytes : 0; rc == 0 && left > 0;) {
        size_t n = TW_MIN(left, sizeof chunk);
        rc = tw_sock_recv_all(fd, chunk, n, deadline_ns);
        if (rc == 0)
            rc = tw_buf_append(body, chunk, n);
        left -= n;
    }
    return rc;
}

bool tw_meet_is_wildcard(int fd)
{
    struct sockaddr_storage a;
    socklen_t len = sizeof a;
    if (getsockname(fd, (struct sockaddr *)&a, &len) != 0)
        return false;
    if (a.ss_family == AF_INET)
        return ((const struct sockaddr_in *)(const void *)&a)->sin_addr.s_addr == INADDR_ANY;
    if (a.ss_family != AF_INET6)
        return false;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&a;
    static const struct in6_addr mapped_any = {.s6_addr = {[10] = 0xff, [11] = 0xff}};
    return memcmp(&v6->sin6_addr, &in6addr_any, sizeof in6addr_any) == 0 ||
           memcmp(&v6->sin6_addr, &mapped_any, sizeof mapped_any) == 0;
}

static int open_gate(tw_meet *m, tw_err *err)
{
    const tw_coll_opts *o = m->o;
    int rc = 0;
    if (m->rank == 0 && m->gate.listeners[0] < 0)
        rc = tw_sock_listen(o->address, o->port, &m->gate.listeners[0], NULL, err);
    if (rc == 0 && m->rank == 0 &&
        fcntl(m->gate.listeners[0], F_SETFL, fcntl(m->gate.listeners[0], F_GETFL) | O_NONBLOCK) !=
            0)
        return tw_err_set(err, -errno, "rendezvous: listening socket: %s", strerror(errno));
    if (rc == 0 && m->rank == 0 && tw_meet_is_wildcard(m->gate.listeners[0]))
        return tw_err_set(err, -EINVAL,
                          "rendezvous: will not listen on all interfaces; give the address of the "
                          "cluster's network");
    /* The last rank accepts no links. */
    if (rc == 0 && m->rank + 1 < m->n_ranks && o->transport != TW_TRANSPORT_TCP &&
        o->transport != TW_TRANSPORT_RDMA) {
        rc = tw_meet_unix_listen(m, &m->gate.listeners[1], err);
        if (rc != 0 && o->transport == TW_TRANSPORT_AUTO) {
            m->unix_name[0] = '\0'; /* auto: the peers see it and take tcp */
            rc = 0;
        }
    }
    return rc;
}

static void meet_done(tw_meet *m)
{
    tw_gate_done(&m->gate);
    for (unsigned i = 0; i < TW_RANKS_MAX; i++) {
        tw_gate_guest_done(&m->hellos[i]);
        tw_link_close(m->m.links[i]);
        tw_fd_closep(&m->m.fds[i]);
    }
    tw_verbs_pool_release(m->pool);
    tw_buf_done(&m->table_body);
    tw_mem_free(m);
}

int tw_rendezvous(const tw_coll_opts *o, tw_meeting *ret, tw_err *err)
{
    tw_meet *m = tw_mem_calloc(1, sizeof *m);
    int listen_fd = o->listen_fd;
    if (m == NULL) {
        if (o->rank == 0)
            tw_fd_closep(&listen_fd);
        return tw_err_set(err, -ENOMEM, "no memory for the rendezvous");
    }
    m->o = o;
    m->rank = o->rank;
    m->n_ranks = o->n_ranks;
    uint64_t limit_ns = o->rendezvous_ns != 0 ? o->rendezvous_ns : 30 * TW_NS_PER_S;
    m->deadline_ns = tw_clock_now_ns() + limit_ns;
    m->table_body = TW_BUF(TW_FRAME_BODY_MAX);
    for (unsigned i = 0; i < TW_RANKS_MAX; i++) {
        m->m.fds[i] = -1;
        m->hellos[i].fd = -1;
    }
    tw_gate_init(&m->gate, o->rank == 0 ? listen_fd : -1, -1, o->token);
    tw_meet_find_host_id(m->host_id, sizeof m->host_id);
    int rc = open_gate(m, err);
    if (rc == 0)
        rc = m->rank == 0 ? tw_meet_as_head(m, err) : tw_meet_as_worker(m, err);
    if (rc == 0) {
        m->m.n_threads_here = tw_meet_threads_here(m);
        *ret = m->m;
        for (unsigned i = 0; i < TW_RANKS_MAX; i++) {
            m->m.links[i] = NULL;
            m->m.fds[i] = -1;
        }
    }
    meet_done(m);
    return rc;
}
