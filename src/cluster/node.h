/* SPDX-License-Identifier: Apache-2.0 */
/* The head's end of a control connection to one node: through ssh, a plain child ("local"), or a
 * connection that two people made by hand. Calls are one after the other, each with a deadline. */
#ifndef TWINAX_CLUSTER_NODE_H
#define TWINAX_CLUSTER_NODE_H

#include <stdbool.h>
#include <stdint.h>

#include "fmt/json.h"
#include "host/net.h"
#include "twinax/err.h"

typedef struct tw_node tw_node;

/* name: an ssh name, or "local". agent_path: NULL: twinax on the node's PATH; for "local" this very
 * program. Says hello; refuses another protocol version. */
TW_MUST_CHECK int tw_node_open(const char *name, const char *agent_path, tw_node **ret,
                               tw_err *err);
/* fd: a connected socket, owned from the call on. */
TW_MUST_CHECK int tw_node_open_fd(int fd, const char *name, tw_node **ret, tw_err *err);
void tw_node_close(tw_node *n);
void tw_node_closep(tw_node **n);

const char *tw_node_name(const tw_node *n);
const char *tw_node_host(const tw_node *n); /* its own name */
bool tw_node_is_local(const tw_node *n);

/* args: an object that is taken over, or NULL. *ret: the reply (the caller's), may be NULL. An error
 * names the node. SIGINT ends it (-ECANCELED). */
TW_MUST_CHECK int tw_node_call(tw_node *n, const char *op, json_t *args, uint64_t limit_ns,
                               json_t **ret, tw_err *err);
TW_MUST_CHECK int tw_node_facts(tw_node *n, tw_net *ret, tw_err *err);

#endif
