/* SPDX-License-Identifier: Apache-2.0 */
/* A model onto all nodes, from the head: an agent on each, this machine's too; each fetches a part
 * from the net (share_deal.h) and gets the rest from the others (share.h). A node that fails is
 * named, the others go on.
 * Must not know: how it is shown, where the list of files came from. */
#ifndef TWINAX_CLUSTER_SHARE_RUN_H
#define TWINAX_CLUSTER_SHARE_RUN_H

#include "cluster/remote.h"
#include "cluster/remote_push.h"
#include "cluster/share.h"

typedef struct tw_share_spec {
    char name[64];
    const char *ssh; /* "local": a child of this machine */
    const char *agent_path;
    char ip[64];       /* on the cluster link, without a zone; "": not known */
    tw_remote *remote; /* one that is open already, borrowed; NULL: none */
} tw_share_spec;

/* How a node gets on. */
typedef struct tw_share_state {
    const char *name;
    uint64_t total_bytes, done_bytes;
    uint64_t net_bytes, peer_bytes, given_bytes; /* in this run */
    unsigned n_refused;                          /* blocks that came damaged over the link */
    bool is_whole, is_gone;
    bool is_checking; /* done_bytes: hashed of what is there */
    char waits[96], why[240], path[TW_HUB_PATH_BYTES];
} tw_share_state;

typedef struct tw_share_job {
    unsigned n; /* [0]: this machine */
    tw_share_spec nodes[TW_SHARE_NODES_MAX];
    const char *model; /* "org/name@rev" */
    const tw_hub_list *list;
    const char *hub, *hub_token; /* this machine's, for nodes that have none */
    const char *source;          /* a folder of this machine that has all; NULL: none */
    uint64_t range_bytes;        /* 0: a good one */
    unsigned n_connections;      /* 0: the default */
    bool from_net, verify, no_net;
    const tw_push_face *push; /* NULL: nothing is pushed */
    /* On the caller's thread, some times a second. */
    void (*progress)(void *arg, const tw_share_state *v, unsigned n);
    /* From any thread, one at a time: what a person should know of a node. */
    void (*say)(void *arg, const char *node, const char *text);
    void *arg;
} tw_share_job;

/* ret[job->n]: how each one ended. Errors: the first of a node, when not all have it whole; -ENOSPC
 * before the first byte; -EINTR: stopped, what came is kept everywhere. From the main thread. */
TW_MUST_CHECK int tw_share_run(const tw_share_job *job, tw_share_state *ret, tw_err *err);

#endif
