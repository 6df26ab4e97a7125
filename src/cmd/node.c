/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/node.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "cmd/pull_model.h"
#include "cmd/pull_nodes.h"
#include "model/model.h"
#include "os/secret.h"
#include "os/signal.h"
#include "os/sys.h"

/* A machine under load takes its time to refuse; who was killed, or whose machine is lost, was not
 * refused, and 2 s after its end nothing is left here (P7). */
#define REFUSED_AFTER_NS (1500 * TW_NS_PER_MS)
#define KILLED_AFTER_NS  (100 * TW_NS_PER_MS)

typedef struct lost_child {
    uint64_t at_ns; /* when it was seen; 0: none */
    bool refused;
    char why[300];
} lost_child;

/* Who cannot reach a rank's machine cannot end it either: the group goes. */
static void lose_rank(void *ctx, unsigned rank, const char *why)
{
    tw_coll_lost(ctx, rank, why);
}

static void watch_nodes(tw_node *n)
{
    tw_far_on_lost(n->group.far, lose_rank, n->coll);
}

/* A child that ends before it joined would leave rank 0 waiting for the rendezvous' deadline: say
 * it soon. A rank that was refused ends before rank 0 has said why: rank 0 first. The other children
 * die with us. */
static void end_if_child_lost(tw_node *n, lost_child *lost)
{
    if (lost->at_ns == 0 &&
        tw_group_lost(&n->group, lost->why, sizeof lost->why, &lost->refused) != 0)
        lost->at_ns = tw_clock_now_ns();
    const uint64_t after_ns = lost->refused ? REFUSED_AFTER_NS : KILLED_AFTER_NS;
    if (lost->at_ns == 0 || tw_clock_now_ns() - lost->at_ns < after_ns)
        return;
    tw_log(TW_LOG_ERROR, "cmd", "%s", lost->why);
    _exit(TW_EXIT_FAILED);
}

/* Ctrl-C while weights load must not wait for the last of them: nothing is there yet that a plain
 * end of the process would leave behind. */
static void *watch_start(void *arg)
{
    tw_node *n = arg;
    lost_child lost = {0};
    while (!atomic_load(&n->opened)) {
        struct pollfd p = {.fd = tw_signal_fd(), .events = POLLIN};
        if (poll(&p, 1, 20) > 0 && tw_signal_asked_to_stop()) {
            fprintf(stderr, "\ninterrupted while starting\n");
            _exit(128 + SIGINT);
        }
        if (atomic_load(&n->spawned) && !atomic_load(&n->joined))
            end_if_child_lost(n, &lost);
    }
    return NULL;
}

static void end_watch(tw_node *n)
{
    atomic_store(&n->opened, true);
    if (n->has_watch)
        pthread_join(n->watch, NULL);
    n->has_watch = false;
}

static int open_group(tw_node *n, tw_err *err)
{
    tw_coll_opts co = {.rank = 0, .n_ranks = n->args.tp, .listen_fd = -1};
    if (n->args.tp == 1)
        return tw_node_join(n, &co, err);
    tw_shard shard;
    int rc = tw_model_open(n->args.model, &n->model, err); /* a bad model starts no children */
    if (rc == 0)
        rc = tw_shard_init(tw_model_get_config(n->model), n->args.tp, 0, &shard, err);
    if (rc == 0)
        n->args.model_id = tw_model_id(n->model);
    tw_secret_guard(); /* the token of the group; serve's key */
    if (rc == 0)
        rc = tw_group_start(&n->args, &n->group, err);
    if (rc != 0)
        return rc;
    atomic_store(&n->spawned, true);
    co.transport = n->args.transport;
    co.rdma_device = tw_far_rdma_device(&n->args, 0);
    co.token = n->group.token;
    co.address = n->group.address;
    co.bind_address = n->args.nodes.n > 0 ? n->group.address : NULL;
    co.listen_fd = n->group.listen_fd;
    co.verify = n->args.verify;
    co.fault = n->args.fault;
    return tw_node_join(n, &co, err);
}

int tw_node_open(const tw_args *a, tw_node *n, tw_err *err)
{
    if (a->engine_kind == TW_ENGINE_VLLM)
        return tw_err_set(err, -EINVAL, "--engine vllm: serve and up can, this command cannot");
    memset(n, 0, sizeof(*n));
    n->args = *a;
    tw_far_place(a, 0, &n->args.engine.n_local, &n->args.engine.i_local);
    n->group.listen_fd = -1;
    n->on_coll = watch_nodes;
    if (a->model == NULL)
        return tw_err_set(err, -EINVAL,
                          "no MODEL given: a folder in Hugging Face layout is wanted");
    n->args.model_asked = a->model;
    int rc = tw_pull_model_nodes(&n->args, err);
    if (rc == 0)
        rc = tw_pull_model(&n->args.model, err);
    if (rc != 0)
        return rc;
    uint64_t t0 = tw_clock_now_ns();
    n->has_watch = pthread_create(&n->watch, NULL, watch_start, n) == 0;
    rc = open_group(n, err);
    end_watch(n);
    n->open_ns = tw_clock_now_ns() - t0;
    if (rc != 0)
        tw_node_close(n);
    return rc;
}

