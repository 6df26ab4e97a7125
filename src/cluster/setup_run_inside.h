/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of a setup run share. setup_run.c opens the nodes' hands, plans, comes in anew and
 * reboots; setup_run_do.c does the steps, setup_run_undo.c takes them back. */
#ifndef TWINAX_CLUSTER_SETUP_RUN_INSIDE_H
#define TWINAX_CLUSTER_SETUP_RUN_INSIDE_H

#include <pthread.h>

#include "base/clock.h"
#include "cluster/remote.h"
#include "cluster/setup_run.h"

enum { TW_SETUP_RETRY_US = 500000 };
#define TW_SETUP_LOOK_LIMIT_NS (120 * TW_NS_PER_S)
#define TW_SETUP_STEP_LIMIT_NS (1800 * TW_NS_PER_S)

typedef struct tw_setup_run_node {
    tw_setup_run *run;
    size_t i;
    const tw_node_spec *spec;
    tw_remote *remote;
    bool pushed;    /* our twinax-node is there, and is what answers */
    char *password; /* sudo's, for as long as this runs; NULL: none needed */
    char user[64], boot_id[64];
    json_t *plan, *status;
    unsigned n_kept;
    tw_net net;
    tw_err err; /* of its thread */
} tw_setup_run_node;

struct tw_setup_run {
    tw_setup_run_opts o;
    tw_config config;
    tw_setup_face face;
    pthread_mutex_t lock; /* of the face */
    tw_setup_want want;
    size_t n;
    tw_setup_run_node nodes[TW_NODES_MAX];
};

/* To the face, one at a time. */
void tw_setup_node_tell(tw_setup_run_node *n, enum tw_setup_word what, const char *text);
/* -ENOTCONN: it has no connection. Takes args. */
TW_MUST_CHECK int tw_setup_node_call(tw_setup_run_node *n, const char *op, json_t *args,
                                     uint64_t limit_ns, json_t **ret, tw_err *err);
/* Anew, with a hand open there. */
TW_MUST_CHECK int tw_setup_node_connect(tw_setup_run_node *n, tw_err *err);
/* The head must be able to come in anew; for the head's own steps, to go out to the others. */
TW_MUST_CHECK int tw_setup_node_reconnect(tw_setup_run_node *n, tw_err *err);
TW_MUST_CHECK int tw_setup_node_read_keys(tw_setup_run_node *n, tw_setup_node *ret, tw_err *err);

/* Less than the node waits. */
uint64_t tw_setup_confirm_limit_ns(void);
/* The connection broke, whatever became of the step. */
bool tw_setup_is_break(int rc);
/* A step's, or an entry's; NULL: it has none. */
const char *tw_setup_id_of(const json_t *step);

/* Each node in a thread of its own, which must take the connection with it; then they come back: rc
 * and err are what the threads told. */
TW_MUST_CHECK int tw_setup_on_all(tw_setup_run *r, void *(*what)(void *), tw_err *err);
TW_MUST_CHECK int tw_setup_come_back(tw_setup_run *r, int rc, tw_err *err);

#endif
