/* SPDX-License-Identifier: Apache-2.0 */
#include "coll/meet.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "os/fd.h"
#include "os/sock.h"
#include "os/sys.h"

/* Abstract: no name in any file system, gone with its socket. */
static socklen_t unix_address(const char *name, size_t n, struct sockaddr_un *ret)
{
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    n = TW_MIN(n, sizeof ret->sun_path - 1);
    memcpy(ret->sun_path + 1, name, n);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n);
}

int tw_meet_unix_listen(tw_meet *m, int *ret_fd, tw_err *err)
{
    uint8_t id[16];
    struct sockaddr_un a;
    int rc = tw_sys_random(id, sizeof id);
    if (rc != 0)
        return tw_err_set(err, rc, "shm: no random name: %s", strerror(-rc));
    int n = snprintf(m->unix_name, sizeof m->unix_name, "twinax-");
    for (size_t i = 0; i < sizeof id; i++)
        n += snprintf(m->unix_name + n, sizeof m->unix_name - (size_t)n, "%02x", id[i]);
    socklen_t len = unix_address(m->unix_name, (size_t)n, &a);
    TW_CLEANUP(tw_fd_closep)
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&a, len) != 0 || listen(fd, 64) != 0)
        return tw_err_set(err, -errno, "shm: listen on an abstract unix socket: %s",
                          strerror(errno));
    *ret_fd = tw_fd_steal(&fd);
    return 0;
}

static int unix_connect(tw_str name, int *ret_fd)
{
    struct sockaddr_un a;
    socklen_t len = unix_address(name.p, name.len, &a);
    TW_CLEANUP(tw_fd_closep)
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&a, len) != 0)
        return -errno;
    *ret_fd = tw_fd_steal(&fd);
    return 0;
}

/* A new connection to a peer's gate, which now knows us as we know it. */
static int call_peer(const tw_meet *m, int fd, unsigned peer, tw_err *err)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(256);
    const tw_frame_link l = {.from = (uint8_t)m->rank, .to = (uint8_t)peer};
    tw_proof_talk talk;
    char who[64];
    tw_err why = {0};
    snprintf(who, sizeof who, "rank %u, data connection", peer);
    int rc = tw_frame_link_encode(&b, &l);
    if (rc != 0)
        return tw_err_set(err, rc, "%s: %s", who, strerror(-rc));
    rc = tw_meet_call(m, fd, who, &b, &talk, &why);
    return rc == 0 ? 0 : tw_err_set(err, rc, "%s", why.msg);
}

/* Its gate dropped us, with others: it is bounded. Once it is gone itself, connecting fails. */
static bool may_call_again(const tw_meet *m, int rc)
{
    return (rc == -ECONNRESET || rc == -EPIPE) && tw_clock_now_ns() < m->deadline_ns;
}

static bool is_near(const tw_meet *m, unsigned peer)
{
    return tw_str_is(m->table.peers[peer].host_id, m->host_id);
}

/* auto took shared memory: what else there was. */
static void refuse_slower(const tw_meet *m, unsigned peer)
{
    if (m->o->transport != TW_TRANSPORT_AUTO)
        return;
    tw_link_refuse(m->m.links[peer], "rdma", "same machine: shared memory is faster");
    tw_link_refuse(m->m.links[peer], "tcp", "same machine: shared memory is faster");
}

static void refuse_shm(const tw_meet *m, unsigned peer)
{
    tw_link_refuse(m->m.links[peer], "shm",
                   is_near(m, peer) ? "no unix socket between the ranks"
                                    : "another machine or network namespace");
}

static int connect_shm(tw_meet *m, unsigned peer, int sock, tw_err *err)
{
    TW_CLEANUP(tw_fd_closep) int fd = sock;
    TW_CLEANUP(tw_fd_closep) int memfd = -1;
    int rc = tw_sock_recv_fd(fd, &memfd, m->deadline_ns);
    if (rc != 0)
        return tw_err_set(err, rc, "shm: rank %u did not hand over its memory: %s", peer,
                          strerror(-rc));
    rc = tw_link_shm_new(tw_fd_steal(&memfd), tw_fd_steal(&fd), 1, (uint8_t)m->rank, (uint8_t)peer,
                         m->o->verify, &m->m.links[peer], err);
    if (rc == 0)
        refuse_slower(m, peer);
    return rc;
}

static uint64_t talk_deadline(const tw_meet *m)
{
    return TW_MIN(m->deadline_ns, tw_clock_now_ns() + 10 * TW_NS_PER_S);
}

/* Peers that may be reached by RDMA. */
static unsigned count_remote(const tw_meet *m)
{
    unsigned n = 0;
    for (unsigned i = 0; i < m->n_ranks; i++) {
        bool near = m->o->transport != TW_TRANSPORT_RDMA && is_near(m, i) &&
                    m->table.peers[TW_MIN(i, m->rank)].unix_name.len > 0;
        n += i != m->rank && !near;
    }
    return n;
}

/* A TCP connection of a pair becomes its link: for rdma and auto both ends find out together
 * whether RDMA will do. Takes fd. */
