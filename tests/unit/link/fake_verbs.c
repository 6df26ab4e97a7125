/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_verbs.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/scope.h"

enum { STEP_MORE = 999, CQ_MAX = 256, QPS_MAX = 32, PENDING_MAX = 256 };

struct tw_verbs_ctx {
    fake_device *dev;
};

struct tw_verbs_cq {
    tw_verbs_wc wc[CQ_MAX];
    unsigned first, n, depth;
    int fd;
    bool armed, only_solicited, overrun;
};

struct tw_verbs_mr {
    struct tw_verbs_mr *next;
    uint8_t *p;
    size_t bytes;
    uint32_t lkey, rkey;
};

enum qp_state { QP_RESET, QP_INIT, QP_RTR, QP_RTS, QP_ERR };

struct tw_verbs_qp {
    tw_verbs_cq *cq;
    enum qp_state state;
    uint32_t qpn, peer_qpn;
    unsigned n_send, n_recv, max_send, max_recv;
};

typedef struct pending {
    tw_verbs_qp *from;
    tw_verbs_write w;
    unsigned step; /* lazy, with a flag: steps that are done */
} pending;

fake_verbs fake;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static tw_verbs_qp *qps[QPS_MAX];
static tw_verbs_mr *mrs;
static pending queue[PENDING_MAX];
static unsigned n_queue, n_polls;
static _Atomic unsigned n_handles;
static uint32_t next_key = 100, next_qpn = 17;

static void put_gid(fake_device *d, unsigned index, enum tw_rdma_gid_type type, bool loopback)
{
    tw_rdma_gid g = {.port = 1, .index = index, .type = type};
    static const uint8_t mapped[16] = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1};
    static const uint8_t local[16] = {[0] = 0xfe, [1] = 0x80, [15] = 9};
    memcpy(g.raw, loopback ? mapped : local, sizeof g.raw);
    d->gids[d->n_gids++] = g;
}

void fake_reset(void)
{
    fake = (fake_verbs){.n_devices = 1};
    fake_device *d = &fake.dev[0];
    snprintf(d->name, sizeof d->name, "fake0");
    d->n_ports = 1;
    d->ports[0] =
        (tw_verbs_port){.state = TW_VERBS_PORT_ACTIVE, .is_ethernet = true, .mtu_code = 5};
    put_gid(d, 0, TW_RDMA_GID_ROCE_V1, false);
    put_gid(d, 1, TW_RDMA_GID_ROCE_V2, false);
    put_gid(d, 2, TW_RDMA_GID_ROCE_V1, true);
    put_gid(d, 3, TW_RDMA_GID_ROCE_V2, true);
}

unsigned fake_n_handles(void)
{
    return n_handles;
}

void fake_fail_write(unsigned in, unsigned status)
{
    pthread_mutex_lock(&lock);
    fake.fail_status = status;
    fake.fail_write_in = in;
    pthread_mutex_unlock(&lock);
}

static int fake_devices(tw_verbs_device *ret, unsigned max)
{
    unsigned n = TW_MIN(fake.n_devices, max);
    for (unsigned i = 0; i < n; i++) {
        ret[i].is_iwarp = fake.dev[i].is_iwarp;
        memcpy(ret[i].name, fake.dev[i].name, sizeof ret[i].name);
    }
    return (int)n;
}

static int fake_open(const char *device, tw_verbs_ctx **ret, unsigned *ret_n_ports)
{
    for (unsigned i = 0; i < fake.n_devices; i++) {
        fake_device *d = &fake.dev[i];
        if (strcmp(d->name, device) != 0)
            continue;
        if (d->open_rc != 0)
            return d->open_rc;
        *ret = calloc(1, sizeof **ret);
        (*ret)->dev = d;
        *ret_n_ports = d->n_ports;
        n_handles++;
        return 0;
    }
    return -ENODEV;
}

static void drop(void *p)
{
    if (p == NULL)
        return;
    n_handles--;
    free(p);
}

static void fake_close(tw_verbs_ctx *c)
{
    drop(c);
}

