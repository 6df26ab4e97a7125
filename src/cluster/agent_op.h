/* SPDX-License-Identifier: Apache-2.0 */
/* What an agent can do: a table of operations in agent.c, a file a group of them.
 *
 * An operation gets the request's object and answers with an object of its own; "ok" and "id" are
 * added to it. It runs on the agent's main thread: what it starts with tw_child_spawn dies with the
 * agent. It may take long, but looks at tw_agent_is_cut then: the head may have gone. */
#ifndef TWINAX_CLUSTER_AGENT_OP_H
#define TWINAX_CLUSTER_AGENT_OP_H

#include <stdbool.h>

#include "fmt/json.h"

typedef struct tw_agent tw_agent;

/* ret: an object, the caller's from then on; left alone: an empty one. err is told to the head. */
typedef int (*tw_agent_op)(tw_agent *a, const json_t *request, json_t **ret, tw_err *err);

/* The head has gone, or was silent for too long: nobody waits for the answer. */
bool tw_agent_is_cut(const tw_agent *a);
/* Tells the head something while an operation runs; event: {"event":"...",...}, taken over. What
 * does not arrive is no error: tw_agent_is_cut will say so. */
void tw_agent_tell(tw_agent *a, json_t *event);

/* agent_ask.c */
int tw_agent_ask(tw_agent *a, const json_t *request, json_t **ret, tw_err *err);
/* agent_probe.c */
int tw_agent_probe(tw_agent *a, const json_t *request, json_t **ret, tw_err *err);
int tw_agent_tool(tw_agent *a, const json_t *request, json_t **ret, tw_err *err);
int tw_agent_stop(tw_agent *a, const json_t *request, json_t **ret, tw_err *err);
/* agent_measure.c */
int tw_agent_measure(tw_agent *a, const json_t *request, json_t **ret, tw_err *err);
int tw_agent_tool_client(tw_agent *a, const json_t *request, json_t **ret, tw_err *err);

/* agent_life_end.c */
int tw_agent_life_end(tw_agent *a, const json_t *request, json_t **ret, tw_err *err);
/* agent_proof.c: {"do":"open"|"knock"|"close"|"flood"|"counters"|"clock"|"ssh"|"model", ...} */
int tw_agent_proof(tw_agent *a, const json_t *request, json_t **ret, tw_err *err);
/* agent_peak.c: {"threads":N (0: its cores),"anew":bool} */
int tw_agent_peak(tw_agent *a, const json_t *request, json_t **ret, tw_err *err);
/* agent_models.c */
int tw_agent_models(tw_agent *a, const json_t *request, json_t **ret, tw_err *err);
/* agent_pull.h */
int tw_agent_pull_op(tw_agent *a, const json_t *request, json_t **ret, tw_err *err);
/* agent_traces.c: for uninstall */
int tw_agent_traces(tw_agent *a, const json_t *request, json_t **ret, tw_err *err);
int tw_agent_traces_remove(tw_agent *a, const json_t *request, json_t **ret, tw_err *err);
/* agent_upgrade.c */
int tw_agent_upgrade_look(tw_agent *a, const json_t *request, json_t **ret, tw_err *err);
int tw_agent_upgrade_keep(tw_agent *a, const json_t *request, json_t **ret, tw_err *err);
int tw_agent_upgrade_back(tw_agent *a, const json_t *request, json_t **ret, tw_err *err);
/* agent_setup.c */
int tw_agent_setup_open(tw_agent *a, const json_t *request, json_t **ret, tw_err *err);
int tw_agent_setup_pass(tw_agent *a, const json_t *request, json_t **ret, tw_err *err);
/* agent_toolbox.c */
int tw_agent_toolbox(tw_agent *a, const json_t *request, json_t **ret, tw_err *err);

#endif
