/* SPDX-License-Identifier: Apache-2.0 */
/* How two ends of a new connection show each other that they know the group's token, without sending
 * it: keyed hashes over two fresh nonces.
 *
 *   caller                               listener
 *   KNOCK nonce c        ------------->
 *                        <-------------  CHALLENGE nonce l
 *   HELLO or LINK        ------------->  proof: over the frame's head, so that nobody gets memory for
 *     proof, ..., seal                     a body before it is right
 *                                        seal: over proof and body; nothing of it was altered
 *                        <-------------  WELCOME seal: over the caller's; the listener knows the
 *                                          token too, and heard just this hello
 *                        <-------------  TABLE ..., seal (HELLO alone)
 *
 * Each kind of hash has a key of its own, HMAC(token, kind, c, l): what one end says is never right
 * from the other, in another frame or on another connection. KNOCK, CHALLENGE, proof and seal are the
 * same in every version, so that two versions can tell each other in earnest that they differ.
 * Source: HMAC-SHA-256, RFC 2104. */
#ifndef TWINAX_COLL_PROOF_H
#define TWINAX_COLL_PROOF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fmt/frame.h"
#include "twinax/err.h"

/* What both ends know of one connection. */
typedef struct tw_proof_talk {
    const uint8_t *token;                     /* [TW_TOKEN_BYTES], borrowed */
    uint8_t nonces[2 * TW_FRAME_NONCE_BYTES]; /* caller's, listener's */
} tw_proof_talk;

enum tw_proof_kind { TW_PROOF_CALLER, TW_PROOF_BODY, TW_PROOF_LISTENER, TW_PROOF_TABLE };

void tw_proof_make(const tw_proof_talk *t, enum tw_proof_kind kind, const void *p, size_t n,
                   uint8_t ret[TW_FRAME_PROOF_BYTES]);
/* 0: theirs is right; -EACCES: it is not. */
TW_MUST_CHECK int tw_proof_check(const tw_proof_talk *t, enum tw_proof_kind kind, const void *p,
                                 size_t n, const uint8_t *theirs, tw_err *err);

/* Fills proof and seal of a whole HELLO or LINK frame [bytes]. */
void tw_proof_seal(const tw_proof_talk *t, uint8_t *frame, size_t bytes);

#endif