static int fake_query_port(tw_verbs_ctx *c, unsigned port, tw_verbs_port *ret)
{
    *ret = c->dev->ports[port - 1];
    return 0;
}

static int fake_query_gids(tw_verbs_ctx *c, tw_rdma_gid *ret, unsigned max)
{
    unsigned n = TW_MIN(c->dev->n_gids, max);
    if (fake.no_gid_query)
        return -ENOSYS;
    memcpy(ret, c->dev->gids, n * sizeof *ret);
    return (int)n;
}

static int fake_reg(tw_verbs_ctx *c, void *p, size_t bytes, tw_verbs_mr **ret, uint32_t *ret_lkey,
                    uint32_t *ret_rkey)
{
    (void)c;
    if (fake.reg_rc != 0)
        return fake.reg_rc;
    tw_verbs_mr *m = calloc(1, sizeof *m);
    pthread_mutex_lock(&lock);
    *m = (tw_verbs_mr){mrs, p, bytes, next_key, next_key + 1};
    next_key += 2;
    mrs = m;
    fake.n_regs++;
    fake.n_reg_bytes += bytes;
    n_handles++;
    pthread_mutex_unlock(&lock);
    *ret_lkey = m->lkey;
    *ret_rkey = m->rkey;
    *ret = m;
    return 0;
}

static void fake_dereg(tw_verbs_mr *m)
{
    pthread_mutex_lock(&lock);
    for (tw_verbs_mr **i = &mrs; m != NULL && *i != NULL; i = &(*i)->next) {
        if (*i == m) {
            *i = m->next;
            break;
        }
    }
    drop(m);
    pthread_mutex_unlock(&lock);
}

static int fake_create_cq(tw_verbs_ctx *c, unsigned depth, tw_verbs_cq **ret, int *ret_fd)
{
    (void)c;
    if (fake.create_cq_rc != 0)
        return fake.create_cq_rc;
    tw_verbs_cq *q = calloc(1, sizeof *q);
    q->depth = fake.cq_limit != 0 ? fake.cq_limit : TW_MIN(depth, (unsigned)CQ_MAX);
    q->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    n_handles++;
    *ret_fd = q->fd;
    *ret = q;
    return 0;
}

static void fake_destroy_cq(tw_verbs_cq *q)
{
    if (q != NULL)
        close(q->fd);
    drop(q);
}

static int fake_create_qp(tw_verbs_ctx *c, tw_verbs_cq *q, unsigned n_send, unsigned n_recv,
                          bool with_flag, tw_verbs_qp **ret, uint32_t *ret_qpn)
{
    (void)c;
    (void)with_flag;
    if (fake.create_qp_rc != 0)
        return fake.create_qp_rc;
    tw_verbs_qp *p = calloc(1, sizeof *p);
    pthread_mutex_lock(&lock);
    *p = (tw_verbs_qp){.cq = q, .qpn = next_qpn++, .max_send = n_send, .max_recv = n_recv};
    unsigned i = 0;
    while (qps[i] != NULL)
        i++;
    qps[i] = p;
    n_handles++;
    pthread_mutex_unlock(&lock);
    *ret_qpn = p->qpn;
    *ret = p;
    return 0;
}

static void fake_destroy_qp(tw_verbs_qp *p)
{
    unsigned k = 0;
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; p != NULL && i < QPS_MAX; i++)
        if (qps[i] == p)
            qps[i] = NULL;
    for (unsigned i = 0; i < n_queue; i++)
        if (queue[i].from != p)
            queue[k++] = queue[i];
    n_queue = k;
    drop(p);
    pthread_mutex_unlock(&lock);
}

static int fake_to_init(tw_verbs_qp *p, unsigned port)
{
    (void)port;
    p->state = fake.init_rc == 0 ? QP_INIT : QP_RESET;
    return fake.init_rc;
}

