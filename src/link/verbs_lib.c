/* SPDX-License-Identifier: Apache-2.0 */
/* libibverbs behind the table: loaded at run time, so that machines without it run. */
#include "link/verbs_lib.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

static const tw_verbs_api *_Atomic replaced;

void tw_verbs_lib_replace(const tw_verbs_api *api)
{
    atomic_store(&replaced, api);
}

#ifndef TWINAX_HAVE_VERBS

const tw_verbs_api *tw_verbs_lib(tw_err *err)
{
    const tw_verbs_api *r = atomic_load(&replaced);
    if (r == NULL)
        (void)!tw_err_set(err, -ENOTSUP,
                          "this twinax was built without RDMA: build it again with rdma-core's "
                          "headers (apt: libibverbs-dev, dnf: rdma-core-devel)");
    return r;
}

#else

#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <infiniband/verbs.h>

#include "base/mem.h"
#include "base/scope.h"

_Static_assert((unsigned)IBV_WC_LOC_LEN_ERR == TW_VERBS_LOC_LEN_ERR &&
                   (unsigned)IBV_WC_LOC_QP_OP_ERR == TW_VERBS_LOC_QP_OP_ERR &&
                   (unsigned)IBV_WC_LOC_PROT_ERR == TW_VERBS_LOC_PROT_ERR &&
                   (unsigned)IBV_WC_WR_FLUSH_ERR == TW_VERBS_FLUSH_ERR &&
                   (unsigned)IBV_WC_BAD_RESP_ERR == TW_VERBS_BAD_RESP_ERR &&
                   (unsigned)IBV_WC_LOC_ACCESS_ERR == TW_VERBS_LOC_ACCESS_ERR &&
                   (unsigned)IBV_WC_REM_INV_REQ_ERR == TW_VERBS_REM_INV_REQ_ERR &&
                   (unsigned)IBV_WC_REM_ACCESS_ERR == TW_VERBS_REM_ACCESS_ERR &&
                   (unsigned)IBV_WC_REM_OP_ERR == TW_VERBS_REM_OP_ERR &&
                   (unsigned)IBV_WC_RETRY_EXC_ERR == TW_VERBS_RETRY_EXC_ERR &&
                   (unsigned)IBV_WC_RNR_RETRY_EXC_ERR == TW_VERBS_RNR_RETRY_EXC_ERR &&
                   (unsigned)IBV_WC_FATAL_ERR == TW_VERBS_FATAL_ERR,
               "completion codes are the library's");

/* The exported functions; the others of the header are inline and go through the context. */
#undef ibv_reg_mr
#undef ibv_query_port
#define EXPORTED(X)                                                                                \
    X(ibv_get_device_list)                                                                         \
    X(ibv_free_device_list)                                                                        \
    X(ibv_get_device_name)                                                                         \
    X(ibv_open_device)                                                                             \
    X(ibv_close_device)                                                                            \
    X(ibv_query_device)                                                                            \
    X(ibv_query_port)                                                                              \
    X(ibv_alloc_pd)                                                                                \
    X(ibv_dealloc_pd)                                                                              \
    X(ibv_reg_mr)                                                                                  \
    X(ibv_dereg_mr)                                                                                \
    X(ibv_create_comp_channel)                                                                     \
    X(ibv_destroy_comp_channel)                                                                    \
    X(ibv_create_cq)                                                                               \
    X(ibv_destroy_cq)                                                                              \
    X(ibv_get_cq_event)                                                                            \
    X(ibv_ack_cq_events)                                                                           \
    X(ibv_create_qp)                                                                               \
    X(ibv_destroy_qp)                                                                              \
    X(ibv_modify_qp)

#define DECLARE(f) __typeof__(&(f)) f;
static struct lib {
    EXPORTED(DECLARE)
    __typeof__(&_ibv_query_gid_table) query_gid_table; /* NULL before rdma-core 32 */
} lib;
#undef DECLARE

