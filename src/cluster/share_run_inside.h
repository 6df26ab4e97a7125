/* SPDX-License-Identifier: Apache-2.0 */
/* What share_run.c and share_talk.c share. */
#ifndef TWINAX_CLUSTER_SHARE_RUN_INSIDE_H
#define TWINAX_CLUSTER_SHARE_RUN_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "cluster/share_deal.h"
#include "cluster/share_run.h"

typedef struct run_node {
    struct share_run *r;
    unsigned i;
    tw_remote *remote, *own; /* own: to be closed */
    pthread_t thread;
    bool has_thread;
    json_t *opened; /* the reply to open */
    uint16_t port;
    bool has_token;
    tw_err err; /* why it is gone */
    /* Under the run's lock: */
    tw_share_state state;
    size_t n_whole;
    uint64_t rate_ns, rate_bytes; /* when and what the rate was last measured */
    char net_error[240];
    unsigned n_taken; /* told */
    bool told_refused, has_ended;
    bool dropped[TW_SHARE_NODES_MAX];  /* it was told that this one is gone */
    bool told_cut[TW_SHARE_NODES_MAX]; /* it was said that it gets nothing from this one */
} run_node;

typedef struct share_run {
    const tw_share_job *job;
    tw_hub_map map;
    uint64_t total_bytes;
    char token[65];
    pthread_mutex_t lock, say_lock;
    tw_deal *deal;
    uint32_t *unit_bytes;
    bool begins; /* all are open: the dealing begins */
    run_node nodes[TW_SHARE_NODES_MAX];
} share_run;

void tw_share_say(run_node *n, const char *text);

/* ---- share_talk.c: one request and its reply each ---- */

TW_MUST_CHECK int tw_share_talk_open(run_node *n, tw_err *err);
/* What open told, into the deal. Before the threads. */
void tw_share_talk_take_open(run_node *n);
TW_MUST_CHECK int tw_share_talk_begin(run_node *n, tw_err *err);
TW_MUST_CHECK int tw_share_talk_turn(run_node *n, tw_err *err);
TW_MUST_CHECK int tw_share_talk_end(run_node *n, bool finish, tw_err *err);

#endif
