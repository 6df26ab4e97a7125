/* SPDX-License-Identifier: Apache-2.0 */
/* setup over all nodes, from the head: connects, asks each node for its plan, has it done step by
 * step, all nodes at a time; confirms over a new connection what may have cut the network; reboots.
 * Must not know: how plans are shown, how consent is asked. */
#ifndef TWINAX_CLUSTER_SETUP_RUN_H
#define TWINAX_CLUSTER_SETUP_RUN_H

#include "cluster/config.h"
#include "cluster/remote_push.h"
#include "fmt/json.h"
#include "host/setup_want.h"

typedef struct tw_setup_run tw_setup_run;

enum tw_setup_word {                  /* what is told while it goes on */
                     TW_SETUP_BEGINS, /* text: a step's id and title */
                     TW_SETUP_LINE,   /* text: a line of a command */
                     TW_SETUP_DONE,   /* text: a step's id */
                     TW_SETUP_FAILED, /* text: the error */
                     TW_SETUP_WAITS,  /* text: for what */
                     TW_SETUP_SAYS    /* text: anything else */
};

typedef struct tw_setup_face {
    void *ctx;
    /* From any thread, one at a time. */
    void (*tell)(void *ctx, const char *node, enum tw_setup_word what, const char *text);
    /* Asks for sudo's password of user on node, without echo; NULL: none is given. wrong: the one
     * before was refused. Owns: it is wiped and freed by who called. */
    char *(*ask_password)(void *ctx, const char *node, bool wrong);
} tw_setup_face;

typedef struct tw_setup_run_opts {
    const tw_config *config;
    bool as_root;             /* false: only look (dry run without sudo) */
    const char *only;         /* "id,id" of steps; NULL: all */
    const tw_push_face *push; /* NULL: what is there must do */
} tw_setup_run_opts;

/* Connects to all nodes and opens setup on each. An error names the first node that failed. */
TW_MUST_CHECK int tw_setup_run_open(const tw_setup_run_opts *o, const tw_setup_face *face,
                                    tw_setup_run **ret, tw_err *err);
void tw_setup_run_close(tw_setup_run *r);
void tw_setup_run_closep(tw_setup_run **r);

size_t tw_setup_run_n(const tw_setup_run *r);
const char *tw_setup_run_name(const tw_setup_run *r, size_t i);
/* What was completed from all nodes' interfaces; valid after plan. */
const tw_setup_want *tw_setup_run_want(const tw_setup_run *r);

/* Rolls back what an earlier run left half done. *ret_n: steps on all nodes. */
TW_MUST_CHECK int tw_setup_run_mend(tw_setup_run *r, unsigned *ret_n, tw_err *err);
/* Each node's plan: tw_setup_run_plan_of. */
TW_MUST_CHECK int tw_setup_run_plan(tw_setup_run *r, tw_err *err);
const json_t *tw_setup_run_plan_of(const tw_setup_run *r, size_t i); /* borrowed */
/* Does what was planned. A node that fails stops; the others go on. The first error is returned. */
TW_MUST_CHECK int tw_setup_run_do(tw_setup_run *r, tw_err *err);
/* {"steps":[...]} of the journal, what undo would take back. Borrowed. */
TW_MUST_CHECK int tw_setup_run_status(tw_setup_run *r, tw_err *err);
const json_t *tw_setup_run_status_of(const tw_setup_run *r, size_t i);
/* All of it, last step first. *ret_kept: files that others changed since. */
TW_MUST_CHECK int tw_setup_run_undo(tw_setup_run *r, unsigned *ret_kept, tw_err *err);
/* A node's shared ssh connection (ControlMaster) is closed: groups and limits are a login's. */
void tw_setup_run_end_logins(tw_setup_run *r);
/* Reboots node i and, unless it is the head, waits until it is back. */
TW_MUST_CHECK int tw_setup_run_reboot(tw_setup_run *r, size_t i, tw_err *err);

#endif
