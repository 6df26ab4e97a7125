/* SPDX-License-Identifier: Apache-2.0 */
/* The other machines of the cluster, an agent on each: for commands that see to twinax itself. */
#ifndef TWINAX_CMD_OTHERS_H
#define TWINAX_CMD_OTHERS_H

#include "cluster/config.h"
#include "cluster/remote.h"

typedef struct tw_others {
    tw_nodes nodes;             /* the first one is this machine */
    tw_remote *v[TW_NODES_MAX]; /* v[0] NULL; the others NULL while they are not connected */
    tw_err why[TW_NODES_MAX];   /* why one is not */
} tw_others;

/* list: of --nodes; NULL: twinax.conf; neither: this machine alone. agent_path: NULL: as
 * configured. */
TW_MUST_CHECK int tw_others_find(const char *list, const char *agent_path, tw_others *ret,
                                 tw_err *err);
/* All at a time. What cannot be reached is no error here: see why. */
void tw_others_open(tw_others *o);
void tw_others_close(tw_others *o); /* for TW_CLEANUP too */
/* The first node that is not connected: its error; 0: all are. */
TW_MUST_CHECK int tw_others_check(const tw_others *o, tw_err *err);
/* The name of node i, for people; this machine's own is there. */
const char *tw_others_name(const tw_others *o, size_t i);

#endif
