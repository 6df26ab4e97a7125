/* SPDX-License-Identifier: Apache-2.0 */
/* The far end of a control connection: frames in, frames out, until the input ends; then what it
 * started ends too. It opens no port but the listener of a measurement, which is bound to one
 * address of this host and wants the one-time token that came through the frames.
 * Operations: the table in agent.c. */
#ifndef TWINAX_CLUSTER_AGENT_H
#define TWINAX_CLUSTER_AGENT_H

#include "twinax/err.h"

/* What the program does when the agent should have ended and is stuck in an operation: it must end
 * the process. On any thread. NULL: nothing. */
void tw_agent_on_overdue(void (*fn)(void *ctx), void *ctx);
/* Speaks on in_fd and out_fd (may be one socket); the caller keeps both. 0: the head has gone or
 * tw_signal_asked_to_stop. */
TW_MUST_CHECK int tw_agent_run(int in_fd, int out_fd, tw_err *err);

#endif
