/* SPDX-License-Identifier: Apache-2.0 */
/* The floor over RDMA: both ranks write the same number of bytes into each other's memory by one
 * RDMA WRITE with immediate on a queue pair of their own, and spin on its completions. What no
 * library can be faster than, on the very port and GID that the collectives use. */
#ifndef TWINAX_CMD_BENCH_FLOOR_VERBS_H
#define TWINAX_CMD_BENCH_FLOOR_VERBS_H

#include <stddef.h>

#include "twinax/coll.h"

enum { TW_FLOOR_VERBS_WRITE = 4 << 20 }; /* larger messages are several, one after the other */

typedef struct tw_floor_verbs tw_floor_verbs;

/* On both ranks of a group of two, whose pair goes over RDMA, at the same time. */
TW_MUST_CHECK int tw_floor_verbs_open(tw_coll *c, tw_floor_verbs **ret, tw_err *err);
void tw_floor_verbs_close(tw_floor_verbs *f); /* NULL is fine */
/* bytes each way: our write is acknowledged, the peer's has come. */
TW_MUST_CHECK int tw_floor_verbs_exchange(tw_floor_verbs *f, size_t bytes, tw_err *err);
/* Where the peer's bytes are, and ours go from: [TW_FLOOR_VERBS_WRITE] each. */
void *tw_floor_verbs_in(tw_floor_verbs *f);
void *tw_floor_verbs_out(tw_floor_verbs *f);

#endif
