/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax ui`: a menu whose choices run twinax's own commands as children, and show what they say.
 * It knows nothing that the commands do not tell: no engine, no ssh, no host. */
#ifndef TWINAX_UI_UI_H
#define TWINAX_UI_UI_H

#include <stdbool.h>
#include <stddef.h>

#include "twinax/err.h"

enum { TW_UI_NODES_MAX = 8 };

/* What twinax.conf says, as far as the menu shows it. */
typedef struct tw_ui_config {
    char path[512]; /* empty: there is none */
    char model[176], transport[8], interface[16], engine[8];
    unsigned port, tp, ctx;
    size_t n_nodes;
    struct {
        char name[64], ssh[128], ip[64], interface[16], agent_path[176];
    } nodes[TW_UI_NODES_MAX];
} tw_ui_config;

typedef struct tw_ui_opts {
    const char *program;   /* what the children are: this very twinax */
    const char *catalogue; /* the installed list of models */
    bool vllm;             /* the engine that is proposed first */
    bool ascii;
    /* twinax.conf as it is now; *ret is zeroed before. */
    int (*read_config)(tw_ui_config *ret, tw_err *err);
} tw_ui_opts;

/* Why there can be no menu on this terminal, or NULL. */
const char *tw_ui_why_not(void);
/* The menu, until its user or a signal ends it. The terminal is as it was before, whatever happens.
 * Main thread only: it takes SIGTERM, SIGHUP, SIGPIPE and SIGWINCH. */
TW_MUST_CHECK int tw_ui_menu_run(const tw_ui_opts *opts, tw_err *err);
/* Choices of the menu and what each runs, a row at a time; false: no more. For terminals that can
 * show no menu. */
bool tw_ui_choice(size_t i, const char **ret_name, const char **ret_command);

#endif
