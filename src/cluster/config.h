/* SPDX-License-Identifier: Apache-2.0 */
/* Which machines form the cluster, and what is served: the list of --nodes, and twinax.conf (INI).
 *
 *    [cluster]
 *    nodes = box1, box2            the first one is this machine, the head
 *    transport = rdma              what --transport says
 *    [node.box2]
 *    ssh = me@box2                 default: its name
 *    ip = 192.168.100.2            its cluster address; fe80::2%thunderbolt0: zone as on box2
 *    threads = 16
 *    [serve]
 *    model = org/name
 *
 * Every key is a line of the table in config_keys.c, which parses and writes it.
 * Pure: text in, struct out, and back. Must not know files, ssh, ranks. */
#ifndef TWINAX_CLUSTER_CONFIG_H
#define TWINAX_CLUSTER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "twinax/err.h"

enum { TW_NODES_MAX = 8, TW_CONFIG_MAX_BYTES = 64 * 1024, TW_CONFIG_PATH_BYTES = 176 };

/* Empty texts and zeros everywhere: none given. */
typedef struct tw_node_spec {
    char name[64];        /* as it is listed */
    char ssh[128];        /* "local": a plain child of this machine */
    char ip[64];          /* cluster address; a link-local one always has its node's zone */
    char interface[16];   /* the cable's, on that node */
    char rdma_device[72]; /* "irdma0" or "irdma0:1" */
    char agent_path[TW_CONFIG_PATH_BYTES];
    char model_path[TW_CONFIG_PATH_BYTES]; /* where this node has the model */
    uint32_t threads;
} tw_node_spec;

typedef struct tw_nodes {
    size_t n;
    tw_node_spec v[TW_NODES_MAX];
} tw_nodes;

typedef struct tw_serve_spec {
    char model[TW_CONFIG_PATH_BYTES];
    char engine[8]; /* auto, native, vllm */
    char host[64];
    uint32_t port;
    uint32_t tp, ctx, max_seqs, chunk, threads;
    char kv[8];                              /* auto, bf16, f32 */
    char quant[8];                           /* none, q8, q4 */
    char arith[8];                           /* exact, wire16 */
    char api_key_file[TW_CONFIG_PATH_BYTES]; /* read by tw_config_key_read */
    uint32_t restart;                        /* of vllm, after a crash */
    bool no_auth, no_pack_cache;
    uint32_t pack_cache_gib;
    char cors[256]; /* origins by commas, or "*" */
} tw_serve_spec;

typedef struct tw_config {
    tw_nodes nodes;
    char transport[8];    /* auto, rdma, tcp, shm */
    char interface[16];   /* the cable's, where it has the same name on all nodes */
    char rdma_device[72]; /* the same */
    tw_serve_spec serve;
} tw_config;

/* "box1=192.168.100.1,box2=192.168.100.2"; the address may be left out. No name twice, but
 * `local`. */
TW_MUST_CHECK int tw_nodes_parse(const char *list, tw_nodes *ret, tw_err *err);
/* p[n]: a file's text, name: the file, for messages "name:line: ...". Unknown sections and keys are
 * errors with a suggestion. Without `nodes` ret->nodes.n is 0; sections of nodes that are not
 * listed are checked, then dropped. */
TW_MUST_CHECK int tw_config_parse(const char *name, const char *p, size_t n, tw_config *ret,
                                  tw_err *err);
/* Appends a file that tw_config_parse reads as the same, a comment beside each key.
 * -EINVAL: a value that no file can say (a line end, " ;"), -E2BIG: a longer line than is read. */
TW_MUST_CHECK int tw_config_write(const tw_config *c, tw_buf *out, tw_err *err);

/* The interface behind '%', "" when there is none. */
const char *tw_node_zone(const tw_node_spec *s);
bool tw_node_is_link_local(const tw_node_spec *s);
/* The cable's interface on that node: its own, its address's zone, the cluster's; "": not said. */
const char *tw_config_interface(const tw_config *c, const tw_node_spec *s);

#endif
