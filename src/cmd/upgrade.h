/* SPDX-License-Identifier: Apache-2.0 */
/* Part of `twinax upgrade`. */
#ifndef TWINAX_CMD_UPGRADE_H
#define TWINAX_CMD_UPGRADE_H

#include <stdbool.h>

#include "cmd/others.h"

enum { UPGRADE_PATH_BYTES = 1024 };

/* ---- upgrade_source.c: what comes ---- */

typedef struct upgrade_source {
    char folder[UPGRADE_PATH_BYTES];  /* of our own, removed at the end; "": none */
    char package[UPGRADE_PATH_BYTES]; /* a file for the package manager; "": none */
    char twinax[UPGRADE_PATH_BYTES], node[UPGRADE_PATH_BYTES]; /* the programs */
    char version[64];
} upgrade_source;

/* file: a program with twinax-node beside it, a folder, an archive, a .deb or .rpm; NULL: what
 * manager ("apt", "dnf") has. Both programs are run once: they must be of one version. */
TW_MUST_CHECK int tw_upgrade_source_open(const char *file, const char *manager, upgrade_source *ret,
                                         tw_err *err);
void tw_upgrade_source_close(upgrade_source *s); /* for TW_CLEANUP */

/* ---- upgrade_nodes.c: the others ---- */

enum upgrade_step {
    NODE_UNTOUCHED,
    NODE_KEPT,  /* its version before is kept beside */
    NODE_PUSHED /* the new one is there */
};

typedef struct upgrade_node {
    bool skip; /* this machine again ("local") */
    bool had;  /* it had one before */
    bool has_old;
    char program[512], version[64];
    enum upgrade_step step;
} upgrade_node;

typedef struct upgrade_nodes {
    tw_others others;
    upgrade_node v[TW_NODES_MAX];
} upgrade_nodes;

/* Who runs what; refuses a node whose program is none that was pushed. */
TW_MUST_CHECK int tw_upgrade_nodes_look(upgrade_nodes *n, tw_err *err);
/* Keeps what is there and pushes file, one after the other; stops at the first error. */
TW_MUST_CHECK int tw_upgrade_nodes_push(upgrade_nodes *n, const char *file, tw_err *err);
/* Nodes that were changed get back what they had. What fails is said on stderr; true: nothing did.
 */
bool tw_upgrade_nodes_restore(upgrade_nodes *n);
/* The version before on every node, which must have one; all or none. */
TW_MUST_CHECK int tw_upgrade_nodes_back(upgrade_nodes *n, tw_err *err);

/* ---- upgrade_pause.c: a service that runs ---- */

typedef struct upgrade_pause {
    bool paused, is_unit;
    char *argv[128]; /* of `up`, from its first word on */
    char text[16 * 1024];
} upgrade_pause;

/* Refuses (restart false), or remembers it and ends it. Nothing when nothing runs. */
TW_MUST_CHECK int tw_upgrade_pause(bool restart, bool dry_run, upgrade_pause *ret, tw_err *err);
/* Starts it again by program. */
TW_MUST_CHECK int tw_upgrade_resume(upgrade_pause *p, const char *program, tw_err *err);

#endif