/* The end of a first, short run may take seconds longer: say why. */
static void say_keeping(const tw_node *n)
{
    tw_engine_info info;
    if (n->engine == NULL || !isatty(STDERR_FILENO) || tw_signal_asked_to_stop())
        return;
    tw_engine_get_info(n->engine, &info);
    if (info.is_keeping)
        fprintf(stderr, "keeping the packed weights for the next start (ctrl-C: not now)\n");
}

void tw_node_close(tw_node *n)
{
    say_keeping(n);
    tw_engine_close(n->engine);
    tw_far_on_lost(n->group.far, NULL, NULL);
    tw_coll_close(n->coll);
    tw_group_stop(&n->group);
    tw_model_close(n->model);
    memset(n, 0, sizeof(*n));
}

/* Of one port: bytes and packets by its own counters, when the link was made and now. */
static void print_port(unsigned r, const tw_coll_peer_stats *p)
{
    const tw_coll_port_counters *a = &p->port_before, *b = &p->port_now;
    const bool bytes = a->known_bytes && b->known_bytes;
    const bool packets = a->known_packets && b->known_packets;
    if (bytes)
        fprintf(stderr,
                "transport: rank %u port counters: out %" PRIu64 " -> %" PRIu64
                " bytes, in %" PRIu64 " -> %" PRIu64 "\n",
                r, a->tx_bytes, b->tx_bytes, a->rx_bytes, b->rx_bytes);
    if (packets)
        fprintf(stderr,
                "transport: rank %u port counters: out %" PRIu64 " -> %" PRIu64
                " packets, in %" PRIu64 " -> %" PRIu64 "\n",
                r, a->tx_packets, b->tx_packets, a->rx_packets, b->rx_packets);
    if (!bytes && !packets)
        fprintf(stderr, "transport: rank %u port counters: the driver shows none\n", r);
}

static void print_rdma_proof(unsigned r, const tw_coll_peer_stats *p)
{
    if (p->gid[0] != '\0')
        fprintf(stderr,
                "transport: rank %u rdma: %s port %u, gid %s (index %u) -> %s, path mtu %u, qp %u "
                "-> %u\n",
                r, p->device, p->port, p->gid, p->gid_index, p->peer_gid, p->mtu, p->qpn,
                p->peer_qpn);
    else
        fprintf(stderr, "transport: rank %u rdma: %s port %u, %s -> %s, path mtu %u\n", r,
                p->device, p->port, p->local, p->peer, p->mtu);
    if (p->by_flag)
        fprintf(stderr, "transport: rank %u rdma: arrivals by flag, %" PRIu64 " pieces so far\n", r,
                p->rx_by_flag);
    else
        fprintf(stderr, "transport: rank %u rdma: arrivals by completions\n", r);
    print_port(r, p);
}

void tw_node_print_proof(const tw_node *n, uint64_t n_tokens)
{
    if (n->coll == NULL)
        return;
    tw_coll_stats st;
    tw_coll_get_stats(n->coll, &st);
    for (unsigned r = 0; r < tw_coll_n_ranks(n->coll); r++) {
        const tw_coll_peer_stats *p = &st.peer[r];
        if (p->transport[0] == '\0')
            continue;
        fprintf(stderr,
                "transport: rank %u by %s, device %s, %s -> %s, mtu %u, out %" PRIu64
                " bytes in %" PRIu64 " messages, in %" PRIu64 " bytes in %" PRIu64 " messages\n",
                r, p->transport, p->device, p->local, p->peer, p->mtu, p->tx_bytes, p->tx_msgs,
                p->rx_bytes, p->rx_msgs);
        if (p->qpn != 0)
            print_rdma_proof(r, p);
        for (unsigned i = 0; i < TW_COLL_REFUSALS_MAX && p->refused[i].transport[0] != '\0'; i++)
            fprintf(stderr, "transport: rank %u not by %s: %s\n", r, p->refused[i].transport,
                    p->refused[i].reason);
    }
    fprintf(stderr,
            "exchanges: %" PRIu64 " collectives, %.1f per token, %" PRIu64
            " plans, %.1f ms of waiting; heartbeats %.1f ms late at most\n",
            st.n_collectives, n_tokens > 0 ? (double)st.n_collectives / (double)n_tokens : 0.0,
            st.n_plans, (double)st.wait_ns / 1e6, (double)st.beat_late_ns / 1e6);
}
