/* SPDX-License-Identifier: Apache-2.0 */
/* One node's part in the exchange of a store's units (hub/range_store.h) over the cluster link: gives
 * what it has to whoever knows the token, takes what it is told to from whom it is told.
 *
 * The listener is bound to one cluster address, wants the one-time token (share_wire.h) and is closed
 * as soon as all peers are here, or a minute after the beginning. Threads: one a connection, SHARE_STREAMS connections to each peer.
 * Must not know: agents, who decides. */
#ifndef TWINAX_CLUSTER_SHARE_H
#define TWINAX_CLUSTER_SHARE_H

#include "hub/range_store.h"

enum { TW_SHARE_NODES_MAX = 8, TW_SHARE_STREAMS = 2, TW_SHARE_TOKEN_BYTES = 32 };

typedef struct tw_share tw_share;

typedef struct tw_share_opts {
    tw_hub_store *store;
    unsigned self, n_nodes;
    const char *ip; /* of this host, never a wildcard */
    uint8_t token[TW_SHARE_TOKEN_BYTES];
    /* From any of its threads: a unit has come (rc 0), or has not; -ENOTCONN: nothing will come from
     * that node any more. */
    void (*on_unit)(void *arg, size_t unit, unsigned from, int rc, const char *why);
    void *arg;
    uint64_t door_ns; /* the door's time from tw_share_begin on; 0: 60 s */
} tw_share_opts;

typedef struct tw_share_news {
    uint64_t taken_bytes, given_bytes;
    unsigned n_refused; /* blocks that came with a wrong checksum, and were asked for again */
} tw_share_news;

/* Listens; nobody gives or takes yet. */
TW_MUST_CHECK int tw_share_open(const tw_share_opts *o, tw_share **ret, uint16_t *ret_port,
                                tw_err *err);
/* Connects to a peer and waits for orders. ip: as this host sees it. */
TW_MUST_CHECK int tw_share_meet(tw_share *s, unsigned peer, const char *ip, uint16_t port,
                                tw_err *err);
/* All nodes are open: who has not come when the door's time is over has gone. */
void tw_share_begin(tw_share *s);
TW_MUST_CHECK int tw_share_order(tw_share *s, size_t unit, unsigned from, tw_err *err);
/* Nothing more is taken from a peer that is known to be dead: who waits for it stops waiting. */
void tw_share_drop(tw_share *s, unsigned peer);
void tw_share_look(tw_share *s, tw_share_news *ret);
void tw_share_close(tw_share *s);

#endif
