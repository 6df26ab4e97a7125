/* SPDX-License-Identifier: Apache-2.0 */
/* What both ends of a probe share.
 *
 * First words of a connection:       Command on connection 0:
 *  0         8       40    41   42    0     4    5      6     8      12      16   24
 *  +---------+-------+-----+----+     +-----+----+------+-----+------+-------+----+
 *  |TWPROBE1 | token |index| n  |     |magic| op | wait | ways| bytes| count | ns |
 *  +---------+-------+-----+----+     +-----+----+------+-----+------+-------+----+
 * answered by 'Y' or 'N'.            A flood ends with {u64 bytes, u64 ns, u64 0 or errno},
 *                                    the making of a link with {u64 0 or errno, text[240]}.
 *
 * Bulk data goes in blocks; the first byte of the last block of a stream is 1. */
#ifndef TWINAX_CLUSTER_PROBE_INSIDE_H
#define TWINAX_CLUSTER_PROBE_INSIDE_H

#include "cluster/probe.h"
#include "link/link.h"

enum {
    PROBE_HELLO_BYTES = 42,
    PROBE_CMD_BYTES = 24,
    PROBE_RESULT_BYTES = 24,
    PROBE_WORDS_BYTES = 248,
    PROBE_BLOCK_BYTES = 128 * 1024,
    PROBE_TO_SERVER = 1,
    PROBE_TO_CLIENT = 2
};
#define PROBE_HELLO_MAGIC   "TWPROBE1"
#define PROBE_CMD_MAGIC     0x31505754u /* "TWP1" */
#define PROBE_STALL_LIMIT_S 5           /* a message that does not move for so long has failed */

enum probe_op { PROBE_PING = 1, PROBE_FLOOD, PROBE_BYE, PROBE_LINK };

typedef struct probe_cmd {
    uint8_t op, wait;
    uint16_t ways;
    uint32_t bytes, count;
    uint64_t ns;
} probe_cmd;

/* All connections of one pair; [0] carries commands and round trips, the others bulk data. */
typedef struct probe_pair {
    int fds[TW_PROBE_STREAMS_MAX + 1];
    unsigned n_fds;
    uint8_t *buf;  /* [TW_PROBE_BYTES_MAX] */
    tw_link *link; /* NULL: plain sockets */
    uint64_t moved_bytes;
    tw_probe_stop stop;
} probe_pair;

TW_MUST_CHECK int tw_probe_pair_init(probe_pair *p, tw_probe_stop stop, tw_err *err);
void tw_probe_pair_done(probe_pair *p);

bool tw_probe_stopped(const tw_probe_stop *s);

/* Exactly n bytes, spinning or sleeping. -ECANCELED when stopped, -ETIMEDOUT when nothing moved for
 * PROBE_STALL_LIMIT_S, -ECONNRESET when the peer went. */
TW_MUST_CHECK int tw_probe_send(int fd, const void *p, size_t n, enum tw_probe_wait wait,
                                const tw_probe_stop *stop);
TW_MUST_CHECK int tw_probe_recv(int fd, void *p, size_t n, enum tw_probe_wait wait,
                                const tw_probe_stop *stop);
/* Fills err for one of these codes. */
int tw_probe_fail(int rc, const char *doing, tw_err *err);

/* One end's part of a flood: sends for ns and a little more, receives, counts what arrives in ns. */
TW_MUST_CHECK int tw_probe_flood_run(probe_pair *p, bool send, bool receive, uint64_t ns,
                                     uint64_t *ret_bytes, uint64_t *ret_ns, tw_err *err);

/* probe_link.c: link is set from make on; side 0 asks, side 1 serves. */
TW_MUST_CHECK int tw_probe_link_make(probe_pair *p, enum tw_probe_link_kind kind, unsigned side,
                                     tw_err *err);
TW_MUST_CHECK int tw_probe_link_send(probe_pair *p, uint32_t bytes, enum tw_probe_wait wait,
                                     tw_err *err);
TW_MUST_CHECK int tw_probe_link_recv(probe_pair *p, uint32_t bytes, enum tw_probe_wait wait,
                                     tw_err *err);
TW_MUST_CHECK int tw_probe_link_flood(probe_pair *p, bool send, bool receive, uint64_t ns,
                                      uint64_t *ret_bytes, uint64_t *ret_ns, tw_err *err);

#endif
