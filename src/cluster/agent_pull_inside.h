/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the operation "pull" share. */
#ifndef TWINAX_CLUSTER_AGENT_PULL_INSIDE_H
#define TWINAX_CLUSTER_AGENT_PULL_INSIDE_H

#include "cluster/agent_pull.h"
#include "hub/place.h"

/* The head's hub and token ("endpoint", "hf_token"), where this node has none of its own: its token
 * never goes to another hub than the head's. */
TW_MUST_CHECK int tw_pull_take_hub(tw_hub_place *p, tw_json_obj *o, tw_err *err);

TW_MUST_CHECK int tw_pull_tell_list(const json_t *request, json_t **ret, tw_err *err);
TW_MUST_CHECK int tw_pull_tell_has(const json_t *request, json_t **ret, tw_err *err);

#endif
