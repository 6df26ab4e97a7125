/* SPDX-License-Identifier: Apache-2.0 */
/* What both ends of a proof's door say; the drawing is in proof_door.h. */
#ifndef TWINAX_CLUSTER_PROOF_WORDS_H
#define TWINAX_CLUSTER_PROOF_WORDS_H

#define TW_PROOF_MAGIC "TWPROOF1"

enum {
    TW_PROOF_HELLO_BYTES = 40,  /* magic, token */
    TW_PROOF_PACKET_BYTES = 48, /* and seq, size: the smallest packet */
    TW_PROOF_ANSWER_BYTES = 16
};

#endif
