/* SPDX-License-Identifier: Apache-2.0 */
#include "twinax/coll.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"
#include "coll/group.h"
#include "coll/rendezvous.h"
#include "fmt/frame.h"
#include "link/fault.h"
#include "os/sys.h"

#define STEP_DEFAULT_NS (5 * TW_NS_PER_S)
#define LIMIT_MAX_NS    (24 * 3600 * TW_NS_PER_S)
#define EXPLAIN_NS      (200 * TW_NS_PER_MS)
/* Spinning pays while the peer is usually here within it; where waits last longer, a short try is
 * enough and the core rests. */
#define SPIN_MAX_NS   (100 * TW_NS_PER_US)
#define SPIN_SHORT_NS (5 * TW_NS_PER_US)
enum { LOOKS_FIRST = 16, LOOKS = 4 }; /* at the links before one at the clock */

int tw_coll_new(unsigned rank, unsigned n_ranks, tw_link *const *links, tw_health *health,
                uint64_t step_ns, uint64_t spin_ns, tw_coll **ret, tw_err *err)
{
    tw_coll *c = tw_mem_calloc(1, sizeof *c);
    float *scratch = tw_mem_align(64, TW_OPS_SCRATCH_FLOATS * sizeof *scratch);
    if (c == NULL || scratch == NULL) {
        tw_mem_free(c);
        tw_mem_free(scratch);
        for (unsigned i = 0; i < n_ranks; i++)
            tw_link_close(links[i]);
        tw_health_stop(health);
        return tw_err_set(err, -ENOMEM, "no memory for a group of %u ranks", n_ranks);
    }
    c->rank = rank;
    c->n_ranks = n_ranks;
    c->health = health;
    c->step_ns = step_ns != 0 ? step_ns : STEP_DEFAULT_NS;
    c->limit_ns = c->step_ns;
    c->spin_ns = spin_ns;
    c->scratch = scratch;
    for (unsigned i = 0; i < n_ranks; i++)
        c->links[i] = links[i];
    tw_ops_init(&c->ops, rank, n_ranks, links, scratch);
    *ret = c;
    return 0;
}

static int check_opts(const tw_coll_opts *o, tw_err *err)
{
    unsigned r = o->n_ranks;
    if (r != 1 && r != 2 && r != 4 && r != 8)
        return tw_err_set(err, -EINVAL, "a group has 1, 2, 4 or 8 ranks, not %u", r);
    if (o->rank >= r)
        return tw_err_set(err, -EINVAL, "rank %u does not exist in a group of %u", o->rank, r);
    if (r == 1)
        return 0;
    if (o->token == NULL)
        return tw_err_set(err, -EINVAL, "rendezvous: no token");
    if (o->n_facts > TW_FRAME_FACTS_MAX)
        return tw_err_set(err, -E2BIG, "hello: %zu facts, at most %d are compared", o->n_facts,
                          TW_FRAME_FACTS_MAX);
    if (o->address == NULL && (o->rank != 0 || o->listen_fd < 0))
        return tw_err_set(err, -EINVAL, "rendezvous: no address of rank 0");
    return 0;
}

static uint64_t choose_spin(const tw_coll_opts *o, unsigned n_threads_here)
{
    int cpus[TW_CPU_MAX];
    if (o->spin_us != 0)
        return o->spin_us < 0 ? 0 : (uint64_t)o->spin_us * TW_NS_PER_US;
    return n_threads_here > tw_sys_cpus(cpus, TW_CPU_MAX) ? 0 : SPIN_MAX_NS;
}

/* The top byte of a float in the first all-reduce: past the headers and the agreement on the load,
 * before the end of any prompt's first exchange. */
enum { FAULT_FLIP_AT = 2403 };

/* Proofs are worth what can break them: damage on request, see tw_coll_opts. */
static int damage_links(const tw_coll_opts *o, tw_link **links, tw_err *err)
{
    const tw_link_fault flip = {.flip_rx_at = FAULT_FLIP_AT, .cut_rx_at = TW_FAULT_NEVER};
    if (o->fault == NULL || strcmp(o->fault, "order") == 0)
        return 0;
    if (strcmp(o->fault, "flip") != 0)
        return tw_err_set(err, -EINVAL, "fault %s: wanted flip or order", o->fault);
    if (o->rank != 0)
        return 0;
    tw_link *inner = links[1];
    links[1] = NULL; /* taken, whatever comes */
    return tw_link_fault_new(inner, &flip, &links[1], err);
}

