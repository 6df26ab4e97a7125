/* SPDX-License-Identifier: Apache-2.0 */
/* The two ends of "does it really pass": a door on one cluster address, TCP and UDP on one port, that
 * answers only who knows the one-time token; and who knocks at it.
 *
 *    TCP: {"TWPROOF1", token[32]} -> 'Y'
 *    UDP: {"TWPROOF1", token[32], seq u32, size u32, padding} -> {"TWPROOF1", seq u32, size u32}
 *
 * The padding makes the packet as large as is to be proven, fragments forbidden; the answer is small
 * whatever came. Nothing waits without a deadline. Must not know: agents, facts. */
#ifndef TWINAX_CLUSTER_PROOF_DOOR_H
#define TWINAX_CLUSTER_PROOF_DOOR_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/probe.h"
#include "host/proof.h"

enum { TW_PROOF_MTU_MAX = 65535 };

typedef struct tw_proof_door tw_proof_door;

/* ip: an address of this host, never a wildcard. A thread answers until close, life_ns at most. */
TW_MUST_CHECK int tw_proof_door_open(const char *ip, const uint8_t token[TW_PROBE_TOKEN_BYTES],
                                     uint64_t life_ns, tw_proof_door **ret, uint16_t *ret_port,
                                     tw_err *err);
void tw_proof_door_close(tw_proof_door *d);

typedef struct tw_proof_knock {
    const char *ip, *from_ip; /* from_ip NULL: as routed */
    uint16_t port;
    const uint8_t *token; /* [TW_PROBE_TOKEN_BYTES] */
    uint32_t mtu;         /* largest packet to try, headers counted; 0: the port alone */
    uint64_t limit_ns;    /* for the connection; packets take 4 s at most */
    bool (*asked_to_stop)(void *ctx);
    void *ctx;
} tw_proof_knock;

/* What does not pass is a result, not an error. */
void tw_proof_door_knock(const tw_proof_knock *k, tw_proof_way *ret);

#endif