static int fake_to_rtr(tw_verbs_qp *p, const tw_verbs_path *path)
{
    pthread_mutex_lock(&lock);
    int rc = p->state != QP_INIT ? -EINVAL : fake.rtr_rc;
    if (rc == 0) {
        p->state = QP_RTR;
        p->peer_qpn = path->qpn;
        fake.last_path = *path;
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

static int fake_to_rts(tw_verbs_qp *p, uint32_t psn)
{
    (void)psn;
    pthread_mutex_lock(&lock);
    int rc = p->state != QP_RTR ? -EINVAL : fake.rts_rc;
    p->state = rc == 0 ? QP_RTS : p->state;
    pthread_mutex_unlock(&lock);
    return rc;
}

static void push(tw_verbs_cq *q, tw_verbs_wc wc)
{
    if (q->n == q->depth) {
        q->overrun = true;
        return;
    }
    q->wc[(q->first + q->n++) % CQ_MAX] = wc;
    if (q->armed && (!q->only_solicited || wc.is_recv)) {
        q->armed = false;
        fake.n_events++;
        (void)!write(q->fd, &(uint64_t){1}, sizeof(uint64_t));
    }
}

static void break_qp(tw_verbs_qp *p)
{
    p->state = QP_ERR;
    for (; p->n_recv > 0; p->n_recv--)
        push(p->cq, (tw_verbs_wc){.status = TW_VERBS_FLUSH_ERR, .is_recv = true});
}

static tw_verbs_mr *find_mr(uint32_t key, bool remote, uint64_t at, size_t bytes)
{
    for (tw_verbs_mr *m = mrs; m != NULL; m = m->next)
        if ((remote ? m->rkey : m->lkey) == key && at >= (uintptr_t)m->p &&
            at + bytes <= (uintptr_t)m->p + m->bytes)
            return m;
    return NULL;
}

static tw_verbs_qp *find_qp(uint32_t qpn)
{
    for (unsigned i = 0; i < QPS_MAX; i++)
        if (qps[i] != NULL && qps[i]->qpn == qpn)
            return qps[i];
    return NULL;
}

static void write_part(const tw_verbs_write *w, bool flag)
{
    uint8_t *at = (uint8_t *)(uintptr_t)w->remote;
    if (flag && !fake.lose_flags)
        __atomic_store_n((uint32_t *)(uintptr_t)w->flag_remote, w->flag, __ATOMIC_RELEASE);
    if (flag || w->bytes == 0)
        return;
    memcpy(at, w->p, w->bytes);
    at[0] ^= fake.damage;
}

/* A status, or STEP_MORE: there is a rest of it. */
static unsigned deliver(tw_verbs_qp *p, const tw_verbs_write *w, unsigned step)
{
    tw_verbs_qp *to = find_qp(p->peer_qpn);
    if (p->state == QP_ERR)
        return TW_VERBS_FLUSH_ERR;
    if (fake.fail_write_in > 0 && --fake.fail_write_in == 0)
        return fake.fail_status;
    if (w->bytes > 0 && find_mr(w->lkey, false, (uintptr_t)w->p, w->bytes) == NULL)
        return TW_VERBS_LOC_PROT_ERR;
    if (to == NULL || to->state < QP_RTR || to->state == QP_ERR)
        return TW_VERBS_RETRY_EXC_ERR;
    uint32_t rkey = w->rkey + fake.wrong_rkey;
    if (w->bytes > 0 && find_mr(rkey, true, w->remote, w->bytes) == NULL) {
        break_qp(to);
        return TW_VERBS_REM_ACCESS_ERR;
    }
    if (w->with_flag && find_mr(rkey, true, w->flag_remote, sizeof w->flag) == NULL)
        return TW_VERBS_REM_ACCESS_ERR;
    if (step == 0)
        write_part(w, fake.flag_first && w->with_flag);
    if (step == 0 && w->with_flag && fake.lazy)
        return STEP_MORE;
    if (w->with_flag && step < 2)
        write_part(w, !fake.flag_first);
    if (w->with_flag && step == 1)
        return STEP_MORE;
    if (to->n_recv == 0)
        return TW_VERBS_RNR_RETRY_EXC_ERR;
    to->n_recv--;
    push(to->cq, (tw_verbs_wc){.imm = w->imm, .is_recv = true});
    return TW_VERBS_OK;
}

static bool carry(pending *x)
{
    unsigned status = deliver(x->from, &x->w, x->step++);
    if (status == STEP_MORE)
        return false;
    push(x->from->cq, (tw_verbs_wc){.status = status, .vendor = status != 0 ? 0x51 : 0});
    if (status != TW_VERBS_OK && x->from->state != QP_ERR)
        break_qp(x->from);
    return true;
}

static int fake_post_recv(tw_verbs_qp *p, unsigned n)
{
    int rc = fake.recv_rc;
    pthread_mutex_lock(&lock);
    if (p->n_recv + n > p->max_recv)
        rc = -ENOMEM;
    if (rc == 0 && !fake.keep_recvs)
        p->n_recv += n;
    pthread_mutex_unlock(&lock);
    return rc;
}

static int fake_post_write(tw_verbs_qp *p, const tw_verbs_write *w)
{
    int rc = 0;
    pending x = {p, *w, 0};
    pthread_mutex_lock(&lock);
    fake.n_writes++;
    if (p->state < QP_RTS)
        rc = -EINVAL;
    else if (p->n_send == p->max_send || n_queue == PENDING_MAX)
        rc = -ENOMEM;
    p->n_send += rc == 0;
    if (rc == 0 && !fake.swallow) {
        if (fake.lazy || n_queue > 0) /* none overtakes */
            queue[n_queue++] = x;
        else
            (void)carry(&x);
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

/* One write moves at every third poll, the oldest first. */
static void carry_some(void)
{
    if (n_queue == 0 || ++n_polls % 3 != 0)
        return;
    if (carry(&queue[0]))
        memmove(queue, queue + 1, --n_queue * sizeof queue[0]);
}

static void note_polled(tw_verbs_cq *q, const tw_verbs_wc *wc)
{
    for (unsigned i = 0; i < QPS_MAX; i++)
        if (qps[i] != NULL && qps[i]->cq == q && !wc->is_recv)
            qps[i]->n_send--;
}

static int fake_poll_cq(tw_verbs_cq *q, tw_verbs_wc *ret, unsigned max)
{
    pthread_mutex_lock(&lock);
    carry_some();
    unsigned n = TW_MIN(q->n, max);
    for (unsigned i = 0; i < n; i++) {
        ret[i] = q->wc[q->first];
        q->first = (q->first + 1) % CQ_MAX;
        note_polled(q, &ret[i]);
    }
    q->n -= n;
    int rc = q->overrun ? -EIO : (int)n;
    pthread_mutex_unlock(&lock);
    return rc;
}

static int fake_arm_cq(tw_verbs_cq *q, bool solicited)
{
    pthread_mutex_lock(&lock);
    /* Asked twice, the wider wish counts. */
    q->only_solicited = solicited && (!q->armed || q->only_solicited);
    q->armed = true;
    pthread_mutex_unlock(&lock);
    return 0;
}

static void fake_take_events(tw_verbs_cq *q)
{
    uint64_t n;
    (void)!read(q->fd, &n, sizeof n);
}

const tw_verbs_api fake_verbs_api = {.name = "fake",
                                     .devices = fake_devices,
                                     .open = fake_open,
                                     .close = fake_close,
                                     .query_port = fake_query_port,
                                     .query_gids = fake_query_gids,
                                     .reg = fake_reg,
                                     .dereg = fake_dereg,
                                     .create_cq = fake_create_cq,
                                     .destroy_cq = fake_destroy_cq,
                                     .create_qp = fake_create_qp,
                                     .destroy_qp = fake_destroy_qp,
                                     .to_init = fake_to_init,
                                     .to_rtr = fake_to_rtr,
                                     .to_rts = fake_to_rts,
                                     .post_recv = fake_post_recv,
                                     .post_write = fake_post_write,
                                     .poll_cq = fake_poll_cq,
                                     .arm_cq = fake_arm_cq,
                                     .take_events = fake_take_events};
