/* SPDX-License-Identifier: Apache-2.0 */
/* How a command ends: its last line and its exit code. */
#include <errno.h>
#include <stdio.h>

#include "cmd/option.h"
#include "os/signal.h"

int tw_command_end(const tw_command *c, int rc, const tw_err *err)
{
    const bool interrupted = rc == -EINTR || (rc == -ECANCELED && tw_signal_asked_to_stop());
    if (rc == 0)
        return TW_EXIT_OK;
    fprintf(stderr, "twinax %s: %s\n", c->name,
            interrupted && err->msg[0] == '\0' ? "interrupted" : err->msg);
    return interrupted ? TW_EXIT_INTERRUPTED : TW_EXIT_FAILED;
}

int tw_command_misused(const tw_command *c, const tw_err *err)
{
    fprintf(stderr, "twinax %s: %s\n", c->name, err->msg);
    return TW_EXIT_USAGE;
}
