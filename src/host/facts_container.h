/* SPDX-License-Identifier: Apache-2.0 */
/* Part of host/facts: what containers there are. */
#ifndef TWINAX_HOST_FACTS_CONTAINER_H
#define TWINAX_HOST_FACTS_CONTAINER_H

#include "host/facts_reader.h"

/* Images by containers/storage: names, digest, versions of Ray and vLLM in their layers. */
void tw_container_read_storage(tw_facts_reader *r);
void tw_container_ask_podman(tw_facts_reader *r, uint64_t deadline_ns);
void tw_container_ask_docker(tw_facts_reader *r, uint64_t deadline_ns);

#endif
