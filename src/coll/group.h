/* SPDX-License-Identifier: Apache-2.0 */
/* The group's inside: links, the collective under way, health, waiting. Tests build a group on
 * links of their own. */
#ifndef TWINAX_COLL_GROUP_H
#define TWINAX_COLL_GROUP_H

#include <stdatomic.h>

#include "coll/health.h"
#include "coll/ops.h"
#include "twinax/coll.h"

typedef struct tw_coll_block {
    struct tw_coll_block *next;
    void *p;
} tw_coll_block;

struct tw_coll {
    unsigned rank, n_ranks;
    tw_link *links[TW_RANKS_MAX]; /* owned; own entry NULL */
    tw_health *health;            /* NULL: nobody watches (one rank, tests) */
    uint64_t step_ns, spin_ns;    /* at least; at most */
    uint64_t limit_ns;            /* of a collective now: step_ns or more */
    uint64_t deadline_ns;         /* of what is under way; 0: set by the next poll */
    uint64_t typical_ns;          /* how long waits last of late; decides whether to spin */
    tw_ops ops;
    float *scratch;
    tw_coll_block *blocks;
    tw_err failed;            /* code 0: not */
    tw_err closed;            /* a data connection closed; the cause may still be on its way */
    uint64_t closed_until_ns; /* and is waited for until then */
    uint64_t n_collectives, n_plans, wait_ns;
};

/* Takes links (own entry NULL), also on failure. health may be NULL. */
TW_MUST_CHECK int tw_coll_new(unsigned rank, unsigned n_ranks, tw_link *const *links,
                              tw_health *health, uint64_t step_ns, uint64_t spin_ns, tw_coll **ret,
                              tw_err *err);

#endif
