/* SPDX-License-Identifier: Apache-2.0 */
/* Two ends become a link. Every step is done by both before either goes on, and both know how it
 * went: offers; queue pairs connected; a full slot each way. So a pair never waits for an end that
 * has given up, and what will not work is found here and not in the first exchange. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "link/verbs_inside.h"
#include "os/sock.h"
#include "os/sys.h"

/* A write that finds nobody fails by itself after about half a second; this is for lost answers. */
#define PROBE_NS (3 * TW_NS_PER_S)

static int find_address(int fd, uint8_t out[TW_RDMA_GID_BYTES], tw_err *err)
{
    struct sockaddr_storage a;
    socklen_t len = sizeof a;
    if (getsockname(fd, (struct sockaddr *)&a, &len) != 0)
        return tw_err_set(err, -errno, "own address: %s", strerror(errno));
    if (a.ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&a;
        memset(out, 0, TW_RDMA_GID_BYTES);
        out[10] = out[11] = 0xff;
        memcpy(out + 12, &v4->sin_addr, 4);
        return 0;
    }
    if (a.ss_family != AF_INET6)
        return tw_err_set(err, -EAFNOSUPPORT, "address family %d has no GIDs", a.ss_family);
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&a;
    memcpy(out, &v6->sin6_addr, TW_RDMA_GID_BYTES);
    return 0;
}

