/* SPDX-License-Identifier: Apache-2.0 */
/* What the verbs link needs of an RDMA library, as a table of functions in words of our own: a fake
 * stands behind the same table in tests. verbs_lib.c alone includes the library's header, loads
 * libibverbs at run time and wraps its inline functions.
 *
 * All functions return 0 or a negative errno. Handles belong to the side that made them. Queue
 * pairs are reliable connected; one completion queue takes both directions. */
#ifndef TWINAX_LINK_VERBS_LIB_H
#define TWINAX_LINK_VERBS_LIB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "os/rdma.h"
#include "twinax/err.h"

enum { TW_VERBS_DEVICES_MAX = 16, TW_VERBS_BATCH = 16 };

typedef struct tw_verbs_ctx tw_verbs_ctx;
typedef struct tw_verbs_cq tw_verbs_cq;
typedef struct tw_verbs_mr tw_verbs_mr;
typedef struct tw_verbs_qp tw_verbs_qp;

typedef struct tw_verbs_device {
    char name[TW_RDMA_NAME_BYTES];
    bool is_iwarp;
} tw_verbs_device;

enum tw_verbs_port_state {
    TW_VERBS_PORT_UNKNOWN,
    TW_VERBS_PORT_DOWN,
    TW_VERBS_PORT_INIT,
    TW_VERBS_PORT_ARMED,
    TW_VERBS_PORT_ACTIVE
};

typedef struct tw_verbs_port {
    enum tw_verbs_port_state state;
    bool is_ethernet;
    uint8_t mtu_code; /* 1: 256 bytes .. 5: 4096 bytes */
    uint16_t lid;
} tw_verbs_port;

/* The way to a peer's queue pair. */
typedef struct tw_verbs_path {
    unsigned port, gid_index;
    bool is_ethernet; /* by GID; else by LID */
    uint8_t gid[TW_RDMA_GID_BYTES];
    uint16_t lid;
    uint8_t mtu_code;
    uint32_t qpn, psn; /* the peer's */
} tw_verbs_path;

/* The library's own numbers. */
enum tw_verbs_status {
    TW_VERBS_OK = 0,
    TW_VERBS_LOC_LEN_ERR = 1,
    TW_VERBS_LOC_QP_OP_ERR = 2,
    TW_VERBS_LOC_PROT_ERR = 4,
    TW_VERBS_FLUSH_ERR = 5,
    TW_VERBS_BAD_RESP_ERR = 7,
    TW_VERBS_LOC_ACCESS_ERR = 8,
    TW_VERBS_REM_INV_REQ_ERR = 9,
    TW_VERBS_REM_ACCESS_ERR = 10,
    TW_VERBS_REM_OP_ERR = 11,
    TW_VERBS_RETRY_EXC_ERR = 12,
    TW_VERBS_RNR_RETRY_EXC_ERR = 13,
    TW_VERBS_FATAL_ERR = 19
};

typedef struct tw_verbs_wc {
    unsigned status; /* enum tw_verbs_status, or one that we have no name for */
    uint32_t vendor, imm;
    bool is_recv;
} tw_verbs_wc;

/* One RDMA WRITE with immediate: always signaled and solicited. With a flag it is two on the wire,
 * in this order: the bytes by a plain WRITE, then the flag, inline, by the WRITE with immediate. */
typedef struct tw_verbs_write {
    const void *p;
    uint32_t bytes, lkey, rkey, imm;
    uint64_t remote;
    bool with_flag;
    uint32_t flag; /* as it shall lie in memory, at flag_remote */
    uint64_t flag_remote;
} tw_verbs_write;

typedef struct tw_verbs_api {
    const char *name;
    int (*devices)(tw_verbs_device *ret, unsigned max); /* how many */
    int (*open)(const char *device, tw_verbs_ctx **ret, unsigned *ret_n_ports);
    void (*close)(tw_verbs_ctx *c);
    int (*query_port)(tw_verbs_ctx *c, unsigned port, tw_verbs_port *ret);
    /* All ports' filled GIDs; how many, or -ENOSYS: ask sysfs. */
    int (*query_gids)(tw_verbs_ctx *c, tw_rdma_gid *ret, unsigned max);
    /* Without relaxed ordering: what a flag announces must be there before it. */
    int (*reg)(tw_verbs_ctx *c, void *p, size_t bytes, tw_verbs_mr **ret, uint32_t *ret_lkey,
               uint32_t *ret_rkey);
    void (*dereg)(tw_verbs_mr *m);
    int (*create_cq)(tw_verbs_ctx *c, unsigned depth, tw_verbs_cq **ret, int *ret_fd);
    void (*destroy_cq)(tw_verbs_cq *q);
    /* n_send counts each part of a write with a flag; with_flag: such writes will be. */
    int (*create_qp)(tw_verbs_ctx *c, tw_verbs_cq *q, unsigned n_send, unsigned n_recv,
                     bool with_flag, tw_verbs_qp **ret, uint32_t *ret_qpn);
    void (*destroy_qp)(tw_verbs_qp *p);
    int (*to_init)(tw_verbs_qp *p, unsigned port);
    int (*to_rtr)(tw_verbs_qp *p, const tw_verbs_path *path);
    int (*to_rts)(tw_verbs_qp *p, uint32_t psn);
    /* n receives without memory: what comes is written where the peer says. */
    int (*post_recv)(tw_verbs_qp *p, unsigned n);
    int (*post_write)(tw_verbs_qp *p, const tw_verbs_write *w);
    int (*poll_cq)(tw_verbs_cq *q, tw_verbs_wc *ret, unsigned max); /* how many */
    /* The queue's fd becomes readable with the next completion (solicited: with the next solicited
     * receive or error). */
    int (*arm_cq)(tw_verbs_cq *q, bool solicited);
    void (*take_events)(tw_verbs_cq *q);
} tw_verbs_api;

/* Acknowledgement timeout 4.096 us * 2^TIMEOUT, RETRIES + 1 attempts: about half a second until a
 * silent peer is an error, 2 s where an adapter stretches it fourfold (heartbeats are faster then).
 * Receiver-not-ready cannot be without a bug of ours: three short retries. */
enum {
    TW_VERBS_TIMEOUT = 14,
    TW_VERBS_RETRIES = 7,
    TW_VERBS_RNR_RETRIES = 3,
    TW_VERBS_RNR_TIMER = 12
};

/* libibverbs, loaded at the first call; NULL: the message names what is missing and its package.
 * Thread: any. */
const tw_verbs_api *tw_verbs_lib(tw_err *err);
/* Tests: what tw_verbs_lib gives from now on; NULL: the real one again. Before any thread asks. */
void tw_verbs_lib_replace(const tw_verbs_api *api);

#endif