int tw_coll_open(const tw_coll_opts *o, tw_coll **ret, tw_err *err)
{
    tw_link *none[TW_RANKS_MAX] = {0};
    int rc = check_opts(o, err);
    if (rc != 0 || o->n_ranks == 1) {
        if (o->rank == 0 && o->listen_fd >= 0)
            close(o->listen_fd);
        return rc != 0 ? rc : tw_coll_new(0, 1, none, NULL, o->step_ns, 0, ret, err);
    }
    tw_meeting m;
    tw_health *health;
    rc = tw_rendezvous(o, &m, err);
    if (rc != 0)
        return rc;
    rc = damage_links(o, m.links, err);
    for (unsigned i = 0; rc != 0 && i < o->n_ranks; i++)
        if (m.fds[i] >= 0)
            close(m.fds[i]);
    if (rc == 0)
        rc = tw_health_start(o->rank, o->n_ranks, m.fds, &health, err);
    if (rc != 0) {
        for (unsigned i = 0; i < o->n_ranks; i++)
            tw_link_close(m.links[i]);
        return rc;
    }
    rc = tw_coll_new(o->rank, o->n_ranks, m.links, health, o->step_ns,
                     choose_spin(o, m.n_threads_here), ret, err);
    if (rc == 0)
        (*ret)->ops.swap_order = o->fault != NULL && strcmp(o->fault, "order") == 0;
    return rc;
}

void tw_coll_close(tw_coll *c)
{
    if (c == NULL)
        return;
    tw_health_stop(c->health);
    for (unsigned i = 0; i < c->n_ranks; i++)
        tw_link_close(c->links[i]);
    while (c->blocks != NULL) {
        tw_coll_block *b = c->blocks;
        c->blocks = b->next;
        tw_mem_free(b->p);
        tw_mem_free(b);
    }
    tw_mem_free(c->scratch);
    tw_mem_free(c);
}

unsigned tw_coll_rank(const tw_coll *c)
{
    return c->rank;
}

unsigned tw_coll_n_ranks(const tw_coll *c)
{
    return c->n_ranks;
}

void *tw_coll_alloc(tw_coll *c, size_t bytes)
{
    size_t size = bytes > 0 ? bytes : 1;
    tw_coll_block *b = tw_mem_calloc(1, sizeof *b);
    void *p = tw_mem_align(64, size);
    if (b == NULL || p == NULL) {
        tw_mem_free(b);
        tw_mem_free(p);
        return NULL;
    }
    memset(p, 0, size);
    *b = (tw_coll_block){c->blocks, p};
    c->blocks = b;
    return p;
}

/* Keeps the first error for ever and tells the others, so that they need not wait for a deadline. */
static int fail_group(tw_coll *c, const tw_err *why, tw_err *err)
{
    c->failed = *why;
    if (c->health != NULL)
        tw_health_give_up(c->health, why->msg);
    if (err != NULL)
        *err = *why;
    return why->code;
}

static int check_failed(const tw_coll *c, tw_err *err)
{
    if (c->failed.code != 0 && err != NULL)
        *err = c->failed;
    return c->failed.code;
}

/* 0 when an operation may start. */
static int begin_op(tw_coll *c, tw_err *err)
{
    int rc = check_failed(c, err);
    if (rc == 0 && c->ops.kind != TW_OP_NONE)
        rc = tw_err_set(err, -EBUSY, "a collective (%s) is under way",
                        tw_ops_name((uint8_t)c->ops.kind));
    if (rc == 0) /* a start that is refused does not move the deadline of what is under way */
        c->deadline_ns = 0;
    return rc;
}

int tw_coll_all_reduce_start(tw_coll *c, float *x, size_t n, tw_err *err)
{
    int rc = begin_op(c, err);
    if (rc == 0)
        tw_ops_reduce(&c->ops, x, n);
    return rc;
}

int tw_coll_all_reduce_wire16_start(tw_coll *c, float *x, size_t n, tw_err *err)
{
    int rc = begin_op(c, err);
    if (rc == 0)
        tw_ops_reduce16(&c->ops, x, n);
    return rc;
}

int tw_coll_barrier_start(tw_coll *c, tw_err *err)
{
    int rc = begin_op(c, err);
    if (rc == 0)
        tw_ops_barrier(&c->ops);
    return rc;
}

int tw_coll_all_gather_start(tw_coll *c, const void *in, size_t bytes, void *out, tw_err *err)
{
    int rc = begin_op(c, err);
    if (rc == 0)
        tw_ops_gather(&c->ops, in, bytes, out);
    return rc;
}

