/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs link's inside, shared by its files. */
#ifndef TWINAX_LINK_VERBS_INSIDE_H
#define TWINAX_LINK_VERBS_INSIDE_H

#include "link/verbs.h"

enum {
    SLOTS = TW_LINK_VERBS_SLOTS,
    SLOT_BYTES = TW_LINK_VERBS_SLOT_BYTES,
    /* What can be under way: every slot, and the few empty writes that give slots back. */
    VERBS_DEPTH = SLOTS + 8,
    VERBS_GIVE_BACK = SLOTS / 2,
    /* By flag: bytes before a slot's payload; one flag each cache line, after the slots that the
     * peer writes. */
    VERBS_SLOT_HEAD = 8,
    VERBS_FLAG_STEP = 64,
    /* Messages whose immediates may wait in the queue: each holds a receive. */
    VERBS_LAZY = SLOTS / 2,
    VERBS_LOOKS = 8, /* at the flag before one at the queue */
    VERBS_RECVS = VERBS_DEPTH + VERBS_LAZY + 4,
    /* A failure completes every part of every write. */
    VERBS_SENDS = 2 * VERBS_DEPTH,
    VERBS_CQ_DEPTH = VERBS_SENDS + VERBS_RECVS + TW_VERBS_BATCH
};

enum tw_verbs_kind { TW_VERBS_DATA, TW_VERBS_CREDIT, TW_VERBS_PROBE };

typedef struct tw_verbs_imm {
    enum tw_verbs_kind kind;
    unsigned seq, credits;
    uint32_t bytes;
} tw_verbs_imm;

uint32_t tw_verbs_imm_encode(const tw_verbs_imm *i);
tw_verbs_imm tw_verbs_imm_decode(uint32_t v);

/* verbs_pool.c: one link's part of a shared device. */
typedef struct tw_verbs_part {
    tw_verbs_pool *pool; /* NULL: none taken */
    tw_verbs_ctx *ctx;
    uint8_t *arena; /* [TW_LINK_VERBS_ARENA_BYTES], zeroed */
    uint32_t lkey, rkey;
    unsigned i_device, i_part;
} tw_verbs_part;

TW_MUST_CHECK int tw_verbs_pool_take(tw_verbs_pool *p, const tw_verbs_api *api, const char *device,
                                     tw_verbs_part *ret, tw_err *err);
void tw_verbs_pool_give(tw_verbs_part *t); /* after the link's queues are gone */

/* Device, port and GID that were found for an address. */
typedef struct tw_verbs_place {
    char device[TW_RDMA_NAME_BYTES];
    unsigned port;
    tw_verbs_port attr;
    tw_rdma_gid gid; /* of Ethernet ports */
} tw_verbs_place;

/* verbs_find.c. addr: the link's own, IPv4 mapped into IPv6. */
TW_MUST_CHECK int tw_verbs_find(const tw_verbs_api *api, const tw_link_verbs_opts *o,
                                const uint8_t addr[TW_RDMA_GID_BYTES], tw_verbs_place *ret,
                                tw_err *err);

/* verbs_offer.c: what two ends tell each other, 256 bytes. */
enum { TW_VERBS_OFFER_BYTES = 256, TW_VERBS_WHY_BYTES = 176 };

typedef struct tw_verbs_offer {
    bool usable; /* else why */
    bool is_ethernet, can_flag;
    uint8_t mtu_code, gid[TW_RDMA_GID_BYTES];
    uint16_t lid;
    uint32_t qpn, psn, rkey, n_slots, slot_bytes;
    uint64_t addr;
    char why[TW_VERBS_WHY_BYTES];
} tw_verbs_offer;

void tw_verbs_offer_encode(const tw_verbs_offer *o, uint8_t out[TW_VERBS_OFFER_BYTES]);
/* -EPROTO: no offer, or values that cannot be. Text comes out printable. */
TW_MUST_CHECK int tw_verbs_offer_decode(const uint8_t in[TW_VERBS_OFFER_BYTES],
                                        tw_verbs_offer *ret);

typedef struct tw_verbs_link {
    tw_link l;
    const tw_verbs_api *api;
    tw_verbs_place at;
    tw_verbs_part part;
    tw_verbs_cq *cq;
    tw_verbs_qp *qp;
    int sock, cq_fd, epoll_fd;
    uint32_t psn;
    uint64_t peer_addr; /* of the peer's second half */
    uint32_t peer_rkey;
    /* Sending. */
    unsigned credits;    /* free slots of the peer */
    uint32_t tx_data;    /* number of the next message with data; its slot is that % SLOTS */
    unsigned n_unacked;  /* posted, not completed */
    unsigned tx_imm_seq; /* of the next immediate */
    /* Receiving. */
    uint32_t arrived[SLOTS]; /* bytes */
    unsigned i_recv, n_arrived;
    uint32_t rx_data; /* number of the next one to arrive */
    bool can_flag, by_flag;
    unsigned n_by_flag; /* taken by flag, their immediates are still to come */
    unsigned n_looks;
    uint32_t taken;      /* bytes of the slot i_recv that are read already */
    unsigned owed;       /* slots to give back */
    unsigned rx_imm_seq; /* of the next immediate */
    bool probe_came, peer_gone;
    /* The first failure; code 0: none. */
    int failed;
    unsigned status, vendor;
    bool failed_recv;
    char note[96]; /* instead of a status */
} tw_verbs_link;

/* The arena: [2 * SLOTS][SLOT_BYTES], what we send, then what the peer writes. */
static inline uint8_t *tw_verbs_slot(const tw_verbs_link *v, unsigned i)
{
    return v->part.arena + (size_t)i * SLOT_BYTES;
}

static inline uint8_t *tw_verbs_slot_in(const tw_verbs_link *v, unsigned i)
{
    return tw_verbs_slot(v, SLOTS + i);
}

/* Where the peer says that its message of slot i is there. */
static inline uint8_t *tw_verbs_flag_in(const tw_verbs_link *v, unsigned i)
{
    return tw_verbs_slot(v, 2 * SLOTS) + (size_t)i * VERBS_FLAG_STEP;
}

/* verbs_flag.c: adapters that write in order to what polls them. */
bool tw_verbs_flag_is_tested(const char *sysfs, const char *device);

/* verbs.c */
extern const tw_link_ops tw_verbs_link_ops;
/* Takes all completions; the link's failure, if any. */
int tw_verbs_drain(tw_verbs_link *v);
/* Sends the next slot, which is filled; there must be a credit unless it is TW_VERBS_CREDIT. */
int tw_verbs_post(tw_verbs_link *v, enum tw_verbs_kind kind, uint32_t bytes);
void tw_verbs_free(tw_verbs_link *v); /* half-built ones too; not the socket */

/* verbs_text.c: fills err with what a failed completion means, and who. */
int tw_verbs_explain(const tw_link *l, int code, tw_err *err);
/* The negative errno of a completion's status. */
int tw_verbs_status_code(unsigned status);
const char *tw_verbs_state_name(enum tw_verbs_port_state s);

#endif
