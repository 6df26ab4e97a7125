/* SPDX-License-Identifier: Apache-2.0 */
/* All processes below this one, whatever session or group they gave themselves: this process takes in
 * those whose parent ended (PR_SET_CHILD_SUBREAPER), so that none is lost from sight.
 * Must not know what they are. */
#ifndef TWINAX_OS_BROOD_H
#define TWINAX_OS_BROOD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "twinax/err.h"

/* From now on processes below this one stay below it. */
TW_MUST_CHECK int tw_brood_begin(tw_err *err);
/* How many are there, without zombies. Cost: a look at every process of the machine. */
unsigned tw_brood_count(void);
/* Each of them. */
void tw_brood_each(void (*fn)(pid_t pid, void *ctx), void *ctx);
/* Asks all (SIGTERM), insists after grace_ns (SIGKILL), reaps. True: none is left; false: one was still
 * there grace_ns + 1 s later. Reaps every child of this process. */
bool tw_brood_end(uint64_t grace_ns);

#endif
