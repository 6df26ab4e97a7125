/* SPDX-License-Identifier: Apache-2.0 */
/* A group of 1, 2, 4 or 8 ranks that add, gather and broadcast in canonical order: every rank gets
 * the same bits, whatever the transport and the algorithm. Bounded waits: after an error the group
 * is closed and every later call returns it; stale data is never summed.
 *
 * A collective is start (one at a time), then poll until it is not -EAGAIN; the blocking calls loop
 * on poll and wait on the links. Every rank calls the same collectives in the same order; sequence
 * numbers on the wire prove it. Thread: one at a time; heartbeats run in a thread of their own. */
#ifndef TWINAX_COLL_H
#define TWINAX_COLL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "twinax/err.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { TW_RANKS_MAX = 8, TW_TOKEN_BYTES = 32 };

enum tw_transport { TW_TRANSPORT_AUTO, TW_TRANSPORT_TCP, TW_TRANSPORT_SHM, TW_TRANSPORT_RDMA };

/* A named value that all ranks must share: "model id", "context". A difference refuses the group
 * with a message that names it and both values, unless only_report. */
typedef struct tw_coll_fact {
    const char *name, *value;
    bool only_report;
} tw_coll_fact;

typedef struct tw_coll_opts {
    unsigned rank, n_ranks;
    enum tw_transport transport;
    const uint8_t *token; /* [TW_TOKEN_BYTES] one-time secret, shared by all ranks */
    /* Rank 0: address to listen on (loopback or the cluster address; never a wildcard), or an
     * already listening socket in listen_fd (>= 0). Others: rank 0's address and port.
     * tw_coll_open owns listen_fd from the call on and closes it in every case. */
    const char *address;
    uint16_t port;             /* rank 0 without listen_fd: 0 lets the kernel choose */
    int listen_fd;             /* -1: none */
    const char *bind_address;  /* this rank's own address for data sockets; NULL: as routed */
    const char *rdma_device;   /* "mlx5_0" or "mlx5_0:1"; NULL: the one that has our address */
    const tw_coll_fact *facts; /* [n_facts] */
    size_t n_facts;
    uint64_t rendezvous_ns; /* how long to wait for all ranks; 0: 30 s */
    uint64_t step_ns;       /* deadline of one collective, at least; 0: 5 s */
    bool verify;            /* checksum on every data message */
    const char *fault;      /* tests: "flip" damages one received byte of rank 0, "order" sums
                                    four ranks in another order; NULL: none */
    unsigned n_threads;     /* that compute in this rank; 0: 1. Where the ranks of one machine
                                  * have more threads than it has cores, waiting does not spin. */
    int spin_us;            /* spin before sleep: 0 adaptive, < 0 never, else at most this */
} tw_coll_opts;

typedef struct tw_coll tw_coll;

/* Rendezvous: hello with token and facts, then links between all pairs. Rank 0 alone listens before
 * this call returns; nothing listens afterwards. Errors name the rank that is missing or differs. */
TW_API TW_MUST_CHECK int tw_coll_open(const tw_coll_opts *opts, tw_coll **ret, tw_err *err);
TW_API void tw_coll_close(tw_coll *c);

TW_API unsigned tw_coll_rank(const tw_coll *c);
TW_API unsigned tw_coll_n_ranks(const tw_coll *c);

/* Memory of the group: 64-byte aligned, zeroed, freed by tw_coll_close. Collectives' buffers come
 * from here, so that a link may one day send right out of them; today each link copies into the
 * memory that it has registered, and any other buffer does as well. */
TW_API void *tw_coll_alloc(tw_coll *c, size_t bytes);

/* x [n] += the others' x, in place, finished by the canonical tree over ranks:
 * R=2: x0+x1; R=4: (x0+x1)+(x2+x3); R=8 likewise. */
TW_API TW_MUST_CHECK int tw_coll_all_reduce_start(tw_coll *c, float *x, size_t n, tw_err *err);
/* The same with both top-level halves of the tree rounded to bf16 (nearest even) before the last
 * addition: R=2: r(x0)+r(x1); R=4: r(x0+x1)+r(x2+x3). Half the bytes at R=2 and, above 64 KiB,
 * between the halves of more ranks. One rank has no halves: x stays. */
TW_API TW_MUST_CHECK int tw_coll_all_reduce_wire16_start(tw_coll *c, float *x, size_t n,
                                                         tw_err *err);
/* Done once every rank has started it. */
TW_API TW_MUST_CHECK int tw_coll_barrier_start(tw_coll *c, tw_err *err);
/* out [R][bytes] = every rank's in, rank order; in may be its own place in out. */
TW_API TW_MUST_CHECK int tw_coll_all_gather_start(tw_coll *c, const void *in, size_t bytes,
                                                  void *out, tw_err *err);
