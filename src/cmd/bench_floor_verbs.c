/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/bench_floor_verbs.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "link/verbs_lib.h"
#include "os/sys.h"

/* A peer is one exchange ahead at most: two receives would do. */
enum { N_RECV = 16, N_SEND = 4, LOOKS = 256 };
static const uint64_t silence_ns = 10 * TW_NS_PER_S;

struct tw_floor_verbs {
    const tw_verbs_api *api;
    unsigned rank;
    tw_verbs_ctx *ctx;
    tw_verbs_cq *cq;
    tw_verbs_qp *qp;
    tw_verbs_mr *mr;
    uint8_t *arena; /* [2][TW_FLOOR_VERBS_WRITE]: ours, the peer's */
    uint32_t lkey, peer_rkey;
    uint64_t peer_addr;
    unsigned n_came; /* the peer's writes that came before we waited for them */
};

/* What the other rank must know; code: why it cannot. */
typedef struct end {
    int32_t code;
    uint32_t qpn, psn, rkey;
    uint64_t addr;
    uint8_t gid[TW_RDMA_GID_BYTES];
    uint16_t lid;
    uint8_t mtu_code, is_ethernet;
    char why[160];
} end;

static int find_gid(const tw_floor_verbs *f, const tw_coll_peer_stats *p, uint8_t *ret)
{
    tw_rdma_gid all[TW_RDMA_GIDS_MAX];
    int n = f->api->query_gids(f->ctx, all, TW_RDMA_GIDS_MAX);
    if (n < 0)
        n = (int)tw_rdma_gids(NULL, p->device, p->port, all, TW_RDMA_GIDS_MAX);
    for (int i = 0; i < n; i++)
        if (all[i].port == p->port && all[i].index == p->gid_index) {
            memcpy(ret, all[i].raw, TW_RDMA_GID_BYTES);
            return 0;
        }
    return -ENOENT;
}

/* Up to a queue pair that may be connected. what: what failed. */
static int build(tw_floor_verbs *f, const tw_coll_peer_stats *p, end *e, const char **what)
{
    const tw_verbs_api *api = f->api;
    unsigned n_ports;
    int cq_fd;
    tw_verbs_port port = {.lid = 0};
    *what = "open";
    int rc = api->open(p->device, &f->ctx, &n_ports);
    if (rc == 0)
        rc = api->query_port(f->ctx, p->port, &port);
    if (rc == 0 && port.is_ethernet) {
        *what = "GID";
        rc = find_gid(f, p, e->gid);
    }
    if (rc == 0) {
        *what = "register memory";
        rc = api->reg(f->ctx, f->arena, 2 * (size_t)TW_FLOOR_VERBS_WRITE, &f->mr, &f->lkey,
                      &e->rkey);
    }
    if (rc == 0) {
        *what = "queue pair";
        rc = api->create_cq(f->ctx, N_RECV + N_SEND, &f->cq, &cq_fd);
    }
    if (rc == 0)
        rc = api->create_qp(f->ctx, f->cq, N_SEND, N_RECV, false, &f->qp, &e->qpn);
    if (rc == 0)
        rc = api->to_init(f->qp, p->port);
    if (rc == 0)
        rc = api->post_recv(f->qp, N_RECV);
    if (rc == 0)
        rc = tw_sys_random(&e->psn, sizeof e->psn);
    e->psn &= 0xffffff;
    e->addr = (uintptr_t)(f->arena + TW_FLOOR_VERBS_WRITE);
    e->lid = port.lid;
    e->mtu_code = port.mtu_code;
    e->is_ethernet = port.is_ethernet;
    return rc;
}

static int connect_to(tw_floor_verbs *f, const tw_coll_peer_stats *p, const end *ours,
                      const end *theirs)
{
    tw_verbs_path path = {.port = p->port,
                          .gid_index = p->gid_index,
                          .is_ethernet = theirs->is_ethernet != 0,
                          .lid = theirs->lid,
                          .mtu_code = TW_MIN(ours->mtu_code, theirs->mtu_code),
                          .qpn = theirs->qpn,
                          .psn = theirs->psn};
    memcpy(path.gid, theirs->gid, sizeof path.gid);
    f->peer_addr = theirs->addr;
    f->peer_rkey = theirs->rkey;
    int rc = f->api->to_rtr(f->qp, &path);
    return rc == 0 ? f->api->to_rts(f->qp, ours->psn) : rc;
}

/* Both ranks know how each did. */
static int agree(tw_coll *c, const end *ours, end all[2], tw_err *err)
{
    int rc = tw_coll_all_gather(c, ours, sizeof *ours, all, err);
    for (unsigned r = 0; r < 2 && rc == 0; r++)
        if (all[r].code != 0) {
            all[r].why[sizeof all[r].why - 1] = '\0';
            rc = tw_err_set(err, all[r].code, "verbs floor: rank %u: %s", r, all[r].why);
        }
    return rc;
}

