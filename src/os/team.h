/* SPDX-License-Identifier: Apache-2.0 */
/* Thread team: n threads pinned to cores that run one function together. The caller is thread 0.
 * Between jobs the others spin shortly, then sleep on a futex; an idle team costs nothing.
 * Every thread runs with FTZ and DAZ off. */
#ifndef TWINAX_OS_TEAM_H
#define TWINAX_OS_TEAM_H

#include <stddef.h>

#include "twinax/err.h"

typedef struct tw_team tw_team;
typedef void tw_team_fn(void *ctx, unsigned i_thread, unsigned n_threads);

/* cpus: n_threads cpu numbers to pin to, or NULL for no pinning. 1 <= n_threads <= 1024. The caller
 * is pinned too until tw_team_free; threads and children that it starts meanwhile inherit that. */
TW_MUST_CHECK int tw_team_new(unsigned n_threads, const int *cpus, tw_team **ret, tw_err *err);
unsigned tw_team_size(const tw_team *t);
/* Thread: one caller at a time, not from inside fn. Runs fn on all threads and returns when all are done. No allocation, no system call while the
 * others still spin. */
void tw_team_run(tw_team *t, tw_team_fn *fn, void *ctx);
/* The second level of cache holds so much, beside a product's own. */
enum { TW_TEAM_AHEAD_BYTES = 256 << 10 };
/* Thread i, from inside a job or, for thread 0, between jobs: what it reads next lies at [at, bytes).
 * While it waits for others it has that fetched into its cache, up to TW_TEAM_AHEAD_BYTES; memory would
 * idle otherwise. The last word counts; what is told is never read, only fetched. */
void tw_team_expect(tw_team *t, unsigned i_thread, const void *at, size_t bytes);
/* Thread 0, which waits for something else than the team: the same at once. */
void tw_team_fetch(tw_team *t);
/* The calling thread may run wherever the team's caller could before it was pinned: for threads that
 * he starts and that are not of the team. */
void tw_team_unpin(const tw_team *t);
void tw_team_free(tw_team *t);

#endif
