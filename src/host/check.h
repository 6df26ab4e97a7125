/* SPDX-License-Identifier: Apache-2.0 */
/* doctor's judgement: facts of all nodes, live proofs and what the config asks for in; a list of
 * results out. One table (check_table.c) names every check; each is one small function.
 *
 * Judged is what the config asks for: what nobody wants is not applicable; what is there and could be
 * used, though nobody asked, is a warning at worst. Whatever fails comes with its mend, a command of
 * the node's own distribution where there is one.
 * Pure. Must not know: files, ssh, terminals. */
#ifndef TWINAX_HOST_CHECK_H
#define TWINAX_HOST_CHECK_H

#include "host/facts.h"
#include "host/kernel_params.h"
#include "host/proof.h"

enum { TW_CHECK_NODES_MAX = TW_PROOF_NODES_MAX, TW_CHECK_RESULTS_MAX = 1536 };

enum tw_check_status { TW_CHECK_NA, TW_CHECK_OK, TW_CHECK_WARN, TW_CHECK_FAIL, TW_CHECK_STATUSES };
enum tw_check_scope { TW_CHECK_NODE, TW_CHECK_PAIR, TW_CHECK_CLUSTER };
enum tw_check_engine { TW_CHECK_ENGINE_AUTO, TW_CHECK_ENGINE_NATIVE, TW_CHECK_ENGINE_VLLM };
enum tw_check_transport { TW_CHECK_BY_AUTO, TW_CHECK_BY_RDMA, TW_CHECK_BY_TCP };
/* Who wants a check; see tw_check_use. */
enum tw_check_need {
    TW_NEED_ALWAYS,
    TW_NEED_CLUSTER,
    TW_NEED_NIC, /* the cluster's interface is known */
    TW_NEED_RDMA,
    TW_NEED_THUNDERBOLT,
    TW_NEED_VLLM,
    TW_NEEDS
};
enum tw_check_want { TW_WANT_NO, TW_WANT_MAYBE, TW_WANT_YES };

typedef struct tw_check_config {
    enum tw_check_engine engine;
    enum tw_check_transport transport;
    char model[160]; /* "" none asked */
} tw_check_config;

typedef struct tw_check_node {
    char name[64];
    char ssh[128];         /* its ssh name; "local": this machine */
    char ip[48];           /* cluster address; "" none given */
    char interface[16];    /* "" none given */
    const tw_facts *facts; /* NULL: not reached */
    char why[240];         /* why not */
} tw_check_node;

typedef struct tw_check_world {
    tw_check_config config;
    size_t n_nodes;
    tw_check_node nodes[TW_CHECK_NODES_MAX]; /* the first one is the head */
    const tw_proofs *proofs;                 /* NULL: none were made */
} tw_check_world;

typedef struct tw_check tw_check;

typedef struct tw_check_result {
    const tw_check *check;
    size_t node, peer; /* index; peer == node: no pair */
    enum tw_check_status status;
    char found[224], wanted[160]; /* wanted "": nothing to add */
    char mend[640];               /* "" with NA and OK */
    const char *step;             /* setup's step that does it; NULL: setup does not know */
} tw_check_result;

/* Of one node: what it is used for. */
typedef struct tw_check_use {
    const tw_net_if *net;    /* the cluster's interface; NULL: none found */
    const tw_facts_nic *nic; /* the same; NULL */
    const tw_net_addr *addr; /* the cluster's address on it; NULL */
    enum tw_check_want want[TW_NEEDS];
    bool unified_gpu; /* an AMD GPU in system memory: Strix Halo and its kin */
    bool strix_halo;
    uint64_t installed_bytes;
} tw_check_use;

typedef struct tw_check_ctx {
    const tw_check_world *w;
    size_t i, j;              /* node and peer */
    const tw_check_use *uses; /* [n_nodes] */
    const tw_check_use *use, *peer_use;
    const tw_facts *f, *g; /* of node and peer; not NULL in NODE and PAIR scope */
    tw_check_result *r;
} tw_check_ctx;

struct tw_check {
    const char *id;    /* "kernel.iommu" */
    const char *title; /* "IOMMU in pass-through" */
    const char *about; /* one or two sentences for docs/doctor.md */
    enum tw_check_scope scope;
    enum tw_check_need need;
    /* Fills found, wanted, mend and step of c->r; returns the status. */
    enum tw_check_status (*run)(tw_check_ctx *c);
};

extern const tw_check tw_check_table[]; /* ends with id NULL */
size_t tw_check_count(void);

/* Fills ret[max] and returns how many; node by node, then pairs, then the cluster as a whole. */
size_t tw_checks_run(const tw_check_world *w, tw_check_result *ret, size_t max);
void tw_check_use_find(const tw_check_world *w, size_t i, tw_check_use *ret);
enum tw_check_status tw_checks_worst(const tw_check_result *v, size_t n);

/* The module that makes an RDMA device of a card of this network driver; NULL: none is known. */
const char *tw_check_rdma_module(const char *driver);

const char *tw_check_status_name(enum tw_check_status s); /* "ok", "warn", "fail", "na" */
const char *tw_check_need_name(enum tw_check_need n);

#endif
