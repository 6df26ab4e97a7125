/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks that another machine's head has started on this one, as this user may see them: by their
 * program and command, in this network namespace. */
#ifndef TWINAX_CLUSTER_LIFE_HERE_H
#define TWINAX_CLUSTER_LIFE_HERE_H

#include "cluster/life_proc.h"

typedef struct tw_life_here {
    tw_life_proc proc;
    uint64_t rss_bytes;
    double up_s;
    char from
        [64]; /* the head's address, as its ssh connection says; empty: started on this machine */
} tw_life_here;

/* How many there are; at most max are filled in. */
unsigned tw_life_here_find(tw_life_here *ret, unsigned max);

#endif
