/* SPDX-License-Identifier: Apache-2.0 */
/* --profile and --profile-trace of run and bench. */
#ifndef TWINAX_CMD_PROFILE_SHOW_H
#define TWINAX_CMD_PROFILE_SHOW_H

#include <stdio.h>

#include "cmd/node.h"

/* Of a tw_args. */
extern const tw_option tw_options_profile[];

/* What was asked for: the table (or with json an object a line) to out, the trace to its file; nothing
 * where nothing was. Once all that was to be measured is done. */
TW_MUST_CHECK int tw_profile_show(const tw_node *n, bool json, FILE *out, tw_err *err);

#endif