/* p [bytes] of root to all. */
TW_API TW_MUST_CHECK int tw_coll_broadcast_start(tw_coll *c, unsigned root, void *p, size_t bytes,
                                                 tw_err *err);
/* 0: the started collective is done. -EAGAIN: not yet. Else the group's error (peer named). */
TW_API TW_MUST_CHECK int tw_coll_poll(tw_coll *c, uint64_t now_ns, tw_err *err);
/* Spins shortly, then sleeps on the links until done, step_ns at most (extra_ns more: a peer may be
 * at long work, say loading). */
TW_API TW_MUST_CHECK int tw_coll_wait(tw_coll *c, uint64_t extra_ns, tw_err *err);

/* What comes until the next call is part of a step that is predicted to take so long: a collective
 * may take the longer of step_ns and ten times that (a day at most). 0: step_ns alone. Between
 * collectives. */
TW_API void tw_coll_expect(tw_coll *c, uint64_t predicted_ns);

/* start + wait. */
TW_API TW_MUST_CHECK int tw_coll_all_reduce(tw_coll *c, float *x, size_t n, tw_err *err);
TW_API TW_MUST_CHECK int tw_coll_all_reduce_wire16(tw_coll *c, float *x, size_t n, tw_err *err);
TW_API TW_MUST_CHECK int tw_coll_barrier(tw_coll *c, tw_err *err);
TW_API TW_MUST_CHECK int tw_coll_all_gather(tw_coll *c, const void *in, size_t bytes, void *out,
                                            tw_err *err);
TW_API TW_MUST_CHECK int tw_coll_broadcast(tw_coll *c, unsigned root, void *p, size_t bytes,
                                           tw_err *err);

/* Messages outside collectives, rank 0 to all others: step plans. The receivers may sleep for
 * hours (only heartbeats bound the wait): P8. bytes <= max of the receiver or -EMSGSIZE. */
TW_API TW_MUST_CHECK int tw_coll_plan_send(tw_coll *c, const void *p, size_t bytes, tw_err *err);
TW_API TW_MUST_CHECK int tw_coll_plan_recv(tw_coll *c, void *p, size_t max_bytes, size_t *ret_bytes,
                                           tw_err *err);

/* From any thread: has a peer died or left while nothing is under way? 0 or the error. */
TW_API TW_MUST_CHECK int tw_coll_health(tw_coll *c, tw_err *err);
/* From any thread: a rank is lost, though it may still beat (nobody can reach its machine any more).
 * Its connection is closed, and the group fails with this cause. */
TW_API void tw_coll_lost(tw_coll *c, unsigned rank, const char *why);

/* The RDMA port's own hardware counters; all traffic of the port, ours and others'. */
typedef struct tw_coll_port_counters {
    bool known_bytes, known_packets; /* not every driver counts both */
    uint64_t tx_bytes, rx_bytes, tx_packets, rx_packets;
} tw_coll_port_counters;

/* A transport that was not taken for a pair, and why. */
typedef struct tw_coll_refusal {
    char transport[8], reason[200];
} tw_coll_refusal;

enum { TW_COLL_REFUSALS_MAX = 3 };

/* What carried the bytes (P3). */
typedef struct tw_coll_peer_stats {
    char transport[8];           /* "tcp", "shm", "rdma" */
    char device[32];             /* interface, e.g. "veth0", RDMA device, or "memfd" */
    char local[64], peer[64];    /* addresses with ports, or with queue pairs */
    uint32_t mtu;                /* of the interface; rdma: of the path; 0: does not apply */
    uint64_t tx_bytes, rx_bytes; /* on this link, payload and our frame headers */
    uint64_t tx_msgs, rx_msgs;
    /* rdma alone: */
    unsigned port, gid_index;
    char gid[48], peer_gid[48]; /* empty: native InfiniBand, by LID */
    uint32_t qpn, peer_qpn;
    tw_coll_port_counters port_before, port_now; /* when the link was made; at this call */
    bool by_flag;        /* arrivals are seen by a flag in memory, else by completions alone */
    uint64_t rx_by_flag; /* pieces of messages that were */
    /* What else was thought of, in order; empty transport: end of the list. */
    tw_coll_refusal refused[TW_COLL_REFUSALS_MAX];
} tw_coll_peer_stats;

typedef struct tw_coll_stats {
    uint64_t n_collectives, n_plans;
    uint64_t wait_ns;                      /* inside tw_coll_wait, its first microsecond aside */
    tw_coll_peer_stats peer[TW_RANKS_MAX]; /* own entry empty */
    uint64_t beat_late_ns; /* how late our own heartbeats were at most: how overloaded we are */
} tw_coll_stats;

TW_API void tw_coll_get_stats(const tw_coll *c, tw_coll_stats *ret);

#ifdef __cplusplus
}
#endif
#endif
