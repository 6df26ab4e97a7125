/* SPDX-License-Identifier: Apache-2.0 */
/* The least that two ranks' exchange of n bytes costs, by hand and without a library: a spinning
 * exchange over one more TCP socket between the same addresses, through shared memory, or by one
 * RDMA WRITE each way (bench_floor_verbs.h; its bytes are its own). What the
 * collectives are held against, in the same run. */
#ifndef TWINAX_CMD_BENCH_FLOOR_H
#define TWINAX_CMD_BENCH_FLOOR_H

#include <stdbool.h>
#include <stddef.h>

#include "kern/kern.h"
#include "twinax/coll.h"

/* FLOOR_SLOT: most that the copy-and-flag exchange takes; larger ones are measured against the loop
 * of loads and stores through a window of two slots. */
enum { TW_FLOOR_SLOT = 256 * 1024 };

typedef struct tw_floor tw_floor;

/* On both ranks of a group of two, at the same time. transport: the pair's own, "shm", "rdma" or
 * "tcp", which goes to address (rank 0's). */
TW_MUST_CHECK int tw_floor_open(tw_coll *c, const char *transport, const char *address,
                                tw_floor **ret, tw_err *err);
void tw_floor_close(tw_floor *f); /* NULL is fine */

/* Sends x [bytes], receives as many; both ranks at the same time.
 *   tcp: one nonblocking socket, send and receive in turn without sleeping; nothing is added
 *   shm to TW_FLOOR_SLOT: copy into shared memory, raise a flag, wait for the peer's, copy out
 *   shm above: the all-reduce's own loads and stores (x to a shared window, x += the peer's window),
 *   both ranks at the same time, with no flags inside */
TW_MUST_CHECK int tw_floor_exchange(tw_floor *f, float *x, size_t bytes, tw_err *err);
const char *tw_floor_name(const tw_floor *f, size_t bytes);

#endif
