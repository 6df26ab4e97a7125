/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSH's own client: the command line for it, and what its end means. */
#ifndef TWINAX_CLUSTER_SSH_H
#define TWINAX_CLUSTER_SSH_H

#include <stdbool.h>
#include <stddef.h>

#include "twinax/err.h"

enum { TW_SSH_ARGS_MAX = 24, TW_SSH_CONNECT_S = 10 };

/* Names that begin with '-', are empty or hold control characters or spaces are refused. */
TW_MUST_CHECK int tw_ssh_name_check(const char *name, tw_err *err);

typedef struct tw_ssh_command {
    const char *argv[TW_SSH_ARGS_MAX]; /* NULL at the end */
    char remote[1600];
} tw_ssh_command;

/* agent_path: of twinax on the node, "~/" is its home there; NULL: PATH, /usr/local/bin and
 * ~/.local/bin, twinax and twinax-node. */
TW_MUST_CHECK int tw_ssh_command_make(const char *name, const char *agent_path, tw_ssh_command *ret,
                                      tw_err *err);

/* words: for the far shell, at most the room in `remote`. */
TW_MUST_CHECK int tw_ssh_words_make(const char *name, const char *words, tw_ssh_command *ret,
                                    tw_err *err);

/* How a connection ended before or while frames were exchanged. */
typedef struct tw_ssh_end {
    const char *name, *agent_path;
    const char *says; /* stderr of ssh and of the far side */
    int status;       /* as by waitpid; -1: it still runs */
    bool is_local;    /* a plain child, no ssh */
    bool greeted;     /* the agent had spoken */
} tw_ssh_end;

/* One line that tells name, refused, host key, permission, no twinax there, other version and
 * time-out apart, with what to do. Returns err's code. */
int tw_ssh_explain(const tw_ssh_end *e, tw_err *err);

#endif
