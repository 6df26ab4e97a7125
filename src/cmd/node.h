/* SPDX-License-Identifier: Apache-2.0 */
/* Model, group and engine of one process, opened in the right order and closed in the reverse:
 * what run, serve and bench share. */
#ifndef TWINAX_CMD_NODE_H
#define TWINAX_CMD_NODE_H

#include <pthread.h>
#include <stdatomic.h>

#include "cmd/args.h"
#include "cmd/group.h"

typedef struct tw_node tw_node;
struct tw_node {
    tw_args args;
    tw_model *model;
    tw_coll *coll;
    tw_engine *engine;
    tw_group_local group;
    bool has_watch;
    pthread_t watch;     /* looks after children and ctrl-C until the start is over */
    _Atomic bool joined; /* the group is there: heartbeats look after the ranks */
    _Atomic bool spawned, opened;
    void (*on_coll)(tw_node *n); /* the group is there; NULL: nobody asks */
    uint64_t open_ns;            /* how long tw_node_open took */
};

/* Rank 0's whole start, with a progress bar on stderr when it is a terminal. */
TW_MUST_CHECK int tw_node_open(const tw_args *a, tw_node *n, tw_err *err);
void tw_node_close(tw_node *n);
/* P3: what carried the bytes, one line a peer, on stderr. n_tokens: for exchanges per token. */
void tw_node_print_proof(const tw_node *n, uint64_t n_tokens);
/* The same for both kinds of rank: model, facts, group, engine. coll: rank, address ... filled. */
TW_MUST_CHECK int tw_node_join(tw_node *n, tw_coll_opts *co, tw_err *err);
/* The end of it: engine, group, model. */
void tw_node_leave(tw_node *n);

/* What a rank may do instead of serving an engine: measure collectives (bench_coll.h). */
typedef struct tw_rank_job_part {
    const char *job, *sizes;
    tw_coll_opts opts;
    bool wire16;
} tw_rank_job_part;

/* In rank_job.c; twinax-node has its own, which refuses. */
TW_MUST_CHECK int tw_rank_job(const tw_rank_job_part *p, tw_err *err);

#endif
