/* SPDX-License-Identifier: Apache-2.0 */
/* A record of several hosts: {"schema":1, "source":"...", "nodes":[{"name":"box1", "facts":{...}},
 * ...], "proofs":{...}, "config":{...}}, and the removal of what names people, machines and places,
 * so that it can be shown to others: host names become box1, box2, ..., user names user1, ..., MACs
 * keep only the bit of local administration, serial numbers and public addresses go, host and MAC
 * parts of IPv6 addresses too. What is the same stays the same. */
#ifndef TWINAX_HOST_FACTS_SCRUB_H
#define TWINAX_HOST_FACTS_SCRUB_H

#include "host/facts.h"

/* In place, any JSON of that shape: in each of its strings and keys what must go is replaced. Names
 * are taken from nodes[].name, their facts' host and user, and the config. -ENOMEM. */
TW_MUST_CHECK int tw_facts_scrub(json_t *record, tw_err *err);

#endif