struct tw_verbs_ctx {
    struct ibv_context *x;
    struct ibv_pd *pd;
};

struct tw_verbs_cq {
    struct ibv_comp_channel *channel;
    struct ibv_cq *cq;
};

enum { WR_SEND, WR_RECV }; /* wr_id: a failed completion tells no more */

/* Functions that fail with NULL or -1 do not all set errno. */
static int last_errno(void)
{
    return errno > 0 ? -errno : -EIO;
}

static int lib_devices(tw_verbs_device *ret, unsigned max)
{
    int n = 0, k = 0;
    errno = 0;
    struct ibv_device **all = lib.ibv_get_device_list(&n);
    if (all == NULL)
        return errno == ENOSYS ? 0 : last_errno(); /* ENOSYS: no RDMA in this kernel */
    for (int i = 0; i < n && (unsigned)k < max; i++, k++) {
        const char *name = lib.ibv_get_device_name(all[i]);
        size_t len = strnlen(name, sizeof ret[k].name - 1);
        memset(&ret[k], 0, sizeof ret[k]);
        memcpy(ret[k].name, name, len);
        ret[k].is_iwarp = all[i]->transport_type == IBV_TRANSPORT_IWARP;
    }
    lib.ibv_free_device_list(all);
    return k;
}

static void lib_close(tw_verbs_ctx *c)
{
    if (c == NULL)
        return;
    if (c->pd != NULL)
        lib.ibv_dealloc_pd(c->pd);
    if (c->x != NULL)
        lib.ibv_close_device(c->x);
    tw_mem_free(c);
}

static struct ibv_context *open_named(const char *device)
{
    struct ibv_context *x = NULL;
    int n = 0;
    struct ibv_device **all = lib.ibv_get_device_list(&n);
    if (all == NULL)
        return NULL;
    errno = ENODEV;
    for (int i = 0; i < n && x == NULL; i++)
        if (strcmp(lib.ibv_get_device_name(all[i]), device) == 0)
            x = lib.ibv_open_device(all[i]);
    int keep = errno;
    lib.ibv_free_device_list(all);
    errno = keep;
    return x;
}

static int lib_open(const char *device, tw_verbs_ctx **ret, unsigned *ret_n_ports)
{
    struct ibv_device_attr attr;
    tw_verbs_ctx *c = tw_mem_calloc(1, sizeof *c);
    if (c == NULL)
        return -ENOMEM;
    c->x = open_named(device);
    if (c->x != NULL && lib.ibv_query_device(c->x, &attr) == 0)
        c->pd = lib.ibv_alloc_pd(c->x);
    if (c->pd == NULL) {
        int rc = last_errno();
        lib_close(c);
        return rc;
    }
    *ret_n_ports = attr.phys_port_cnt;
    *ret = c;
    return 0;
}

static int lib_query_port(tw_verbs_ctx *c, unsigned port, tw_verbs_port *ret)
{
    /* The header's inline does the same, around a symbol that we may not link to. */
    struct ibv_port_attr a = {0};
    struct verbs_context *v = verbs_get_ctx_op(c->x, query_port);
    int rc = v != NULL ? v->query_port(c->x, (uint8_t)port, &a, sizeof a)
                       : lib.ibv_query_port(c->x, (uint8_t)port, (void *)&a);
    if (rc != 0)
        return rc > 0 ? -rc : last_errno();
    *ret = (tw_verbs_port){.state = a.state <= IBV_PORT_ACTIVE ? (enum tw_verbs_port_state)a.state
                                                               : TW_VERBS_PORT_UNKNOWN,
                           .is_ethernet = a.link_layer == IBV_LINK_LAYER_ETHERNET,
                           .mtu_code = (uint8_t)a.active_mtu,
                           .lid = a.lid};
    return 0;
}

