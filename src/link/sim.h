/* SPDX-License-Identifier: Apache-2.0 */
/* A simulated network for tests: links between all ranks of one thread, time that only moves when
 * told, every choice from a seed. Bytes arrive late, in pieces, and not at all where a fault is
 * set. Thread: one. */
#ifndef TWINAX_LINK_SIM_H
#define TWINAX_LINK_SIM_H

#include "base/rng.h"
#include "link/link.h"

typedef struct tw_sim tw_sim;

typedef struct tw_sim_opts {
    uint64_t seed;
    unsigned n_ranks;
    uint64_t delay_max_ns;    /* of a piece */
    size_t buffer_bytes;      /* per direction of a pair */
    unsigned percent_nothing; /* how often a read or write moves nothing for no reason */
} tw_sim_opts;

TW_MUST_CHECK int tw_sim_new(const tw_sim_opts *opts, tw_sim **ret, tw_err *err);
void tw_sim_free(tw_sim *s); /* after its links are closed */
/* The end of rank `rank` of its link to peer; once for each. */
TW_MUST_CHECK int tw_sim_link(tw_sim *s, unsigned rank, unsigned peer, bool verify, tw_link **ret,
                              tw_err *err);

uint64_t tw_sim_now_ns(const tw_sim *s);
void tw_sim_advance(tw_sim *s, uint64_t ns);
/* The time of the next arrival after now; TW_NEVER_NS when nothing is under way. */
uint64_t tw_sim_next_ns(const tw_sim *s);

/* All bytes written and read so far: unchanged means that nothing happens. */
uint64_t tw_sim_moved_bytes(const tw_sim *s);

/* After this many bytes more from rank to peer: the pair's connection closes (both ways), or the
 * bytes vanish and nothing closes. */
void tw_sim_cut(tw_sim *s, unsigned rank, unsigned peer, uint64_t after_bytes, bool silent);
/* As if the process were gone: all its connections close; what it sent before arrives. */
void tw_sim_kill(tw_sim *s, unsigned rank);

#endif