int tw_coll_broadcast_start(tw_coll *c, unsigned root, void *p, size_t bytes, tw_err *err)
{
    int rc = begin_op(c, err);
    if (rc == 0 && root >= c->n_ranks)
        rc = tw_err_set(err, -EINVAL, "broadcast from rank %u of %u", root, c->n_ranks);
    if (rc == 0)
        tw_ops_broadcast(&c->ops, root, p, bytes);
    return rc;
}

/* Who is missing at the deadline, and whether he lives. */
static int tell_late(tw_coll *c, tw_err *err)
{
    const tw_link *late = NULL;
    bool more = false;
    for (unsigned i = 0; i < c->n_ranks; i++) {
        const tw_link *l = c->links[i];
        if (l == NULL || (tw_link_rx_idle(l) && tw_link_tx_idle(l)))
            continue;
        more |= late != NULL;
        if (late == NULL)
            late = l;
    }
    char state[80] = "liveness unknown";
    unsigned peer = late != NULL ? late->peer : 0;
    if (c->health != NULL)
        tw_health_describe(c->health, peer, state, sizeof state);
    const char *what = tw_ops_name((uint8_t)c->ops.kind);
    return tw_err_set(err, -ETIMEDOUT, "%s %s in %s within its deadline (%s)%s",
                      late != NULL ? late->who : "a peer",
                      late != NULL && !tw_link_rx_idle(late) ? "sent nothing" : "took nothing",
                      what != NULL ? what : "?", state, more ? "; nor did other ranks" : "");
}

/* A closed data connection is the symptom: a peer may have closed it because another one died, and
 * that news travels elsewhere. */
static int explain_closed(tw_coll *c, uint64_t now_ns, tw_err *err)
{
    tw_err why;
    if (!tw_health_dead(c->health) && now_ns < c->closed_until_ns)
        return -EAGAIN;
    if (tw_health_check(c->health, &why) == 0)
        why = c->closed;
    return fail_group(c, &why, err);
}

static int poll_group(tw_coll *c, uint64_t now_ns, tw_err *err)
{
    tw_err why = {0};
    bool idle = c->ops.kind == TW_OP_NONE;
    if (c->closed.code != 0)
        return explain_closed(c, now_ns, err);
    /* Asked before the links: what a dying peer has sent is still taken. */
    bool dead = c->health != NULL && tw_health_dead(c->health);
    int rc = tw_ops_poll(&c->ops, &why);
    if (rc == 0) {
        c->n_collectives += !idle;
        return 0;
    }
    if (rc == -ECONNRESET && c->health != NULL) {
        c->closed = why;
        c->closed_until_ns = now_ns + EXPLAIN_NS;
        return explain_closed(c, now_ns, err);
    }
    if (rc != -EAGAIN)
        return fail_group(c, &why, err);
    if (dead && tw_health_check(c->health, &why) != 0)
        return fail_group(c, &why, err);
    if (now_ns < c->deadline_ns)
        return -EAGAIN;
    (void)!tell_late(c, &why);
    return fail_group(c, &why, err);
}

void tw_coll_expect(tw_coll *c, uint64_t predicted_ns)
{
    c->limit_ns = TW_MAX(c->step_ns, 10 * TW_MIN(predicted_ns, LIMIT_MAX_NS / 10));
}

int tw_coll_poll(tw_coll *c, uint64_t now_ns, tw_err *err)
{
    int rc = check_failed(c, err);
    if (rc != 0)
        return rc;
    if (c->deadline_ns == 0)
        c->deadline_ns = now_ns + c->limit_ns;
    return poll_group(c, now_ns, err);
}

/* Sleeps until a link may move, a peer died, or the deadline. */
static void sleep_on_links(tw_coll *c, uint64_t now_ns)
{
    struct pollfd pfd[TW_RANKS_MAX + 1];
    tw_link *armed[TW_RANKS_MAX];
    unsigned n = 0;
    bool ready = false;
    bool closed = c->closed.code != 0;
    for (unsigned i = 0; i < c->n_ranks && !ready && !closed; i++) {
        tw_link *l = c->links[i];
        if (l == NULL || (tw_link_rx_idle(l) && tw_link_tx_idle(l)))
            continue;
        if (l->ops->arm(l, &pfd[n]))
            armed[n++] = l;
        else
            ready = true;
    }
    unsigned n_fds = n;
    if (c->health != NULL)
        pfd[n_fds++] = (struct pollfd){.fd = tw_health_wake_fd(c->health), .events = POLLIN};
    if (!ready) {
        uint64_t until = closed ? c->closed_until_ns : c->deadline_ns;
        uint64_t left = until > now_ns ? until - now_ns : 0;
        struct timespec ts = {(time_t)(left / TW_NS_PER_S), (int)(left % TW_NS_PER_S)};
        (void)ppoll(pfd, n_fds, until == TW_NEVER_NS ? NULL : &ts, NULL);
    }
    for (unsigned i = 0; i < n; i++)
        armed[i]->ops->disarm(armed[i], ready ? 0 : pfd[i].revents);
}

