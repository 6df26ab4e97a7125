/* SPDX-License-Identifier: Apache-2.0 */
/* Part of `twinax setup`. */
#ifndef TWINAX_CMD_SETUP_H
#define TWINAX_CMD_SETUP_H

#include <stdbool.h>

#include "cluster/config.h"
#include "cluster/setup_run.h"

enum { SETUP_WORKERS_MAX = TW_NODES_MAX - 1 };

typedef struct setup_opts {
    bool dry_run, yes, undo, init, json, reboot, force, push;
    const char *only, *nodes_list, *agent_path;
    const char *head, *workers[SETUP_WORKERS_MAX], *transport, *interface, *output;
    unsigned n_workers;
} setup_opts;

/* ---- setup_face.c: the terminal ---- */

typedef struct setup_face {
    bool quiet; /* --json: only errors, on stderr */
} setup_face;

tw_setup_face tw_setup_face_of(setup_face *f);
/* One line from the person; false: no terminal, or nothing was said. */
bool tw_setup_ask(const char *question, char *out, size_t out_bytes);
/* "yes" and nothing less. */
bool tw_setup_consents(const char *question);
/* "y" is enough: for what is asked in passing. On stderr; ctrl-C: no. */
bool tw_setup_says_yes(const char *question);
bool tw_setup_can_ask(void);

/* ---- setup_verify.c ---- */

/* Plans anew: an error names the steps that are left. */
TW_MUST_CHECK int tw_setup_verify_plans(tw_setup_run *r, const setup_opts *o, tw_err *err);
/* Has doctor look (and print). An error names what it fails though setup knows the mend; what waits
 * for a reboot (reboot_due[node]) or a login is said. */
TW_MUST_CHECK int tw_setup_verify_doctor(const setup_opts *o, const bool *reboot_due, tw_err *err);

/* ---- setup_init.c ---- */

int tw_setup_init(const setup_opts *o, tw_err *err); /* exit code, or a negative errno */

#endif
