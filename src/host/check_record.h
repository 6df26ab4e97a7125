/* SPDX-License-Identifier: Apache-2.0 */
/* A record of several hosts and what was proven between them, as doctor writes and replays it:
 *
 *    {"schema":1, "source":"synthetic: ...",
 *     "config":{"engine":"vllm","transport":"rdma","model":"org/name"},
 *     "nodes":[{"name":"box1","ssh":"box1","ip":"192.168.100.1","interface":"enp194s0np0",
 *               "facts":{...}}, {"name":"box2","why":"box2: no route to host"}],
 *     "proofs":{...}}
 *
 * The facts of a single host without all this (no "nodes") are read as one node. */
#ifndef TWINAX_HOST_CHECK_RECORD_H
#define TWINAX_HOST_CHECK_RECORD_H

#include "host/check.h"

typedef struct tw_check_record {
    char source[200];
    tw_check_world world;                /* its pointers lead into this record */
    tw_facts *facts[TW_CHECK_NODES_MAX]; /* owned; NULL: not reached */
    tw_proofs *proofs;                   /* owned; NULL: none */
} tw_check_record;

/* p[n]: a file's text, name: the file, for messages. -EINVAL, -ENOMEM. *ret is to be done in any
 * case. */
TW_MUST_CHECK int tw_check_record_parse(const char *name, const char *p, size_t n,
                                        tw_check_record *ret, tw_err *err);
void tw_check_record_done(tw_check_record *r);
/* Not scrubbed. Owns: the caller, json_decref; NULL when out of memory. */
json_t *tw_check_record_print(const tw_check_record *r);
/* Results as --json prints them: {"schema":1,"nodes":[...],"checks":[...],"summary":{...}}. */
json_t *tw_check_results_print(const tw_check_world *w, const tw_check_result *v, size_t n);

const char *tw_check_engine_name(enum tw_check_engine e);
const char *tw_check_transport_name(enum tw_check_transport t);

#endif
