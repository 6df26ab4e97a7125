/* SPDX-License-Identifier: Apache-2.0 */
/* Measures the path between two addresses over TCP sockets of our own: round trips of a given size,
 * and how much goes each way and both ways at once. One end serves, the other asks.
 *
 * The serving end listens on one address, wants a one-time token from every connection, and listens
 * no longer than until all connections of the one peer are there. Nothing here waits without a
 * deadline, and stop() ends everything within 0.2 s.
 * Must not know: interfaces, agents, what a good result is. */
#ifndef TWINAX_CLUSTER_PROBE_H
#define TWINAX_CLUSTER_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "twinax/err.h"

enum { TW_PROBE_TOKEN_BYTES = 32, TW_PROBE_STREAMS_MAX = 8, TW_PROBE_BYTES_MAX = 4 << 20 };

enum tw_probe_wait { TW_PROBE_SPIN, TW_PROBE_SLEEP, TW_PROBE_WAITS };

/* True: give up now. Any thread. */
typedef struct tw_probe_stop {
    bool (*asked)(void *ctx); /* NULL: never */
    void *ctx;
} tw_probe_stop;

/* Half a round trip. */
typedef struct tw_probe_lat {
    uint32_t bytes, n;
    double min_us, p50_us, p99_us;
} tw_probe_lat;

/* ---- the serving end ---- */

/* ip: an address of this host, never a wildcard. */
TW_MUST_CHECK int tw_probe_listen(const char *ip, uint16_t port, int *ret_fd, uint16_t *ret_port,
                                  tw_err *err);
/* Waits accept_ns for the peer, then serves it until it says good-bye. Owns listen_fd, which is
 * closed as soon as the peer is there. 0: the peer ended in order. */
TW_MUST_CHECK int tw_probe_serve(int listen_fd, const uint8_t token[TW_PROBE_TOKEN_BYTES],
                                 uint64_t accept_ns, tw_probe_stop stop, tw_err *err);

/* The same door for one connection of any purpose: *ret_fd is the caller's. */
TW_MUST_CHECK int tw_probe_door_accept(int listen_fd, const uint8_t token[TW_PROBE_TOKEN_BYTES],
                                       uint64_t accept_ns, tw_probe_stop stop, int *ret_fd,
                                       tw_err *err);

/* ---- the asking end ---- */

typedef struct tw_probe tw_probe;

typedef struct tw_probe_to {
    const char *ip, *bind_ip; /* bind_ip NULL: as routed */
    uint16_t port;
    const uint8_t *token; /* [TW_PROBE_TOKEN_BYTES] */
    unsigned n_streams;   /* of bulk data, 1 .. TW_PROBE_STREAMS_MAX */
    uint64_t limit_ns;    /* to connect */
    tw_probe_stop stop;
} tw_probe_to;

/* To tw_probe_door_accept; n_streams is not looked at. */
TW_MUST_CHECK int tw_probe_door_connect(const tw_probe_to *to, int *ret_fd, tw_err *err);
TW_MUST_CHECK int tw_probe_connect(const tw_probe_to *to, tw_probe **ret, tw_err *err);
void tw_probe_close(tw_probe *p);
void tw_probe_closep(tw_probe **p);
/* From now on measures a link of ours instead of plain sockets; needs n_streams >= 1. The error says
 * which end cannot and why. link_text: device, port and GID that carry it. */
enum tw_probe_link_kind { TW_PROBE_LINK_TCP, TW_PROBE_LINK_VERBS };
TW_MUST_CHECK int tw_probe_link_open(tw_probe *p, enum tw_probe_link_kind kind, char *link_text,
                                     size_t text_bytes, tw_err *err);
/* Round trips of bytes for about ns. */
TW_MUST_CHECK int tw_probe_ping(tw_probe *p, enum tw_probe_wait wait, uint32_t bytes, uint64_t ns,
                                tw_probe_lat *ret, tw_err *err);
/* Payload as it arrives, decimal Gbit/s; a way that is not asked for is 0. */
TW_MUST_CHECK int tw_probe_flood(tw_probe *p, bool to_peer, bool from_peer, uint64_t ns,
                                 double *ret_to_gbit, double *ret_from_gbit, tw_err *err);
/* Payload bytes that this end sent and received so far. */
uint64_t tw_probe_bytes(const tw_probe *p);

#endif
