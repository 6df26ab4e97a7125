/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a Ray that asks nobody for a token (before 2.52) may listen at an address: only where the cable
 * has no other machines on it. Pure. */
#ifndef TWINAX_VLLM_DOOR_H
#define TWINAX_VLLM_DOOR_H

#include "host/facts.h"

/* True: the interface that has ip is Thunderbolt's, or has a subnet of at most 14 machines, and does not
 * lead to the rest of the world. Else *ret_why says what it is. */
bool tw_vllm_link_is_dedicated(const tw_facts *f, const char *ip, char *ret_why, size_t why_bytes);

#endif
