/* SPDX-License-Identifier: Apache-2.0 */
/* Where twinax.conf is looked for: ./twinax.conf, $XDG_CONFIG_HOME/twinax/twinax.conf (or
 * ~/.config), /etc/twinax/twinax.conf. The first one counts; one that others may write, or whose folder they may, is
 * passed over. */
#ifndef TWINAX_CLUSTER_CONFIG_FILE_H
#define TWINAX_CLUSTER_CONFIG_FILE_H

#include "cluster/config_keys.h"

typedef struct tw_config_found {
    char path[512];    /* empty: there is none */
    char warning[240]; /* what was passed over and why; empty: nothing */
    tw_config config;
} tw_config_found;

TW_MUST_CHECK int tw_config_find(tw_config_found *ret, tw_err *err);
/* The same, and which line says what; what is wrong in the file is in *trace and no error. */
TW_MUST_CHECK int tw_config_find_traced(tw_config_found *ret, tw_config_trace *trace, tw_err *err);
/* One file, asked for by name: who may write it is not our business then. */
TW_MUST_CHECK int tw_config_read(const char *path, tw_config *ret, tw_err *err);
/* The first line of a file that holds a secret (path: "/..." or "~/..."). It must be a regular file
 * of this user's (or root's) that nobody else may read or write: -EPERM says what to do. 1 to
 * out_bytes - 1 printable characters. */
TW_MUST_CHECK int tw_config_key_read(const char *path, char *out, size_t out_bytes, tw_err *err);

#endif