static uint64_t spin_budget(const tw_coll *c)
{
    return c->typical_ns <= c->spin_ns ? c->spin_ns : TW_MIN(c->spin_ns, SPIN_SHORT_NS);
}

/* Spins while something moves, and for a while after; then sleeps. */
static int wait_until(tw_coll *c, uint64_t begin_ns, uint64_t *ret_end_ns, tw_err *err)
{
    const uint64_t budget_ns = spin_budget(c);
    uint64_t now = begin_ns, moved_ns = begin_ns, longest_ns = 0, n_moves = c->ops.n_moves;
    for (;;) {
        /* The clock costs as much as a look at a link. */
        int rc = poll_group(c, now, err);
        for (unsigned i = 1; rc == -EAGAIN && i < LOOKS && budget_ns > 0; i++) {
            tw_cpu_relax();
            rc = poll_group(c, now, err);
        }
        if (rc != -EAGAIN || c->ops.n_moves != n_moves) {
            now = tw_clock_now_ns();
            longest_ns = TW_MAX(longest_ns, now - moved_ns);
            n_moves = c->ops.n_moves;
            moved_ns = now;
        }
        if (rc != -EAGAIN) {
            /* A long sleep is one long wait, not a hundred. */
            longest_ns = TW_MIN(longest_ns, 4 * SPIN_MAX_NS);
            c->typical_ns = (7 * c->typical_ns + longest_ns) / 8;
            *ret_end_ns = now;
            return rc;
        }
        if (now >= moved_ns + budget_ns)
            sleep_on_links(c, now);
        else
            tw_cpu_relax();
        now = tw_clock_now_ns();
    }
}

/* A peer that is here already needs no clock: reading it costs as much as a small exchange. */
static int look_first(tw_coll *c, tw_err *err)
{
    int rc = -EAGAIN;
    c->deadline_ns = TW_NEVER_NS;
    for (unsigned i = 0; rc == -EAGAIN && i < LOOKS_FIRST; i++) {
        if (i > 0)
            tw_cpu_relax();
        rc = c->closed.code != 0 ? -EAGAIN : poll_group(c, 0, err);
    }
    return rc;
}

int tw_coll_wait(tw_coll *c, uint64_t extra_ns, tw_err *err)
{
    int rc = check_failed(c, err);
    if (rc != 0 || c->n_ranks == 1)
        return rc != 0 ? rc : tw_coll_poll(c, 0, err);
    if (c->spin_ns > 0 && (rc = look_first(c, err)) != -EAGAIN)
        return rc;
    uint64_t begin_ns = tw_clock_now_ns(), end_ns;
    c->deadline_ns = begin_ns + c->limit_ns + extra_ns;
    if (c->closed.code != 0) /* seen just now, without a clock */
        c->closed_until_ns = begin_ns + EXPLAIN_NS;
    rc = wait_until(c, begin_ns, &end_ns, err);
    c->wait_ns += end_ns - begin_ns;
    return rc;
}

int tw_coll_all_reduce(tw_coll *c, float *x, size_t n, tw_err *err)
{
    int rc = tw_coll_all_reduce_start(c, x, n, err);
    return rc != 0 ? rc : tw_coll_wait(c, 0, err);
}

int tw_coll_all_reduce_wire16(tw_coll *c, float *x, size_t n, tw_err *err)
{
    int rc = tw_coll_all_reduce_wire16_start(c, x, n, err);
    return rc != 0 ? rc : tw_coll_wait(c, 0, err);
}

int tw_coll_barrier(tw_coll *c, tw_err *err)
{
    int rc = tw_coll_barrier_start(c, err);
    return rc != 0 ? rc : tw_coll_wait(c, 0, err);
}

int tw_coll_all_gather(tw_coll *c, const void *in, size_t bytes, void *out, tw_err *err)
{
    int rc = tw_coll_all_gather_start(c, in, bytes, out, err);
    return rc != 0 ? rc : tw_coll_wait(c, 0, err);
}

int tw_coll_broadcast(tw_coll *c, unsigned root, void *p, size_t bytes, tw_err *err)
{
    int rc = tw_coll_broadcast_start(c, root, p, bytes, err);
    return rc != 0 ? rc : tw_coll_wait(c, 0, err);
}

