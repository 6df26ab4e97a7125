/* SPDX-License-Identifier: Apache-2.0 */
/* Wire frames of the data plane, as pure encoders and decoders. Little-endian. Two kinds:
 *
 * Data header, before every payload on a link:
 *    0     4    5      6       8      16      24    28     32
 *    +-----+----+------+-------+------+-------+-----+------+
 *    |magic| op | from | flags | seq  | bytes | crc | zero |
 *    +-----+----+------+-------+------+-------+-----+------+
 * crc: CRC-32C over the header's first 24 bytes and the payload, when flags has TW_FRAME_CRC.
 *
 * Control frame, on the rendezvous connection and as the first words of a link:
 *    0     4         6      8       12
 *    +-----+---------+------+-------+---------------+
 *    |magic| version | type | bytes | body [bytes]  |
 *    +-----+---------+------+-------+---------------+
 * KNOCK and CHALLENGE are a nonce. HELLO and LINK begin with a proof and end with a seal, in every
 * version; WELCOME is a seal and TABLE ends with one. (Who makes them: coll/proof.h.) Strings are a u16
 * length and bytes.
 * Must not know: sockets, what an operation means. */
#ifndef TWINAX_FMT_FRAME_H
#define TWINAX_FMT_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

enum {
    TW_FRAME_DATA_BYTES = 32,
    TW_FRAME_CTL_BYTES = 12,
    TW_FRAME_NONCE_BYTES = 32,
    TW_FRAME_PROOF_BYTES = 32, /* a seal too */
    TW_FRAME_BODY_MAX = 32 * 1024,
    TW_FRAME_RANKS_MAX = 8,
    TW_FRAME_FACTS_MAX = 64,
    TW_FRAME_VERSION = 2,
    TW_FRAME_CRC = 1
};

typedef struct tw_frame_data {
    uint8_t op, from;
    uint16_t flags;
    uint64_t seq, bytes;
    uint32_t crc;
} tw_frame_data;

void tw_frame_data_encode(const tw_frame_data *f, uint8_t out[TW_FRAME_DATA_BYTES]);
/* -EPROTO: not a data header. */
TW_MUST_CHECK int tw_frame_data_decode(const uint8_t in[TW_FRAME_DATA_BYTES], tw_frame_data *ret);

enum tw_frame_type {
    TW_FRAME_HELLO = 1, /* rank k to rank 0: who, where, facts */
    TW_FRAME_WELCOME,   /* the listener: the hello or link is accepted; wait */
    TW_FRAME_REFUSE,    /* text; the sender closes */
    TW_FRAME_TABLE,     /* rank 0: where every rank's links listen */
    TW_FRAME_LINK,      /* of a link: from, to */
    TW_FRAME_READY,     /* rank k has all its links */
    TW_FRAME_GO,        /* rank 0: so has everybody */
    TW_FRAME_BEAT,      /* heartbeat */
    TW_FRAME_DEAD,      /* rank and text: rank 0 tells of a death */
    TW_FRAME_BYE,       /* rank and text; no text: a clean end */
    TW_FRAME_KNOCK,     /* first words of every connection: the caller's nonce */
    TW_FRAME_CHALLENGE  /* and the listener's */
};

typedef struct tw_frame_ctl {
    uint16_t version, type;
    uint32_t bytes;
} tw_frame_ctl;

/* -EPROTO: wrong magic, or a body beyond TW_FRAME_BODY_MAX. Any version passes. */
TW_MUST_CHECK int tw_frame_ctl_decode(const uint8_t in[TW_FRAME_CTL_BYTES], tw_frame_ctl *ret);
/* Appends header and body. */
TW_MUST_CHECK int tw_frame_ctl_encode(tw_buf *b, enum tw_frame_type type, const void *body,
                                      size_t bytes);

/* Where a rank is and how its links are reached. */
typedef struct tw_frame_peer {
    tw_str address; /* of its link listener; empty: none */
    uint16_t port;
    tw_str host_id;     /* boot id and network namespace */
    tw_str unix_name;   /* abstract unix socket; empty: none */
    uint16_t n_threads; /* that compute */
} tw_frame_peer;

typedef struct tw_frame_fact {
    tw_str name, value;
    bool only_report;
} tw_frame_fact;

/* Strings, proofs and seals [TW_FRAME_PROOF_BYTES] point into the decoded bytes; encoded, NULL is a
 * place of zeros. */
typedef struct tw_frame_hello {
    const uint8_t *proof, *seal;
    uint8_t rank, n_ranks, transport, verify;
    tw_frame_peer me;
    size_t n_facts;
    tw_frame_fact facts[TW_FRAME_FACTS_MAX];
} tw_frame_hello;

TW_MUST_CHECK int tw_frame_hello_encode(tw_buf *b, const tw_frame_hello *h);
TW_MUST_CHECK int tw_frame_hello_decode(const uint8_t *p, size_t n, tw_frame_hello *ret);

typedef struct tw_frame_table {
    uint8_t n_ranks;
    tw_frame_peer peers[TW_FRAME_RANKS_MAX];
    const uint8_t *seal;
} tw_frame_table;

TW_MUST_CHECK int tw_frame_table_encode(tw_buf *b, const tw_frame_table *t);
TW_MUST_CHECK int tw_frame_table_decode(const uint8_t *p, size_t n, tw_frame_table *ret);

typedef struct tw_frame_link {
    const uint8_t *proof, *seal;
    uint8_t from, to;
} tw_frame_link;

TW_MUST_CHECK int tw_frame_link_encode(tw_buf *b, const tw_frame_link *l);
TW_MUST_CHECK int tw_frame_link_decode(const uint8_t *p, size_t n, tw_frame_link *ret);

/* REFUSE, DEAD, BYE: one rank and a line of text. Decoding replaces control characters, so that a
 * peer's words can be printed. */
TW_MUST_CHECK int tw_frame_text_encode(tw_buf *b, enum tw_frame_type type, uint8_t rank,
                                       const char *text);
TW_MUST_CHECK int tw_frame_text_decode(const uint8_t *p, size_t n, uint8_t *ret_rank,
                                       char *ret_text, size_t text_bytes);

#endif
