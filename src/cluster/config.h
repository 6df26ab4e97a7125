/* SPDX-License-Identifier: Apache-2.0 */
/* Which machines form the cluster: the list of --nodes, and twinax.conf (INI).
 *
 *    [cluster]
 *    nodes = box1, box2            the first one is this machine, the head
 *    [node.box2]
 *    ssh = me@box2                 default: its name
 *    ip = 192.168.100.2            its cluster address
 *    threads = 16
 *    agent_path = /opt/bin/twinax  default: twinax on its PATH
 *
 * Pure: text in, struct out. Must not know files, ssh, ranks. */
#ifndef TWINAX_CLUSTER_CONFIG_H
#define TWINAX_CLUSTER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "twinax/err.h"

enum { TW_NODES_MAX = 8, TW_CONFIG_MAX_BYTES = 64 * 1024 };

typedef struct tw_node_spec {
    char name[64];        /* as it is listed */
    char ssh[128];        /* "local": a plain child of this machine */
    char ip[48];          /* cluster address; empty: none given */
    char agent_path[192]; /* empty: none given */
    unsigned threads;     /* 0: none given */
} tw_node_spec;

typedef struct tw_nodes {
    size_t n;
    tw_node_spec v[TW_NODES_MAX];
} tw_nodes;

/* "box1=192.168.100.1,box2=192.168.100.2"; the address may be left out. No name twice, but
 * `local`. */
TW_MUST_CHECK int tw_nodes_parse(const char *list, tw_nodes *ret, tw_err *err);
/* p[n]: a file's text, name: the file, for messages "name:line: ...". Unknown sections and keys are
 * errors with a suggestion. Without `nodes` ret->n is 0. */
TW_MUST_CHECK int tw_config_parse(const char *name, const char *p, size_t n, tw_nodes *ret,
                                  tw_err *err);

#endif
