/* SPDX-License-Identifier: Apache-2.0 */
/* Which two addresses a path between two machines has: found by interface, or as given. Pure: two
 * sets of facts in, addresses out. */
#ifndef TWINAX_CLUSTER_PATH_H
#define TWINAX_CLUSTER_PATH_H

#include "host/net.h"

enum tw_path_kind { TW_PATH_LAN, TW_PATH_ROCE, TW_PATH_THUNDERBOLT, TW_PATH_RDMA, TW_PATHS };

typedef struct tw_path {
    enum tw_path_kind kind;
    const tw_net_if *here, *there; /* borrowed from the facts */
    char here_ip[64];              /* to bind to; with our zone where it needs one */
    char there_ip[64];             /* as the far side knows it, no zone */
    char to_ip[64];                /* to connect to from here: there_ip with our zone */
} tw_path;

typedef struct tw_path_ask {
    enum tw_path_kind kind;
    const char *given; /* "IP[,PEERIP]", either may be ours; NULL: found by interface */
    const tw_net *here, *there;
    /* The cluster's addresses, by the configuration; NULL or "": not said. They are the path of the
     * kind that their interface is: Thunderbolt, the LAN of the default route, else the RoCE NIC. */
    const char *here_cluster_ip, *there_cluster_ip;
    bool same_machine; /* both ends are one machine: the same address on both */
} tw_path_ask;

/* -ENODEV and a reason when there is no such path; -EINVAL when what was given is no address. */
TW_MUST_CHECK int tw_path_find(const tw_path_ask *ask, tw_path *ret, tw_err *err);

const char *tw_path_key(enum tw_path_kind k); /* "lan", "roce_tcp", "thunderbolt", "rdma" */
/* The guide's row name; its "1G" gives way to what the interface really is. here may be NULL. */
void tw_path_name(enum tw_path_kind k, const tw_net_if *here, char *out, size_t out_bytes);

#endif