static int lib_query_gids(tw_verbs_ctx *c, tw_rdma_gid *ret, unsigned max)
{
    struct ibv_gid_entry all[TW_RDMA_GIDS_MAX];
    if (lib.query_gid_table == NULL)
        return -ENOSYS;
    ssize_t n = lib.query_gid_table(c->x, all, TW_RDMA_GIDS_MAX, 0, sizeof all[0]);
    if (n < 0)
        return -ENOSYS; /* an old kernel; a table that is too big: sysfs knows */
    for (ssize_t i = 0; i < n && i < (ssize_t)max; i++) {
        ret[i] = (tw_rdma_gid){.type = (enum tw_rdma_gid_type)all[i].gid_type,
                               .port = all[i].port_num,
                               .index = all[i].gid_index};
        memcpy(ret[i].raw, all[i].gid.raw, sizeof ret[i].raw);
    }
    return (int)TW_MIN(n, (ssize_t)max);
}

static int lib_reg(tw_verbs_ctx *c, void *p, size_t bytes, tw_verbs_mr **ret, uint32_t *ret_lkey,
                   uint32_t *ret_rkey)
{
    errno = 0;
    struct ibv_mr *m =
        lib.ibv_reg_mr(c->pd, p, bytes, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
    if (m == NULL)
        return last_errno();
    *ret_lkey = m->lkey;
    *ret_rkey = m->rkey;
    *ret = (tw_verbs_mr *)m;
    return 0;
}

static void lib_dereg(tw_verbs_mr *m)
{
    if (m != NULL)
        lib.ibv_dereg_mr((struct ibv_mr *)m);
}

static void lib_destroy_cq(tw_verbs_cq *q)
{
    if (q == NULL)
        return;
    if (q->cq != NULL)
        lib.ibv_destroy_cq(q->cq);
    if (q->channel != NULL)
        lib.ibv_destroy_comp_channel(q->channel);
    tw_mem_free(q);
}

static int lib_create_cq(tw_verbs_ctx *c, unsigned depth, tw_verbs_cq **ret, int *ret_fd)
{
    tw_verbs_cq *q = tw_mem_calloc(1, sizeof *q);
    if (q == NULL)
        return -ENOMEM;
    errno = 0;
    q->channel = lib.ibv_create_comp_channel(c->x);
    if (q->channel != NULL)
        q->cq = lib.ibv_create_cq(c->x, (int)depth, NULL, q->channel, 0);
    int fd = q->channel != NULL ? q->channel->fd : -1;
    /* Events are taken after a sleep, and taking must never sleep itself. */
    if (q->cq == NULL || fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0) {
        int rc = last_errno();
        lib_destroy_cq(q);
        return rc;
    }
    *ret_fd = fd;
    *ret = q;
    return 0;
}

static int lib_create_qp(tw_verbs_ctx *c, tw_verbs_cq *q, unsigned n_send, unsigned n_recv,
                         bool with_flag, tw_verbs_qp **ret, uint32_t *ret_qpn)
{
    struct ibv_qp_init_attr a = {.send_cq = q->cq,
                                 .recv_cq = q->cq,
                                 .cap = {.max_send_wr = n_send,
                                         .max_recv_wr = n_recv,
                                         .max_send_sge = 1,
                                         .max_recv_sge = 1,
                                         .max_inline_data = with_flag ? sizeof(uint32_t) : 0},
                                 .qp_type = IBV_QPT_RC};
    errno = 0;
    struct ibv_qp *p = lib.ibv_create_qp(c->pd, &a);
    if (p == NULL)
        return last_errno();
    *ret_qpn = p->qp_num;
    *ret = (tw_verbs_qp *)p;
    return 0;
}

static void lib_destroy_qp(tw_verbs_qp *p)
{
    if (p != NULL)
        lib.ibv_destroy_qp((struct ibv_qp *)p);
}

static int modify(tw_verbs_qp *p, struct ibv_qp_attr *a, int mask)
{
    int rc = lib.ibv_modify_qp((struct ibv_qp *)p, a, mask);
    return rc > 0 ? -rc : rc < 0 ? last_errno() : 0;
}

static int lib_to_init(tw_verbs_qp *p, unsigned port)
{
    struct ibv_qp_attr a = {.qp_state = IBV_QPS_INIT,
                            .port_num = (uint8_t)port,
                            .qp_access_flags = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE};
    return modify(p, &a, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
}

static int lib_to_rtr(tw_verbs_qp *p, const tw_verbs_path *path)
{
    struct ibv_qp_attr a = {.qp_state = IBV_QPS_RTR,
                            .path_mtu = (enum ibv_mtu)path->mtu_code,
                            .dest_qp_num = path->qpn,
                            .rq_psn = path->psn,
                            .max_dest_rd_atomic = 1,
                            .min_rnr_timer = TW_VERBS_RNR_TIMER,
                            .ah_attr = {.port_num = (uint8_t)path->port, .dlid = path->lid}};
    if (path->is_ethernet) {
        a.ah_attr.is_global = 1;
        a.ah_attr.grh.sgid_index = (uint8_t)path->gid_index;
        a.ah_attr.grh.hop_limit = 64;
        memcpy(a.ah_attr.grh.dgid.raw, path->gid, sizeof path->gid);
    }
    return modify(p, &a,
                  IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
                      IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
}

static int lib_to_rts(tw_verbs_qp *p, uint32_t psn)
{
    struct ibv_qp_attr a = {.qp_state = IBV_QPS_RTS,
                            .sq_psn = psn,
                            .timeout = TW_VERBS_TIMEOUT,
                            .retry_cnt = TW_VERBS_RETRIES,
                            .rnr_retry = TW_VERBS_RNR_RETRIES,
                            .max_rd_atomic = 1};
    return modify(p, &a,
                  IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                      IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
}

static int lib_post_recv(tw_verbs_qp *p, unsigned n)
{
    while (n > 0) {
        struct ibv_recv_wr wr[TW_VERBS_BATCH], *bad;
        unsigned k = TW_MIN(n, (unsigned)TW_VERBS_BATCH);
        for (unsigned i = 0; i < k; i++)
            wr[i] = (struct ibv_recv_wr){.wr_id = WR_RECV, .next = i + 1 < k ? &wr[i + 1] : NULL};
        int rc = ibv_post_recv((struct ibv_qp *)p, wr, &bad);
        if (rc != 0)
            return rc > 0 ? -rc : last_errno();
        n -= k;
    }
    return 0;
}

static int lib_post_write(tw_verbs_qp *p, const tw_verbs_write *w)
{
    struct ibv_sge sge = {(uintptr_t)w->p, w->bytes, w->lkey};
    struct ibv_sge flag_sge = {(uintptr_t)&w->flag, sizeof w->flag, 0};
    struct ibv_send_wr *bad, last = {.wr_id = WR_SEND,
                                     .sg_list = &sge,
                                     .num_sge = w->bytes > 0,
                                     .opcode = IBV_WR_RDMA_WRITE_WITH_IMM,
                                     .send_flags = IBV_SEND_SIGNALED | IBV_SEND_SOLICITED,
                                     .wr.rdma = {.remote_addr = w->remote, .rkey = w->rkey}};
    last.imm_data = htonl(w->imm);
    struct ibv_send_wr data = last;
    if (w->with_flag) {
        data.opcode = IBV_WR_RDMA_WRITE;
        data.send_flags = 0; /* the last one's completion tells of both */
        data.next = &last;
        last.sg_list = &flag_sge;
        last.num_sge = 1;
        last.send_flags |= IBV_SEND_INLINE;
        last.wr.rdma.remote_addr = w->flag_remote;
    }
    int rc = ibv_post_send((struct ibv_qp *)p, w->with_flag ? &data : &last, &bad);
    return rc > 0 ? -rc : rc < 0 ? last_errno() : 0;
}

static int lib_poll_cq(tw_verbs_cq *q, tw_verbs_wc *ret, unsigned max)
{
    struct ibv_wc wc[TW_VERBS_BATCH];
    int n = ibv_poll_cq(q->cq, (int)TW_MIN(max, (unsigned)TW_VERBS_BATCH), wc);
    for (int i = 0; i < n; i++)
        ret[i] = (tw_verbs_wc){.status = wc[i].status,
                               .vendor = wc[i].vendor_err,
                               .imm = ntohl(wc[i].imm_data),
                               .is_recv = wc[i].wr_id == WR_RECV};
    return n < 0 ? -EIO : n;
}

static int lib_arm_cq(tw_verbs_cq *q, bool solicited)
{
    int rc = ibv_req_notify_cq(q->cq, solicited);
    return rc > 0 ? -rc : rc < 0 ? last_errno() : 0;
}

static void lib_take_events(tw_verbs_cq *q)
{
    struct ibv_cq *cq;
    void *ignored;
    unsigned n = 0;
    while (lib.ibv_get_cq_event(q->channel, &cq, &ignored) == 0)
        n++;
    if (n > 0)
        lib.ibv_ack_cq_events(q->cq, n);
}

static const tw_verbs_api lib_api = {.name = "libibverbs",
                                     .devices = lib_devices,
                                     .open = lib_open,
                                     .close = lib_close,
                                     .query_port = lib_query_port,
                                     .query_gids = lib_query_gids,
                                     .reg = lib_reg,
                                     .dereg = lib_dereg,
                                     .create_cq = lib_create_cq,
                                     .destroy_cq = lib_destroy_cq,
                                     .create_qp = lib_create_qp,
                                     .destroy_qp = lib_destroy_qp,
                                     .to_init = lib_to_init,
                                     .to_rtr = lib_to_rtr,
                                     .to_rts = lib_to_rts,
                                     .post_recv = lib_post_recv,
                                     .post_write = lib_post_write,
                                     .poll_cq = lib_poll_cq,
                                     .arm_cq = lib_arm_cq,
                                     .take_events = lib_take_events};

/* Fills one pointer; a function pointer may not be cast from void *, its bytes may be copied. */
static bool load_symbol(void *handle, const char *name, void *ret, size_t bytes)
{
    void *p = dlsym(handle, name);
    memcpy(ret, &p, bytes);
    return p != NULL;
}

static tw_err lib_error; /* code 0: loaded */

static void load(void)
{
    /* Never unloaded: providers keep threads and memory of their own. */
    void *h = dlopen("libibverbs.so.1", RTLD_NOW | RTLD_LOCAL);
    if (h == NULL) {
        (void)!tw_err_set(&lib_error, -ENOENT,
                          "libibverbs.so.1 cannot be loaded: apt install libibverbs1 "
                          "ibverbs-providers, or dnf install libibverbs (%.90s)",
                          dlerror());
        return;
    }
    const char *missing = NULL;
#define LOAD(f)                                                                                    \
    if (!load_symbol(h, #f, &lib.f, sizeof lib.f))                                                 \
        missing = #f;
    EXPORTED(LOAD)
#undef LOAD
    (void)load_symbol(h, "_ibv_query_gid_table", &lib.query_gid_table, sizeof lib.query_gid_table);
    if (missing != NULL)
        (void)!tw_err_set(&lib_error, -ENOSYS,
                          "libibverbs.so.1 has no %s: update rdma-core (apt: libibverbs1, dnf: "
                          "libibverbs)",
                          missing);
}

const tw_verbs_api *tw_verbs_lib(tw_err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const tw_verbs_api *r = atomic_load(&replaced);
    if (r != NULL)
        return r;
    pthread_once(&once, load);
    if (lib_error.code == 0)
        return &lib_api;
    if (err != NULL)
        *err = lib_error;
    return NULL;
}

#endif
