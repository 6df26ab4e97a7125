/* SPDX-License-Identifier: Apache-2.0 */
/* A machine's facts on the way from the agent to the head: JSON by host/facts, read there with
 * bounds, for it is another's word. */
#ifndef TWINAX_CLUSTER_FACTS_H
#define TWINAX_CLUSTER_FACTS_H

#include "host/facts.h"

#endif
