/* SPDX-License-Identifier: Apache-2.0 */
/* Liveness, apart from progress: heartbeats over the rendezvous connections from a thread of its
 * own that never computes, allocates nothing, and runs before others where it may (os/urgent.h).
 * Rank 0 watches all, the others watch rank 0, which tells them who died.
 * Silence of TW_HEALTH_SILENCE_NS, a closed connection or a goodbye with a cause is death and is
 * noted with the peer's name; a goodbye without a cause is not, since its last data may still be
 * under way. Must not know: links, collectives. Thread: all functions from any thread. */
#ifndef TWINAX_COLL_HEALTH_H
#define TWINAX_COLL_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "twinax/err.h"

#define TW_HEALTH_BEAT_NS    (500 * TW_NS_PER_MS)
#define TW_HEALTH_SILENCE_NS (1500 * TW_NS_PER_MS)

typedef struct tw_health tw_health;

/* fds [n_ranks]: rendezvous connections, -1 for none; owned from now on, also on failure. */
TW_MUST_CHECK int tw_health_start(unsigned rank, unsigned n_ranks, const int *fds, tw_health **ret,
                                  tw_err *err);
/* Says goodbye, joins the thread, closes the connections. NULL is fine. */
void tw_health_stop(tw_health *h);

/* Readable for ever once a peer has died: to be polled beside the links. */
int tw_health_wake_fd(const tw_health *h);
bool tw_health_dead(const tw_health *h); /* cheap */
/* 0, or what happened: a death, or that a peer has left. */
TW_MUST_CHECK int tw_health_check(tw_health *h, tw_err *err);
/* We give up because of this: tells all, who then give up too. Once; later calls do nothing. */
void tw_health_give_up(tw_health *h, const char *cause);
/* A peer is as good as dead, and why: as if its heartbeats had ended. */
void tw_health_lost(tw_health *h, unsigned peer, const char *why);
/* ", its last heartbeat came 0.3 s ago" or what else is known of a peer that does not send data. */
void tw_health_describe(tw_health *h, unsigned peer, char *out, size_t out_bytes);
/* How much later than it wanted to our own thread has run at most: how overloaded we are. */
uint64_t tw_health_late_ns(tw_health *h);

#endif
