/* SPDX-License-Identifier: Apache-2.0 */
/* What the cluster wants of one node, as setup needs it: who the nodes are, their cluster addresses,
 * their cable's interfaces, their ssh keys. The head makes one for each node; as JSON it travels to
 * the node that plans for itself.
 * Pure. Must not know: configuration files, ssh. */
#ifndef TWINAX_HOST_SETUP_WANT_H
#define TWINAX_HOST_SETUP_WANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fmt/json.h"
#include "host/net.h"

enum { TW_SETUP_NODES_MAX = 8, TW_SETUP_KEY_BYTES = 1024 };

enum tw_setup_link { /* what joins the nodes */
                     TW_SETUP_LINK_NONE,
                     TW_SETUP_LINK_LAN, /* an interface that is there for other things too: only firewall and ssh */
                     TW_SETUP_LINK_THUNDERBOLT,
                     TW_SETUP_LINK_RDMA,
                     TW_SETUP_LINK_CABLE, /* a dedicated Ethernet link without RDMA */
                     TW_SETUP_LINKS
};

typedef struct tw_setup_node {
    char name[64];
    char ip[64];                       /* cluster address, no prefix; "" none */
    char interface[16];                /* the cable's, on that node; "" not known */
    char key[TW_SETUP_KEY_BYTES];      /* its user's public ssh key, one line; "" to be made */
    char host_key[TW_SETUP_KEY_BYTES]; /* its sshd's, "ssh-ed25519 AAAA..."; "" not known */
} tw_setup_node;

typedef struct tw_setup_want {
    size_t n, self; /* nodes, and which one this is; 0 is the head */
    tw_setup_node nodes[TW_SETUP_NODES_MAX];
    enum tw_setup_link link;
    uint8_t prefix; /* of the cluster's subnet; 0: not ours to set */
    uint32_t mtu;
    bool vllm;      /* the GPU engine, where there is a GPU for it */
    bool kernel;    /* the card's kernel parameters even where no card asks for them */
    bool soft_roce; /* rdma over an interface that has no RDMA card */
} tw_setup_want;

/* Owns: the caller, json_decref; NULL when out of memory. */
json_t *tw_setup_want_print(const tw_setup_want *w);
/* Another's word: every text is checked for what its place allows. */
TW_MUST_CHECK int tw_setup_want_parse(const json_t *v, tw_setup_want *ret, tw_err *err);

/* "ssh-ed25519 AAAA... comment": one line that can neither end nor begin another. "": none, good. */
bool tw_setup_is_key(const char *s);

const char *tw_setup_link_name(enum tw_setup_link l);
/* The longest prefix whose subnet holds all addresses, none of them its first or last (IPv4); 30 at
 * most, 24 on Thunderbolt (the guide's). 64 for IPv6. 0: they lie too far apart (< 16). */
uint8_t tw_setup_prefix(const tw_setup_want *w);
/* Fills link, interfaces and addresses that are not given, and the prefix, from the interfaces of all
 * nodes (nets[n]). transport: "auto", "rdma", "tcp" or "shm".
 * Errors: a node that has not what is asked for, by name, with what it has. */
TW_MUST_CHECK int tw_setup_want_complete(tw_setup_want *w, const char *transport,
                                         const tw_net *const *nets, tw_err *err);

#endif
