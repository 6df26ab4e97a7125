/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax bench coll`: collectives of the ranks on this machine against their floors. */
#ifndef TWINAX_CMD_BENCH_COLL_H
#define TWINAX_CMD_BENCH_COLL_H

#include "cmd/args.h"

#define TW_JOB_BENCH_COLL "bench-coll"

/* What every rank of it must know. */
typedef struct tw_bench_coll_part {
    tw_coll_opts opts;                     /* without n_threads */
    const char *sizes;                     /* "8,64,1M"; NULL: 8 B to 64 MiB */
    bool wire16, json;                     /* json: rank 0 */
    int (*at_end)(void *ctx, tw_err *err); /* rank 0: while the others still wait; may be NULL */
    void *ctx;
} tw_bench_coll_part;

/* Joins the group and measures; rank 0 prints. */
TW_MUST_CHECK int tw_bench_coll_rank(const tw_bench_coll_part *p, tw_err *err);

#endif
