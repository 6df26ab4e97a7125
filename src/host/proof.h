/* SPDX-License-Identifier: Apache-2.0 */
/* What was proven live between the nodes, as plain structs: the head fills them through the agents
 * (cluster/proof.h), a record keeps them under "proofs", and the checks judge them.
 * Must not know: how anything was proven, what is good or bad. */
#ifndef TWINAX_HOST_PROOF_H
#define TWINAX_HOST_PROOF_H

#include "fmt/json.h"
#include "host/facts_kinds.h"

enum { TW_PROOF_NODES_MAX = 8, TW_PROOF_GROWN_MAX = 8, TW_PROOF_WHY_BYTES = 160 };

enum tw_proof_port {
    TW_PORT_UNKNOWN,
    TW_PORT_PASSES,
    TW_PORT_REFUSED,     /* a reset came back: the way is free, or a firewall rejects */
    TW_PORT_FILTERED,    /* no answer at all */
    TW_PORT_UNREACHABLE, /* no route, or a host said so */
    TW_PORTS
};

/* From one node to another over their cluster addresses. */
typedef struct tw_proof_way {
    enum tw_proof_port port;
    uint32_t mtu;       /* the largest packet that arrived whole; 0: none, or not tried */
    uint32_t mtu_tried; /* the largest one tried; 0: not tried */
    char why[TW_PROOF_WHY_BYTES];
} tw_proof_way;

/* Counters of one end that grew during the load. */
typedef struct tw_proof_grown {
    char name[24];
    uint64_t by;
} tw_proof_grown;

typedef struct tw_proof_end {
    size_t n_grown;
    tw_proof_grown grown[TW_PROOF_GROWN_MAX];
} tw_proof_end;

/* Bulk data both ways for `seconds` between nodes i < j. */
typedef struct tw_proof_load {
    double seconds; /* 0: not tried */
    double to_gbit, from_gbit;
    tw_proof_end ends[2]; /* of i, of j */
    char why[TW_PROOF_WHY_BYTES];
} tw_proof_load;

/* Why ssh did not get through. */
enum tw_proof_ssh {
    TW_SSH_OTHER,       /* or it did */
    TW_SSH_KEY_CHANGED, /* the host key is another than the known one */
    TW_SSH_KEY_UNKNOWN,
    TW_SSH_DENIED, /* no key that is let in */
    TW_SSH_CAUSES
};

typedef struct tw_proof_node {
    tw_tri clock;                        /* YES: read */
    double clock_ahead_s, round_trip_ms; /* of the head's clock */
    tw_tri ssh_back;                     /* to the head, without a password */
    enum tw_proof_ssh ssh_back_cause;
    char ssh_back_why[TW_PROOF_WHY_BYTES];
} tw_proof_node;

typedef struct tw_proofs {
    size_t n_nodes;
    tw_proof_node nodes[TW_PROOF_NODES_MAX];
    tw_proof_way ways[TW_PROOF_NODES_MAX][TW_PROOF_NODES_MAX];   /* [from][to] */
    tw_proof_load loads[TW_PROOF_NODES_MAX][TW_PROOF_NODES_MAX]; /* [i][j], i < j */
} tw_proofs;

/* Owns: the caller, json_decref; NULL when out of memory. */
json_t *tw_proofs_print(const tw_proofs *p);
TW_MUST_CHECK int tw_proofs_parse(const json_t *v, tw_proofs *ret, tw_err *err);
const char *tw_proof_port_name(enum tw_proof_port p); /* "passes" */
const char *tw_proof_ssh_name(enum tw_proof_ssh s);   /* "key-changed" */
enum tw_proof_ssh tw_proof_ssh_parse(const char *name);

#endif
