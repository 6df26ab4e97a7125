/* SPDX-License-Identifier: Apache-2.0 */
/* A door before every TCP socket that held programs listen on: Ray and torch bind many to all networks,
 * some without any authentication, and have no setting for it. The kernel hands each bind() to the holder
 * (seccomp, user notification), which puts a filter on the socket (SO_ATTACH_FILTER): packets from this
 * machine and from the cluster's nodes pass, others are dropped, as if nobody listened.
 * Needs no rights. What binds an open port (the API's) is left alone.
 * Must not know Ray, vLLM. */
#ifndef TWINAX_VLLM_HOLD_DOOR_H
#define TWINAX_VLLM_HOLD_DOOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "twinax/err.h"

enum { TW_HOLD_PEERS_MAX = 8 };

typedef struct tw_hold_door {
    size_t n_peers;                       /* 0: no door */
    uint8_t peers[TW_HOLD_PEERS_MAX][16]; /* IPv6, or IPv4 as ::ffff:a.b.c.d */
    uint16_t open_port;
} tw_hold_door;

/* ip: a node's cluster address, with or without zone. False: it is none, or there are too many. */
bool tw_hold_door_add(tw_hold_door *d, const char *ip);
/* In the program, before exec: from then on its bind() waits for the holder. *ret_fd: what the holder
 * listens on, to be passed to it. */
TW_MUST_CHECK int tw_hold_door_enter(int *ret_fd, tw_err *err);
/* In the holder, when fd is readable: one bind(). 0, or why this socket has no door: the bind is done
 * all the same. */
TW_MUST_CHECK int tw_hold_door_serve(const tw_hold_door *d, int fd, tw_err *err);

#endif
