/* SPDX-License-Identifier: Apache-2.0 */
/* A link over RDMA: one reliable queue pair, data by WRITE with immediate into a ring of slots at
 * the peer. A message that fits a slot is one write (one shot); a larger one goes in slots, as many
 * at once as the peer has free. Slots are given back by the immediates of the other direction, or
 * by an empty write when half of them are owed. After the spin a rank sleeps on the completion
 * channel. The TCP connection over which both met stays open as the sign of life.
 *
 *   immediate:  | kind 2 | sequence 6 | slots given back 6 | bytes 18 |
 *
 * By flag. Where both adapters are tested for it, a message is two writes on the same queue pair,
 * which the peer's adapter puts into memory in this order:
 *
 *   1. WRITE                       slot n % SLOTS:  | immediate 4 | zero 4 | payload ... |
 *   2. WRITE with immediate        flag n % SLOTS:  | n 4 |      (inline, so no read of our memory)
 *
 *   receiver awake:   flag == n?  --> acquire, DMA read barrier --> head and payload of the slot
 *                     (the queue is looked at now and then: it skips immediates of what is taken)
 *   receiver asleep:  armed queue --> completion of 2. --> the same, as without flags
 *
 * So every message has both signs and whichever is seen first counts: a rank that slept, a step
 * plan, a flag that is never seen, all go by the immediate. The flag only saves the way through the
 * queue. n is 32 bits wide, starts at 1 (the probe is 0) and its old value in the same place is
 * n - SLOTS, so that a flag seen in halves is no flag. Slots are given back as before.
 * Tested adapters: see verbs_flag.c. Which way is used: tw_link_proof.
 * Must not know: collectives. */
#ifndef TWINAX_LINK_VERBS_H
#define TWINAX_LINK_VERBS_H

#include "link/link.h"
#include "link/verbs_lib.h"

/* What the links of one rank share: each RDMA device is opened once, and its arena is registered
 * once and carved for all of them. Its one key is therefore known to every peer of the rank: all are
 * ranks of the same group, which trust each other with sums anyway.
 * Owns nothing of the links; lives on, once released, while links use it. Thread: the rank's one. */
typedef struct tw_verbs_pool tw_verbs_pool;
/* For at most n_links, 32 at most; NULL: no memory. Costs nothing before the first link. */
tw_verbs_pool *tw_verbs_pool_new(unsigned n_links);
void tw_verbs_pool_release(tw_verbs_pool *p); /* NULL is fine */
/* What a pool's device pins of the memlock limit with its first link. (Queues come on top, a few
 * pages each, with most drivers.) */
size_t tw_link_verbs_pin_bytes(unsigned n_links);

typedef struct tw_link_verbs_opts {
    const tw_verbs_api *api; /* NULL: libibverbs */
    const char *device;      /* "mlx5_0" or "mlx5_0:1"; NULL: the one that has the address */
    tw_verbs_pool *pool;     /* borrowed; NULL: one for this link alone */
    const char *sysfs;       /* class folder; NULL: the kernel's */
    bool no_flag;            /* never see arrivals by flag */
    uint64_t deadline_ns;    /* of the talk with the peer */
} tw_link_verbs_opts;

/* Both ends of a fresh TCP connection call this at the same time: they tell each other what they
 * have, connect, and prove the path by a full slot each way. The address is the connection's own.
 * Owns: fd, unless it returns -EOPNOTSUPP: then both ends know that RDMA is not for this pair, err
 * has the reason of the end that has one, and fd is as fresh as before.
 * Cost: may take a second; memory see the pool. */
TW_MUST_CHECK int tw_link_verbs_new(int fd, uint8_t rank, uint8_t peer, bool verify,
                                    const tw_link_verbs_opts *opts, tw_link **ret, tw_err *err);

enum {
    TW_LINK_VERBS_SLOTS = 8,              /* per direction */
    TW_LINK_VERBS_SLOT_BYTES = 68 * 1024, /* 64 KiB, a header, and pages stay whole */
    /* What is sent, what the peer writes, and a page of flags. */
    TW_LINK_VERBS_ARENA_BYTES = 2 * TW_LINK_VERBS_SLOTS * TW_LINK_VERBS_SLOT_BYTES + 4096
};

#endif
