/* SPDX-License-Identifier: Apache-2.0 */
/* A host's facts on the way from the agent to the head: JSON by host/facts, read there with bounds,
 * for it is another's word.
 *
 *    host-facts {"interface":"enp194s0np0","peers":["192.168.100.2"],"model":"/models/m",
 *                "cache":"/data/hub","containers":true,"sudo":true} -> {"facts":{...}}
 *    counters   {"interfaces":["enp194s0np0"]}                      -> {"counters":[{...}]}
 *    heat       {}                                                  -> {"heat":{...}} */
#ifndef TWINAX_CLUSTER_FACTS_H
#define TWINAX_CLUSTER_FACTS_H

#include "cluster/agent_op.h"
#include "cluster/remote.h"
#include "host/facts.h"

/* The agent's side. */
int tw_agent_host_facts(tw_agent *a, const json_t *request, json_t **ret, tw_err *err);
int tw_agent_counters(tw_agent *a, const json_t *request, json_t **ret, tw_err *err);
int tw_agent_heat(tw_agent *a, const json_t *request, json_t **ret, tw_err *err);

/* The head's side. o->root is not for another host. 15 s at most. */
TW_MUST_CHECK int tw_remote_host_facts(tw_remote *n, const tw_facts_opts *o, tw_facts *ret,
                                       tw_err *err);
/* ret[n_names], in the order of names. */
TW_MUST_CHECK int tw_remote_counters(tw_remote *n, const char *const *names, size_t n_names,
                                     tw_facts_counters *ret, tw_err *err);
TW_MUST_CHECK int tw_remote_heat(tw_remote *n, tw_facts_heat *ret, tw_err *err);

#endif
