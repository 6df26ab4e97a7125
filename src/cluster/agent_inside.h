/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent's own files share. */
#ifndef TWINAX_CLUSTER_AGENT_INSIDE_H
#define TWINAX_CLUSTER_AGENT_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "cluster/agent_life.h"
#include "cluster/agent_op.h"
#include "cluster/agent_rank.h"
#include "cluster/cross.h"
#include "cluster/probe.h"

struct tw_agent {
    tw_agent_life life;
    /* The measurement under way, in its own thread. */
    bool has_thread;
    pthread_t thread;
    atomic_bool stop;
    int listen_fd;
    uint8_t token[TW_PROBE_TOKEN_BYTES];
    tw_err probe_err;
    tw_cross_server tool;
    tw_agent_rank rank;
    struct tw_proof_door *door;   /* agent_proof.c; NULL: none is open */
    struct tw_agent_setup *setup; /* agent_setup.c; NULL: none */
    struct tw_agent_pull *pull;   /* agent_pull.c; NULL: none */
};

void tw_agent_probe_end(tw_agent *a);
void tw_agent_proof_end(tw_agent *a);
void tw_agent_setup_end(tw_agent *a);
void tw_agent_pull_end(tw_agent *a);
/* The head names an address as the wire sees it; a link-local one gets this host's own zone. */
TW_MUST_CHECK int tw_agent_own_address(const char *ip, char *out, size_t out_bytes, tw_err *err);

#endif
