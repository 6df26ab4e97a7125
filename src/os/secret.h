/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that hold a secret (the one-time token, an API key) leave no image of their memory. */
#ifndef TWINAX_OS_SECRET_H
#define TWINAX_OS_SECRET_H

/* From now on this process writes no core dump, and no other process of its user may read its memory
 * or environment. What it executes starts without that. */
void tw_secret_guard(void);
/* Takes a secret out of the environment: out of getenv, and out of /proc/PID/environ. */
void tw_secret_env_wipe(const char *name);

#endif
