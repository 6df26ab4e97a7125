/* SPDX-License-Identifier: Apache-2.0 */
/* The head's part: facts of all nodes at once, then live proofs between them. Nodes and pairs that do
 * not share a node work at the same time; everything is bounded, and a node that does not answer
 * costs the others nothing but its own limit.
 * Must not know: what is good or bad, terminals. */
#ifndef TWINAX_CLUSTER_PROOF_H
#define TWINAX_CLUSTER_PROOF_H

#include "cluster/remote_push.h"
#include "host/facts.h"
#include "host/proof.h"

typedef struct tw_proof_target {
    char name[64], ssh[128], agent_path[192];
    char ip[64];        /* cluster address; "" none: no proofs with it */
    char interface[16]; /* of that address; "" its counters are not read */
    uint32_t mtu;       /* of that interface: the largest packet to try */
    char model[256];    /* absolute path there; "" none is asked about */
    tw_remote *remote;  /* NULL: not reached */
    tw_err why;         /* why not */
} tw_proof_target;

typedef struct tw_proof_job {
    size_t n;
    tw_proof_target v[TW_PROOF_NODES_MAX]; /* the first one is the head itself */
    char back_to[128];                     /* how nodes reach the head by ssh; "" not tried */
    double load_s;                         /* 0: none */
    const tw_push_face *push;              /* NULL: what is there must do */
    void (*progress)(void *ctx,
                     const char *what); /* NULL: nobody looks; from the caller's thread */
    void *ctx;
} tw_proof_job;

/* From the main thread (children die with it): connects to all. Nodes that cannot be reached have
 * remote NULL and why; an error is our own trouble or an interrupt. */
TW_MUST_CHECK int tw_proof_connect(tw_proof_job *j, tw_err *err);
/* facts[i]: of each reached node; a node whose facts cannot be had is closed, with why. request: what
 * goes with "host-facts", borrowed. */
TW_MUST_CHECK int tw_proof_facts(tw_proof_job *j, const json_t *request, tw_facts *const *facts,
                                 tw_err *err);
TW_MUST_CHECK int tw_proofs_make(tw_proof_job *j, tw_proofs *ret, tw_err *err);
void tw_proof_close(tw_proof_job *j);

/* What grew from before to after and counts errors. */
void tw_proof_growth(const tw_facts_counters *before, const tw_facts_counters *after,
                     tw_proof_end *ret);

#endif
