/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax models`, `models verify` and `models rm` over several nodes. */
#ifndef TWINAX_CMD_MODELS_NODES_H
#define TWINAX_CMD_MODELS_NODES_H

#include <stdbool.h>

#include "cluster/config.h"
#include "cluster/remote_push.h"

enum tw_models_verb { TW_MODELS_LIST, TW_MODELS_VERIFY, TW_MODELS_REMOVE };

typedef struct tw_models_opts {
    bool json, yes, quick, local, push;
    const char *nodes_list, *agent_path;
} tw_models_opts;

/* text: "org/name[@rev]"; NULL: all. Errors: of the first node that fails; the others are done. */
TW_MUST_CHECK int tw_models_nodes(enum tw_models_verb verb, const tw_models_opts *o,
                                  const tw_nodes *nodes, const char *text, tw_err *err);
/* Whether text names the snapshot. */
bool tw_models_is_it(const char *text, const char *repo, const char *commit, const char *refs);

#endif
