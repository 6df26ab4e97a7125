/* SPDX-License-Identifier: Apache-2.0 */
/* A machine's facts as JSON, for the way from the agent to the head. What a machine says is read with
 * bounds: it is another's word. */
#ifndef TWINAX_CLUSTER_FACTS_H
#define TWINAX_CLUSTER_FACTS_H

#include "fmt/json.h"
#include "host/net.h"

/* Owns: the caller, json_decref; NULL when out of memory. */
json_t *tw_facts_net_print(const tw_net *n);
TW_MUST_CHECK int tw_facts_net_parse(const json_t *v, tw_net *ret, tw_err *err);

#endif