int tw_coll_plan_send(tw_coll *c, const void *p, size_t bytes, tw_err *err)
{
    int rc = begin_op(c, err);
    if (rc == 0 && c->rank != 0)
        rc = tw_err_set(err, -EINVAL, "only rank 0 sends step plans, not rank %u", c->rank);
    if (rc != 0 || c->n_ranks == 1)
        return rc;
    tw_ops_plan_send(&c->ops, p, bytes);
    rc = tw_coll_wait(c, 0, err);
    c->n_plans += rc == 0;
    c->n_collectives -= rc == 0;
    return rc;
}

int tw_coll_plan_recv(tw_coll *c, void *p, size_t max_bytes, size_t *ret_bytes, tw_err *err)
{
    int rc = begin_op(c, err);
    if (rc == 0 && c->rank == 0)
        rc = tw_err_set(err, -EINVAL, "rank 0 receives no step plans");
    if (rc != 0)
        return rc;
    tw_ops_plan_recv(&c->ops, p, max_bytes);
    c->deadline_ns = TW_NEVER_NS; /* heartbeats bound this wait */
    uint64_t end_ns;
    rc = wait_until(c, tw_clock_now_ns(), &end_ns, err);
    if (rc == 0)
        *ret_bytes = tw_link_rx_bytes(c->links[0]);
    c->n_plans += rc == 0;
    c->n_collectives -= rc == 0;
    return rc;
}

int tw_coll_health(tw_coll *c, tw_err *err)
{
    return c->health != NULL ? tw_health_check(c->health, err) : 0;
}

void tw_coll_lost(tw_coll *c, unsigned rank, const char *why)
{
    if (c->health != NULL && rank < c->n_ranks && rank != c->rank)
        tw_health_lost(c->health, rank, why);
}

static tw_coll_port_counters copy_counters(const tw_rdma_counters *c)
{
    return (tw_coll_port_counters){.known_bytes = c->known_bytes,
                                   .known_packets = c->known_packets,
                                   .tx_bytes = c->tx_bytes,
                                   .rx_bytes = c->rx_bytes,
                                   .tx_packets = c->tx_packets,
                                   .rx_packets = c->rx_packets};
}

static void get_proof(const tw_link *l, tw_coll_peer_stats *p)
{
    snprintf(p->transport, sizeof p->transport, "%s", l->ops->name);
    snprintf(p->device, sizeof p->device, "%s", l->proof.device);
    snprintf(p->local, sizeof p->local, "%s", l->proof.local);
    snprintf(p->peer, sizeof p->peer, "%s", l->proof.peer);
    p->mtu = l->proof.mtu;
    for (unsigned i = 0; i < l->n_refused && i < TW_COLL_REFUSALS_MAX; i++) {
        const tw_link_refusal *r = &l->refused[i];
        snprintf(p->refused[i].transport, sizeof p->refused[i].transport, "%s", r->transport);
        snprintf(p->refused[i].reason, sizeof p->refused[i].reason, "%s", r->reason);
    }
    if (l->proof.qpn == 0)
        return;
    tw_rdma_counters now;
    tw_rdma_counters_read(NULL, l->proof.device, l->proof.port, &now);
    p->port = l->proof.port;
    p->gid_index = l->proof.gid_index;
    snprintf(p->gid, sizeof p->gid, "%s", l->proof.gid);
    snprintf(p->peer_gid, sizeof p->peer_gid, "%s", l->proof.peer_gid);
    p->qpn = l->proof.qpn;
    p->peer_qpn = l->proof.peer_qpn;
    p->port_before = copy_counters(&l->proof.port_before);
    p->port_now = copy_counters(&now);
    p->by_flag = l->proof.by_flag;
    p->rx_by_flag = l->proof.rx_by_flag;
}

void tw_coll_get_stats(const tw_coll *c, tw_coll_stats *ret)
{
    *ret = (tw_coll_stats){.n_collectives = c->n_collectives,
                           .n_plans = c->n_plans,
                           .wait_ns = c->wait_ns,
                           .beat_late_ns = c->health != NULL ? tw_health_late_ns(c->health) : 0};
    for (unsigned i = 0; i < c->n_ranks; i++) {
        const tw_link *l = c->links[i];
        tw_coll_peer_stats *p = &ret->peer[i];
        if (l == NULL)
            continue;
        get_proof(l, p);
        p->tx_bytes = l->tx_bytes;
        p->rx_bytes = l->rx_bytes;
        p->tx_msgs = l->tx_msgs;
        p->rx_msgs = l->rx_msgs;
    }
}
