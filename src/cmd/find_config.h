/* SPDX-License-Identifier: Apache-2.0 */
/* twinax.conf as every command reads it. */
#ifndef TWINAX_CMD_FIND_CONFIG_H
#define TWINAX_CMD_FIND_CONFIG_H

#include "cluster/config_file.h"

/* tw_config_find; a file that was passed over is told in the log, once in a process. */
TW_MUST_CHECK int tw_find_config(tw_config_found *ret, tw_err *err);

#endif