static int make_remote_link(tw_meet *m, unsigned peer, int fd, tw_err *err)
{
    uint8_t rank = (uint8_t)m->rank, to = (uint8_t)peer;
    tw_link **ret = &m->m.links[peer];
    tw_err why = {0};
    bool asked = m->o->transport == TW_TRANSPORT_RDMA || m->o->transport == TW_TRANSPORT_AUTO;
    if (asked) {
        m->pool = m->pool != NULL ? m->pool : tw_verbs_pool_new(count_remote(m));
        const tw_link_verbs_opts o = {.device = m->o->rdma_device,
                                      .pool = m->pool,
                                      .deadline_ns = talk_deadline(m)};
        int rc = tw_link_verbs_new(fd, rank, to, m->o->verify, &o, ret, &why);
        if (rc == 0 && m->o->transport == TW_TRANSPORT_AUTO) {
            refuse_shm(m, peer);
            tw_link_refuse(*ret, "tcp", "rdma is faster");
        }
        if (rc == 0)
            return 0;
        if (rc != -EOPNOTSUPP)
            return tw_err_set(err, rc, "%s", why.msg);
        if (m->o->transport == TW_TRANSPORT_RDMA) {
            close(fd);
            return tw_err_set(err, rc, "transport rdma: %.220s", why.msg);
        }
    }
    int rc = tw_link_tcp_new(fd, rank, to, m->o->verify, ret, err);
    if (rc == 0 && asked) {
        refuse_shm(m, peer);
        tw_link_refuse(*ret, "rdma", why.msg);
    }
    return rc;
}

static int connect_tcp(tw_meet *m, unsigned peer, tw_err *err)
{
    const tw_frame_peer *p = &m->table.peers[peer];
    char address[64];
    uint16_t port = p->port;
    snprintf(address, sizeof address, "%.*s", (int)TW_MIN(p->address.len, sizeof address - 1),
             p->address.p);
    if (peer == 0) { /* where our rendezvous connection went */
        snprintf(address, sizeof address, "%s", m->o->address);
        port = m->o->port;
    }
    tw_err why = {0};
    int call = 0;
    for (;;) {
        int fd = -1;
        uint64_t deadline_ns = call == 0 ? m->deadline_ns : tw_clock_now_ns();
        int rc = tw_sock_connect(address, port, m->o->bind_address, deadline_ns, &fd,
                                 call == 0 ? &why : NULL);
        if (rc != 0)
            return tw_err_set(err, call == 0 ? rc : call, "rank %u: data connection: %.180s", peer,
                              why.msg);
        call = call_peer(m, fd, peer, &why);
        if (call == 0)
            return make_remote_link(m, peer, fd, err);
        tw_fd_closep(&fd);
        if (!may_call_again(m, call))
            return tw_err_set(err, call, "%s", why.msg);
    }
}

int tw_meet_connect_link(tw_meet *m, unsigned peer, tw_err *err)
{
    const tw_frame_peer *p = &m->table.peers[peer];
    bool must = m->o->transport == TW_TRANSPORT_SHM;
    bool near = is_near(m, peer) && p->unix_name.len > 0;
    if (must && !near)
        return tw_err_set(err, -EXDEV,
                          "transport shm: rank %u is on another machine or in another network "
                          "namespace; ask for tcp or auto",
                          peer);
    bool never = m->o->transport == TW_TRANSPORT_TCP || m->o->transport == TW_TRANSPORT_RDMA;
    if (never || !near)
        return connect_tcp(m, peer, err);
    tw_err why = {0};
    int fd = -1, call = 0;
    int rc = unix_connect(p->unix_name, &fd);
    while (rc == 0) {
        call = call_peer(m, fd, peer, &why);
        if (call == 0)
            return connect_shm(m, peer, fd, err);
        tw_fd_closep(&fd);
        if (!may_call_again(m, call) || unix_connect(p->unix_name, &fd) != 0)
            return tw_err_set(err, call, "%s", why.msg);
    }
    if (must)
        return tw_err_set(err, rc, "transport shm: connect to rank %u: %s", peer, strerror(-rc));
    return connect_tcp(m, peer, err);
}

static int accept_shm(tw_meet *m, unsigned peer, int sock, tw_err *err)
{
    TW_CLEANUP(tw_fd_closep) int fd = sock;
    TW_CLEANUP(tw_fd_closep) int memfd = -1;
    int rc = tw_link_shm_make(&memfd, err);
    if (rc != 0)
        return rc;
    rc = tw_sock_send_fd(fd, memfd);
    if (rc != 0)
        return tw_err_set(err, rc, "shm: hand memory to rank %u: %s", peer, strerror(-rc));
    rc = tw_link_shm_new(tw_fd_steal(&memfd), tw_fd_steal(&fd), 0, (uint8_t)m->rank, (uint8_t)peer,
                         m->o->verify, &m->m.links[peer], err);
    if (rc == 0)
        refuse_slower(m, peer);
    return rc;
}

int tw_meet_accept_link(tw_meet *m, tw_gate_guest *guest, tw_err *err)
{
    tw_frame_link l;
    bool good = guest->ctl.version == TW_FRAME_VERSION && guest->ctl.type == TW_FRAME_LINK &&
                tw_frame_link_decode(guest->body, guest->ctl.bytes, &l) == 0 && l.to == m->rank &&
                l.from > m->rank && l.from < m->n_ranks && m->m.links[l.from] == NULL &&
                (m->o->transport != TW_TRANSPORT_SHM || guest->is_unix) &&
                (m->o->transport != TW_TRANSPORT_RDMA || !guest->is_unix);
    int rc = 0;
    tw_err ignored; /* a caller who is gone already may come again */
    good = good && tw_meet_welcome(guest, m->deadline_ns, &ignored) == 0;
    if (good && guest->is_unix)
        rc = accept_shm(m, l.from, tw_fd_steal(&guest->fd), err);
    else if (good)
        rc = make_remote_link(m, l.from, tw_fd_steal(&guest->fd), err);
    tw_gate_guest_done(guest);
    return rc;
}