/* A part of the device's memory: of the rank's pool, or of one that ends with this link. */
static int take_part(tw_verbs_link *v, tw_verbs_pool *pool, tw_err *err)
{
    tw_verbs_pool *own = pool != NULL ? NULL : tw_verbs_pool_new(1);
    if (pool == NULL && own == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for an rdma link");
    int rc = tw_verbs_pool_take(pool != NULL ? pool : own, v->api, v->at.device, &v->part, err);
    tw_verbs_pool_release(own);
    return rc;
}

static int build_queues(tw_verbs_link *v, tw_err *err)
{
    const tw_verbs_api *api = v->api;
    const char *what = "completion queue";
    int rc = api->create_cq(v->part.ctx, VERBS_CQ_DEPTH, &v->cq, &v->cq_fd);
    if (rc == 0) {
        what = "queue pair";
        rc = api->create_qp(v->part.ctx, v->cq, VERBS_SENDS, VERBS_RECVS, v->can_flag, &v->qp,
                            &v->l.proof.qpn);
    }
    if (rc == 0) {
        what = "queue pair to INIT";
        rc = api->to_init(v->qp, v->at.port);
    }
    if (rc == 0) {
        what = "post receives";
        rc = api->post_recv(v->qp, VERBS_RECVS);
    }
    if (rc == 0) {
        what = "random number";
        rc = tw_sys_random(&v->psn, sizeof v->psn);
        v->psn &= 0xffffff;
    }
    return rc == 0 ? 0 : tw_err_set(err, rc, "%s: %s: %s", v->at.device, what, strerror(-rc));
}

static int watch(tw_verbs_link *v, int fd)
{
    struct epoll_event e = {.events = EPOLLIN, .data = {.fd = fd}};
    return epoll_ctl(v->epoll_fd, EPOLL_CTL_ADD, fd, &e) != 0 ? -errno : 0;
}

static int open_end(tw_verbs_link *v, const tw_link_verbs_opts *o, tw_err *err)
{
    uint8_t addr[TW_RDMA_GID_BYTES];
    int rc = find_address(v->sock, addr, err);
    if (rc == 0)
        rc = tw_verbs_find(v->api, o, addr, &v->at, err);
    v->can_flag = rc == 0 && !o->no_flag && tw_verbs_flag_is_tested(o->sysfs, v->at.device);
    if (rc == 0)
        rc = take_part(v, o->pool, err);
    if (rc == 0)
        rc = build_queues(v, err);
    if (rc != 0)
        return rc;
    v->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    rc = v->epoll_fd < 0 ? -errno : watch(v, v->cq_fd);
    if (rc == 0)
        rc = watch(v, v->sock);
    return rc == 0 ? 0 : tw_err_set(err, rc, "rdma: epoll: %s", strerror(-rc));
}

/* Sends ours, takes theirs. A failure here is the connection's, not RDMA's. */
static int swap(const tw_verbs_link *v, const tw_verbs_offer *ours, tw_verbs_offer *ret,
                uint64_t deadline_ns, tw_err *err)
{
    uint8_t out[TW_VERBS_OFFER_BYTES], in[TW_VERBS_OFFER_BYTES];
    tw_verbs_offer_encode(ours, out);
    int rc = tw_sock_send_all(v->sock, out, sizeof out, deadline_ns);
    if (rc == 0)
        rc = tw_sock_recv_all(v->sock, in, sizeof in, deadline_ns);
    if (rc == 0)
        rc = tw_verbs_offer_decode(in, ret);
    if (rc != 0)
        return tw_err_set(err, rc, "rank %u: talk about rdma: %s", v->l.peer, strerror(-rc));
    return 0;
}

/* One step's end: why is our failure (code 0: none). 0: both go on. -EOPNOTSUPP: one could not. */
static int agree(const tw_verbs_link *v, const tw_err *why, tw_verbs_offer *ours,
                 tw_verbs_offer *theirs, uint64_t deadline_ns, tw_err *err)
{
    ours->usable = why->code == 0;
    snprintf(ours->why, sizeof ours->why, "%.175s", why->code != 0 ? why->msg : "");
    int rc = swap(v, ours, theirs, deadline_ns, err);
    if (rc != 0)
        return rc;
    if (why->code != 0)
        return tw_err_set(err, -EOPNOTSUPP, "rank %u: %.225s", v->l.rank, why->msg);
    if (!theirs->usable)
        return tw_err_set(err, -EOPNOTSUPP, "rank %u: %s", v->l.peer, theirs->why);
    return 0;
}

static tw_verbs_offer make_offer(const tw_verbs_link *v)
{
    tw_verbs_offer o = {.is_ethernet = v->at.attr.is_ethernet,
                        .can_flag = v->can_flag,
                        .mtu_code = v->at.attr.mtu_code,
                        .lid = v->at.attr.lid,
                        .qpn = v->l.proof.qpn,
                        .psn = v->psn,
                        .rkey = v->part.rkey,
                        .n_slots = SLOTS,
                        .slot_bytes = SLOT_BYTES,
                        .addr = (uintptr_t)tw_verbs_slot_in(v, 0)};
    memcpy(o.gid, v->at.gid.raw, sizeof o.gid);
    return o;
}

static int check_offer(const tw_verbs_link *v, const tw_verbs_offer *t, tw_err *err)
{
    const tw_verbs_port *a = &v->at.attr;
    if (t->is_ethernet != a->is_ethernet)
        return tw_err_set(err, -EPROTO, "%s:%u is %s, rank %u has %s", v->at.device, v->at.port,
                          a->is_ethernet ? "Ethernet" : "InfiniBand", v->l.peer,
                          t->is_ethernet ? "Ethernet" : "InfiniBand");
    if (t->n_slots != SLOTS || t->slot_bytes != SLOT_BYTES)
        return tw_err_set(err, -EPROTO, "rank %u has %u slots of %u bytes, rank %u has %u of %u",
                          v->l.peer, t->n_slots, t->slot_bytes, v->l.rank, SLOTS, SLOT_BYTES);
    if (t->mtu_code < 1 || t->mtu_code > 5)
        return tw_err_set(err, -EPROTO, "rank %u has no valid active MTU (%u)", v->l.peer,
                          t->mtu_code);
    return 0;
}

static void fill_proof(tw_verbs_link *v, const tw_verbs_offer *t, uint8_t mtu_code)
{
    tw_link_proof *p = &v->l.proof;
    memcpy(p->device, v->at.device, sizeof p->device);
    p->port = (uint8_t)v->at.port;
    p->mtu = 128U << mtu_code;
    p->peer_qpn = t->qpn;
    if (t->is_ethernet) {
        p->gid_index = (uint16_t)v->at.gid.index;
        tw_rdma_gid_text(v->at.gid.raw, p->gid, sizeof p->gid);
        tw_rdma_gid_text(t->gid, p->peer_gid, sizeof p->peer_gid);
        snprintf(p->local, sizeof p->local, "%s qp %u", p->gid, p->qpn);
        snprintf(p->peer, sizeof p->peer, "%s qp %u", p->peer_gid, p->peer_qpn);
    } else {
        snprintf(p->local, sizeof p->local, "lid %u qp %u", v->at.attr.lid, p->qpn);
        snprintf(p->peer, sizeof p->peer, "lid %u qp %u", t->lid, p->peer_qpn);
    }
}

static int connect_end(tw_verbs_link *v, const tw_verbs_offer *t, const char *sysfs, tw_err *err)
{
    int rc = check_offer(v, t, err);
    if (rc != 0)
        return rc;
    tw_verbs_path path = {.port = v->at.port,
                          .gid_index = v->at.gid.index,
                          .is_ethernet = t->is_ethernet,
                          .lid = t->lid,
                          .mtu_code = TW_MIN(t->mtu_code, v->at.attr.mtu_code),
                          .qpn = t->qpn,
                          .psn = t->psn};
    memcpy(path.gid, t->gid, sizeof path.gid);
    v->peer_addr = t->addr;
    v->peer_rkey = t->rkey;
    v->credits = SLOTS;
    v->by_flag = v->can_flag && t->can_flag;
    v->l.proof.by_flag = v->by_flag;
    fill_proof(v, t, path.mtu_code);
    tw_link_init(&v->l, &tw_verbs_link_ops, v->l.rank, v->l.peer, v->l.verify);
    tw_rdma_counters_read(sysfs, v->at.device, v->at.port, &v->l.proof.port_before);
    rc = v->api->to_rtr(v->qp, &path);
    if (rc == 0)
        rc = v->api->to_rts(v->qp, v->psn);
    return rc == 0 ? 0
                   : tw_err_set(err, rc, "%s:%u: connect queue pair %u to %s: %s", v->at.device,
                                v->at.port, v->l.proof.qpn, v->l.proof.peer, strerror(-rc));
}

static uint8_t probe_byte(size_t i, uint8_t rank)
{
    return (uint8_t)(i * 31 + (i >> 8) + rank);
}

static bool is_probe_right(const tw_verbs_link *v)
{
    const uint8_t *p = tw_verbs_slot_in(v, 0);
    for (size_t i = 0; i < SLOT_BYTES; i++)
        if (p[i] != probe_byte(i, v->l.peer))
            return false;
    return true;
}

/* Sleeps until a completion may be there, shortly. */
static void sleep_on_cq(tw_verbs_link *v)
{
    struct pollfd pfd = {.fd = v->cq_fd, .events = POLLIN};
    if (poll(&pfd, 1, 100) > 0)
        v->api->take_events(v->cq);
}

/* 0: our write is acknowledged and the peer's is here. */
static int wait_for_probe(tw_verbs_link *v, uint64_t until_ns)
{
    for (;;) {
        int rc = v->api->arm_cq(v->cq, false);
        if (rc == 0)
            rc = tw_verbs_drain(v);
        if (rc != 0 || (v->n_unacked == 0 && v->probe_came))
            return rc;
        if (tw_clock_now_ns() >= until_ns)
            return -ETIMEDOUT;
        sleep_on_cq(v);
    }
}

/* A whole slot each way: full packets of the path's MTU. */
static int probe(tw_verbs_link *v, tw_err *err)
{
    uint8_t *p = tw_verbs_slot(v, 0);
    for (size_t i = 0; i < SLOT_BYTES; i++)
        p[i] = probe_byte(i, v->l.rank);
    int rc = tw_verbs_post(v, TW_VERBS_PROBE, SLOT_BYTES);
    if (rc == 0)
        rc = wait_for_probe(v, tw_clock_now_ns() + PROBE_NS);
    bool lost = v->status == TW_VERBS_RETRY_EXC_ERR || (rc == -ETIMEDOUT && v->n_unacked > 0);
    if (rc != 0 && lost)
        return tw_err_set(err, rc,
                          "%s: full packets get no answer: path MTU %u is too big for the way "
                          "(ping -M do -s %u), or a firewall drops UDP 4791",
                          v->l.who, v->l.proof.mtu, v->l.proof.mtu + 44);
    if (rc == -ETIMEDOUT)
        return tw_err_set(err, rc, "%s: its first write did not come", v->l.who);
    if (rc != 0)
        return tw_verbs_explain(&v->l, rc, err);
    if (!is_probe_right(v))
        return tw_err_set(err, -EBADMSG, "%s: the first write came damaged", v->l.who);
    return 0;
}

static int set_up(tw_verbs_link *v, const tw_link_verbs_opts *o, tw_err *err)
{
    tw_verbs_offer ours, theirs, verdict = {0};
    tw_err why = {0};
    v->api = o->api != NULL ? o->api : tw_verbs_lib(&why);
    if (v->api != NULL)
        (void)!open_end(v, o, &why);
    ours = make_offer(v);
    int rc = agree(v, &why, &ours, &theirs, o->deadline_ns, err);
    if (rc != 0)
        return rc;
    (void)!connect_end(v, &theirs, o->sysfs, &why);
    rc = agree(v, &why, &ours, &verdict, o->deadline_ns, err);
    if (rc != 0)
        return rc;
    (void)!probe(v, &why);
    return agree(v, &why, &ours, &verdict, o->deadline_ns, err);
}

int tw_link_verbs_new(int fd, uint8_t rank, uint8_t peer, bool verify,
                      const tw_link_verbs_opts *opts, tw_link **ret, tw_err *err)
{
    tw_verbs_link *v = tw_mem_calloc(1, sizeof *v);
    if (v == NULL) {
        close(fd);
        return tw_err_set(err, -ENOMEM, "no memory for an rdma link");
    }
    v->sock = fd;
    v->epoll_fd = -1;
    v->l.rank = rank;
    v->l.peer = peer;
    v->l.verify = verify;
    int rc = set_up(v, opts, err);
    if (rc == 0) {
        *ret = &v->l;
        return 0;
    }
    tw_verbs_free(v);
    if (rc != -EOPNOTSUPP)
        close(fd);
    return rc;
}