static void note_failure(end *e, const char *device, const char *what, int rc)
{
    e->code = rc;
    if (rc != 0)
        snprintf(e->why, sizeof e->why, "%.31s: %s: %s", device, what, strerror(-rc));
}

static int set_up(tw_floor_verbs *f, tw_coll *c, tw_err *err)
{
    tw_coll_stats st;
    tw_coll_get_stats(c, &st);
    const tw_coll_peer_stats *p = &st.peer[f->rank ^ 1];
    end ours = {.code = 0}, all[2];
    const char *what = "no memory";
    tw_err why = {0};
    f->api = tw_verbs_lib(&why);
    f->arena = tw_mem_align(4096, 2 * (size_t)TW_FLOOR_VERBS_WRITE);
    int rc = f->api == NULL ? why.code : f->arena == NULL ? -ENOMEM : build(f, p, &ours, &what);
    note_failure(&ours, p->device, what, rc);
    rc = agree(c, &ours, all, err);
    if (rc != 0)
        return rc;
    memset(f->arena, 0, 2 * (size_t)TW_FLOOR_VERBS_WRITE);
    note_failure(&ours, p->device, "connect", connect_to(f, p, &ours, &all[f->rank ^ 1]));
    return agree(c, &ours, all, err); /* a write before the peer is ready would be lost */
}

int tw_floor_verbs_open(tw_coll *c, tw_floor_verbs **ret, tw_err *err)
{
    tw_floor_verbs *f = tw_mem_calloc(1, sizeof *f);
    if (f == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the floor");
    f->rank = tw_coll_rank(c);
    int rc = set_up(f, c, err);
    if (rc == 0)
        *ret = f;
    else
        tw_floor_verbs_close(f);
    return rc;
}

void tw_floor_verbs_close(tw_floor_verbs *f)
{
    if (f == NULL)
        return;
    if (f->qp != NULL)
        f->api->destroy_qp(f->qp);
    if (f->cq != NULL)
        f->api->destroy_cq(f->cq);
    if (f->mr != NULL)
        f->api->dereg(f->mr);
    if (f->ctx != NULL)
        f->api->close(f->ctx);
    tw_mem_free(f->arena);
    tw_mem_free(f);
}

/* Until our write is acknowledged and one of the peer's is here. */
static int wait_both(tw_floor_verbs *f, tw_err *err)
{
    uint64_t since = 0;
    bool acked = false;
    for (unsigned n_looks = 1; !acked || f->n_came == 0; n_looks++) {
        tw_verbs_wc wc[4];
        const int n = f->api->poll_cq(f->cq, wc, TW_ARRAY_LEN(wc));
        if (n < 0)
            return tw_err_set(err, n, "verbs floor: completions: %s", strerror(-n));
        for (int i = 0; i < n; i++) {
            if (wc[i].status != TW_VERBS_OK)
                return tw_err_set(err, -EIO, "verbs floor: a %s failed, status %u",
                                  wc[i].is_recv ? "receive" : "write", wc[i].status);
            f->n_came += wc[i].is_recv;
            acked = acked || !wc[i].is_recv;
            if (wc[i].is_recv && f->api->post_recv(f->qp, 1) != 0)
                return tw_err_set(err, -EIO, "verbs floor: cannot post a receive");
        }
        if (n > 0 || n_looks % LOOKS != 0)
            continue;
        const uint64_t now = tw_clock_now_ns();
        since = since == 0 ? now : since;
        if (now - since > silence_ns)
            return tw_err_set(err, -ETIMEDOUT, "verbs floor: the peer is gone");
    }
    f->n_came--;
    return 0;
}

int tw_floor_verbs_exchange(tw_floor_verbs *f, size_t bytes, tw_err *err)
{
    for (size_t at = 0; at < bytes; at += TW_FLOOR_VERBS_WRITE) {
        const tw_verbs_write w = {.p = f->arena,
                                  .bytes =
                                      (uint32_t)TW_MIN(bytes - at, (size_t)TW_FLOOR_VERBS_WRITE),
                                  .lkey = f->lkey,
                                  .rkey = f->peer_rkey,
                                  .remote = f->peer_addr};
        int rc = f->api->post_write(f->qp, &w);
        if (rc != 0)
            return tw_err_set(err, rc, "verbs floor: write: %s", strerror(-rc));
        rc = wait_both(f, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

void *tw_floor_verbs_out(tw_floor_verbs *f)
{
    return f->arena;
}

void *tw_floor_verbs_in(tw_floor_verbs *f)
{
    return f->arena + TW_FLOOR_VERBS_WRITE;
}
