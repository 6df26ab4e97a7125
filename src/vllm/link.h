/* SPDX-License-Identifier: Apache-2.0 */
/* Which wire a node's RCCL or NCCL shall take: found on that node's own facts from its cluster
 * address, because cards have other names, other GIDs on each machine. Pure: facts in, choice out.
 * Must not know Ray, vLLM, processes. */
#ifndef TWINAX_VLLM_LINK_H
#define TWINAX_VLLM_LINK_H

#include "host/facts.h"

enum { TW_VLLM_NODES_MAX = 8 };

enum tw_vllm_transport {
    TW_VLLM_AUTO,
    TW_VLLM_INFINIBAND,
    TW_VLLM_ROCE,
    TW_VLLM_THUNDERBOLT,
    TW_VLLM_ETHERNET,
    TW_VLLM_TRANSPORTS
};

typedef struct tw_vllm_link {
    enum tw_vllm_transport transport; /* not AUTO */
    char interface[16];               /* has ip */
    char ip[TW_NET_IP_BYTES];
    char hca[80];  /* "irdma0:1"; "" where sockets are used */
    int gid_index; /* -1: none */
} tw_vllm_link;

/* What is known of one node, borrowed. */
typedef struct tw_vllm_node {
    const char *name;
    const char *ip;     /* cluster address */
    const char *device; /* RDMA device "irdma0" or "irdma0:1" by config; "" or NULL: found */
    const tw_facts *facts;
} tw_vllm_node;

/* nodes[n], 1 <= n <= NODES_MAX; ret[n]. AUTO: the best that every node has, InfiniBand before RoCE
 * before Thunderbolt before Ethernet; why (may be NULL) says what it was chosen by. What was asked
 * for and is not there is an error that names node and mend, never a slower wire: -ENODEV; -EINVAL:
 * several ports could be meant. */
TW_MUST_CHECK int tw_vllm_links_find(const tw_vllm_node *nodes, size_t n,
                                     enum tw_vllm_transport asked, tw_vllm_link *ret, char *why,
                                     size_t why_bytes, tw_err *err);

const char *tw_vllm_transport_name(enum tw_vllm_transport t); /* "roce" */
/* Also twinax' own words: rdma (roce or infiniband, as the port is) and tcp are the caller's. */
bool tw_vllm_transport_parse(const char *name, enum tw_vllm_transport *ret);
bool tw_vllm_transport_is_rdma(enum tw_vllm_transport t);

#endif
