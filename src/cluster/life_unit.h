/* SPDX-License-Identifier: Apache-2.0 */
/* The service as a systemd user unit, and what a service without one survives. Reads the machine;
 * changes nothing: who runs systemctl is cmd/up_unit.c.
 * Must not know what is served. */
#ifndef TWINAX_CLUSTER_LIFE_UNIT_H
#define TWINAX_CLUSTER_LIFE_UNIT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

#define TW_LIFE_UNIT "twinax.service"

typedef struct tw_life_unit {
    const char *program, *folder; /* absolute; folder: where it starts */
    const char *path;             /* PATH, for ssh and its helpers */
    const char *env_file;         /* with the key, mode 0600; NULL: none */
    const char *model;
    char *const *argv; /* of `twinax keep`, from its first option on; NULL at the end */
    bool made_linger;  /* linger was off before: its removal turns it off again */
} tw_life_unit;

/* Appends the file's text. -EINVAL: an argument that no unit can say (a line end). */
TW_MUST_CHECK int tw_life_unit_print(const tw_life_unit *u, tw_buf *out, tw_err *err);
/* Of a file that tw_life_unit_print made. */
bool tw_life_unit_made_linger(const char *text);
/* $XDG_CONFIG_HOME/systemd/user/twinax.service, and the folder for env_file; -ENOENT: no home. */
TW_MUST_CHECK int tw_life_unit_places(char *ret_unit, char *ret_env, size_t bytes, tw_err *err);

/* ---- what is here ---- */

typedef struct tw_life_session {
    bool has_manager; /* a systemd user manager of ours runs */
    bool has_linger;  /* and goes on when nobody is logged in */
    bool kills;       /* logind ends what a session leaves (KillUserProcesses=yes) */
    bool has_logind;
} tw_life_session;

/* root NULL: this machine; else a folder with etc/, run/, var/. */
void tw_life_session_read(const char *root, tw_life_session *ret);
/* One sentence: what a service started so ("session", "scope", "unit") survives. */
const char *tw_life_survives(const tw_life_session *s, const char *how);

#endif
