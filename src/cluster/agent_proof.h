/* SPDX-License-Identifier: Apache-2.0 */
/* What the program that runs the agent lends to its proofs: this floor knows no models. */
#ifndef TWINAX_CLUSTER_AGENT_PROOF_H
#define TWINAX_CLUSTER_AGENT_PROOF_H

#include <stddef.h>

#include "twinax/err.h"

/* The id of the model at path; fills err. */
typedef int (*tw_agent_identify)(const char *path, char *ret_id, size_t id_bytes, tw_err *err);

/* Once, before tw_agent_run. */
void tw_agent_on_identify(tw_agent_identify fn);

#endif
