/* SPDX-License-Identifier: Apache-2.0 */
/* `up --install`: the service as a systemd user unit, made, started and taken away again. */
#ifndef TWINAX_CMD_UP_UNIT_H
#define TWINAX_CMD_UP_UNIT_H

#include <stdbool.h>

#include "twinax/err.h"

/* Writes the unit, enables and starts it, and turns linger on; says on stderr what it does and why.
 * argv: of `twinax keep`. The key, when there is one, goes into a file of mode 0600. */
TW_MUST_CHECK int tw_up_unit_start(const char *model, char *const *argv, tw_err *err);
/* Stops it and, unless keep, takes all of it away. Nothing when there is none. */
TW_MUST_CHECK int tw_up_unit_stop(bool keep, tw_err *err);
bool tw_up_unit_is_there(void);

#endif
