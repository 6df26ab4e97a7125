/* SPDX-License-Identifier: Apache-2.0 */
/* What the program that runs the agent lends to its proofs: this floor knows no models. */
#ifndef TWINAX_CLUSTER_AGENT_PROOF_H
#define TWINAX_CLUSTER_AGENT_PROOF_H

#include "twinax/err.h"

typedef struct tw_agent_model {
    char id[72];
    char content[72]; /* of its weights' bytes; "": not known without reading them */
} tw_agent_model;

/* What the model at path is; fills err. */
typedef int (*tw_agent_identify)(const char *path, tw_agent_model *ret, tw_err *err);

/* Once, before tw_agent_run. */
void tw_agent_on_identify(tw_agent_identify fn);

#endif
