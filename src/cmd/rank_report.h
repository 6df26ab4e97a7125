/* SPDX-License-Identifier: Apache-2.0 */
/* What a rank on another machine says of itself from time to time, as a line among its output that
 * the head keeps and does not print: so nobody ever waits for a node that is gone. */
#ifndef TWINAX_CMD_RANK_REPORT_H
#define TWINAX_CMD_RANK_REPORT_H

#include "cluster/life_proc.h"
#include "fmt/json.h"

#define TW_RANK_REPORT_MARK "@status "

/* This process's memory and this machine's heat; the caller's. NULL: no memory. */
json_t *tw_rank_report_make(void);
/* One more value under name, made each time; before start. */
void tw_rank_report_add(const char *name, json_t *(*make)(void));
/* Says it now and every interval_ms in a thread of its own; names sleep of this machine, and where
 * it is a laptop holds sleep off. From the main thread. */
TW_MUST_CHECK int tw_rank_report_start(unsigned interval_ms, tw_err *err);

#endif
