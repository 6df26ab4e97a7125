/* SPDX-License-Identifier: Apache-2.0 */
/* Equal requests at once, timed from the outside by the moments of their tokens: what bench runs
 * between two looks at the machine's limits. */
#ifndef TWINAX_CMD_BENCH_CROWD_H
#define TWINAX_CMD_BENCH_CROWD_H

#include "twinax/engine.h"

enum { TW_CROWD_MAX = 256, TW_CROWD_BLOCKS = 32 };

typedef struct tw_crowd_ask {
    unsigned n_jobs;   /* to TW_CROWD_MAX */
    uint32_t n_prompt; /* random tokens each */
    uint32_t n_before; /* of these, not counted in prefill_ns */
    uint32_t n;        /* tokens of each in a block, from the moment when all have their first */
    unsigned n_blocks; /* to TW_CROWD_BLOCKS; 0: prefill alone */
    uint32_t chunk;    /* of the engine: while others' prompts are read, the first ones go on */
} tw_crowd_ask;

typedef struct tw_crowd_got {
    uint64_t prefill_ns; /* of the first one */
    double block_ns[TW_CROWD_BLOCKS];
    double depth; /* positions that each had when the first block began, mean */
} tw_crowd_got;

/* What a context must hold for it. */
uint32_t tw_crowd_ctx(const tw_crowd_ask *a);
/* Waits for all of them; ctrl-C cancels them (-EINTR). */
TW_MUST_CHECK int tw_crowd_run(tw_engine *e, const tw_crowd_ask *a, tw_crowd_got *ret, tw_err *err);

#endif
