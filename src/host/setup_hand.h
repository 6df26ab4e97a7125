/* SPDX-License-Identifier: Apache-2.0 */
/* The process that changes the host: `twinax setup-hand`, started by an agent, as root or by sudo.
 * It speaks the agent's frames on stdin and stdout and ends with them; an operation that has begun
 * is finished first.
 *
 *    hello   {"ssh_connection":"..."}     who asks, for an environment that sudo has emptied
 *    keys    -> {"user","key","host_key","boot_id"}
 *    mend    -> {"n"}                      what was cut off before is undone
 *    plan    {"want":{...}} -> {"plan":{...}}
 *    apply   {"step":{...}} -> {"n"}       confirm {"n","undone":false}
 *    undo    -> {"id","n","left","kept","said","unconfirmed"}     status -> {"steps":[...]}
 *    reboot
 * While it works: {"event":"line","line":"..."}. */
#ifndef TWINAX_HOST_SETUP_HAND_H
#define TWINAX_HOST_SETUP_HAND_H

#include "twinax/err.h"

/* root NULL: this host; else a folder that stands for its files (tests); sections of its .facts.json
 * stand for those of the true facts. */
TW_MUST_CHECK int tw_setup_hand_run(int in_fd, int out_fd, const char *root, tw_err *err);
/* The timer's process: see setup_do.h. revert_s 0: the usual time. */
TW_MUST_CHECK int tw_setup_hand_timer(unsigned n, unsigned revert_s, const char *root, tw_err *err);

#endif
