/* SPDX-License-Identifier: Apache-2.0 */
/* The gate of the rendezvous: takes connections from listeners and lets through only those that
 * knock, prove that they know the token (proof.h) and bring one whole frame, in time. Anything else
 * (garbage, another token, silence, one byte at a time) is dropped and counted. Bounded:
 * TW_GATE_PENDING connections, no memory for a body before the proof is right; the oldest makes room
 * for the newest.
 * Must not know: ranks, facts. */
#ifndef TWINAX_COLL_GATE_H
#define TWINAX_COLL_GATE_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "coll/proof.h"
#include "fmt/frame.h"

enum { TW_GATE_PENDING = 64, TW_GATE_LISTENERS = 2 };
#define TW_GATE_HELLO_NS (2 * TW_NS_PER_S)

enum {
    TW_GATE_PREFIX = TW_FRAME_CTL_BYTES + TW_FRAME_PROOF_BYTES,
    TW_GATE_POLLS = TW_GATE_PENDING + TW_GATE_LISTENERS
};

/* One that knows the token: its frame's body, from proof to seal, both of them right. */
typedef struct tw_gate_guest {
    int fd;
    bool is_unix;
    char name[64];
    tw_frame_ctl ctl;
    tw_proof_talk talk;
    uint8_t *body; /* [ctl.bytes], freed by tw_gate_guest_done */
} tw_gate_guest;

typedef struct tw_gate_pending {
    tw_gate_guest g;
    uint64_t until_ns;
    bool has_knocked;
    size_t n; /* bytes read: of the knock, then of prefix and body */
    uint8_t prefix[TW_GATE_PREFIX];
} tw_gate_pending;

typedef struct tw_gate {
    int listeners[TW_GATE_LISTENERS]; /* -1: none; the second one is a unix socket */
    const uint8_t *token;             /* borrowed */
    size_t n_pending;
    uint64_t n_dropped;
    char last_drop[120]; /* why, and whom */
    tw_gate_pending pending[TW_GATE_PENDING];
} tw_gate;

void tw_gate_init(tw_gate *g, int listener, int unix_listener, const uint8_t *token);
void tw_gate_done(tw_gate *g); /* closes listeners and pending connections */
/* What to poll(2) for before the next call; returns how many (<= TW_GATE_POLLS). */
unsigned tw_gate_polls(const tw_gate *g, struct pollfd *ret);
/* True: a guest, who then belongs to the caller. False: nobody now. */
bool tw_gate_next(tw_gate *g, uint64_t now_ns, tw_gate_guest *ret);
/* Frees the body, and closes the connection unless it was taken (fd set to -1). */
void tw_gate_guest_done(tw_gate_guest *g);

#endif
