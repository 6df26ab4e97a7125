/* SPDX-License-Identifier: Apache-2.0 */
/* Where twinax.conf is looked for: ./twinax.conf, $XDG_CONFIG_HOME/twinax/twinax.conf (or
 * ~/.config), /etc/twinax/twinax.conf. The first one counts; one that others may write is passed
 * over. */
#ifndef TWINAX_CLUSTER_CONFIG_FILE_H
#define TWINAX_CLUSTER_CONFIG_FILE_H

#include "cluster/config.h"

typedef struct tw_config_found {
    char path[512];    /* empty: there is none */
    char warning[240]; /* what was passed over and why; empty: nothing */
    tw_nodes nodes;
} tw_config_found;

TW_MUST_CHECK int tw_config_find(tw_config_found *ret, tw_err *err);

#endif
