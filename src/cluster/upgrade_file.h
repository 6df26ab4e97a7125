/* SPDX-License-Identifier: Apache-2.0 */
/* A program file, replaced so that the version before stays beside it: NAME and NAME.old. Every step
 * is one rename: whoever starts NAME meanwhile gets the one or the other, whole.
 * Must not know: what the programs are. */
#ifndef TWINAX_CLUSTER_UPGRADE_FILE_H
#define TWINAX_CLUSTER_UPGRADE_FILE_H

#include <stdbool.h>

#include "twinax/err.h"

#define TW_UPGRADE_OLD ".old"

/* NAME.old becomes NAME's own bytes (a second name of the same file). *ret_had: there was a NAME. */
TW_MUST_CHECK int tw_upgrade_keep(const char *path, bool *ret_had, tw_err *err);
/* A copy of `from` in place of NAME, mode 0755, on disk. */
TW_MUST_CHECK int tw_upgrade_put(const char *path, const char *from, tw_err *err);
/* NAME.old is NAME again. swap: and NAME is NAME.old then, so that the next one goes forward;
 * else what was NAME is gone. -ENOENT: there is no NAME.old. */
TW_MUST_CHECK int tw_upgrade_back(const char *path, bool swap, tw_err *err);
bool tw_upgrade_has_old(const char *path);

#endif
