/* SPDX-License-Identifier: Apache-2.0 */
/* A model onto all nodes: which ones, the list of its files, the run, and how it is shown. */
#ifndef TWINAX_CMD_PULL_NODES_H
#define TWINAX_CMD_PULL_NODES_H

#include "cluster/config.h"
#include "cluster/remote_push.h"
#include "cluster/share_run.h"
#include "cmd/args.h"
#include "cmd/pull_model.h"
#include "hub/choose.h"
#include "hub/pull.h"

typedef struct tw_pull_nodes_opts {
    const char *nodes_list, *agent_path; /* --nodes, --agent-path */
    bool local, from_net, verify, json, quiet;
    unsigned n_connections;
    uint64_t range_bytes;
    const tw_hub_choice *choice;
    const tw_push_face *push; /* NULL: nothing is pushed */
} tw_pull_nodes_opts;

/* --nodes, else twinax.conf; ret->n 0: this machine alone. */
TW_MUST_CHECK int tw_pull_find_nodes(const tw_pull_nodes_opts *o, tw_nodes *ret, tw_err *err);
/* text: "org/name@rev", of which name is the parsed form. */
TW_MUST_CHECK int tw_pull_nodes(const tw_pull_nodes_opts *o, const tw_nodes *nodes,
                                const char *text, const tw_hub_name *name, tw_err *err);

/* What is to be fetched: from the hub; where this machine cannot ask it, from a node that can, else
 * what a cache has (j->no_net then). j: its nodes; connections that were opened are noted there and
 * are the caller's to close. */
TW_MUST_CHECK int tw_pull_nodes_list(const tw_pull_nodes_opts *o, const tw_hub_place *p,
                                     const char *text, const tw_hub_name *name, tw_share_job *j,
                                     tw_hub_list *ret, tw_err *err);
/* Of a run over several nodes: MODEL of the hub that is not in this machine's cache comes to all of
 * them. That a node got nothing is no error here: the run will find that out. */
TW_MUST_CHECK int tw_pull_model_nodes(const tw_args *a, tw_err *err);

/* ---- pull_nodes_show.c ---- */

typedef struct tw_nodes_show {
    const char *model;
    bool json, tty;
    uint64_t begun_ns, told_ns;
    unsigned n_drawn; /* lines on the terminal */
    uint64_t begun_bytes[TW_SHARE_NODES_MAX];
} tw_nodes_show;

void tw_nodes_show_init(tw_nodes_show *s, const char *model, bool json);
void tw_nodes_show_progress(void *show, const tw_share_state *v, unsigned n);
void tw_nodes_show_say(void *show, const char *node, const char *text);
/* The bars go. */
void tw_nodes_show_end(tw_nodes_show *s);
/* What came, for people on stderr and the first path on stdout, or as one object. */
void tw_nodes_show_result(tw_nodes_show *s, const tw_hub_list *l, const tw_share_state *v,
                          unsigned n);

#endif
