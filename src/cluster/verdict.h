/* SPDX-License-Identifier: Apache-2.0 */
/* What a link of a kind should give, in one table, and how a measured one stands to it. Pure. */
#ifndef TWINAX_CLUSTER_VERDICT_H
#define TWINAX_CLUSTER_VERDICT_H

#include "cluster/path.h"

enum tw_verdict_level { TW_VERDICT_GOOD, TW_VERDICT_SLOW, TW_VERDICT_BAD, TW_VERDICT_UNKNOWN };

typedef struct tw_verdict {
    enum tw_verdict_level level;
    char text[240];
} tw_verdict;

typedef struct tw_measured {
    const tw_path *path;
    double lat_us;   /* half a round trip of 2 bytes, p50, spinning */
    double min_gbit; /* the slower way */
} tw_measured;

void tw_verdict_judge(const tw_measured *m, tw_verdict *ret);
const char *tw_verdict_name(enum tw_verdict_level l); /* "good", "slow", "bad", "unknown" */

#endif
