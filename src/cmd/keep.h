/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper: the parent of a `twinax serve` in the background, and the words that it and `up`,
 * `down`, `status` share. It holds the lock, writes the record and the log, and ends with serve. */
#ifndef TWINAX_CMD_KEEP_H
#define TWINAX_CMD_KEEP_H

#include "cluster/life_state.h"
#include "fmt/json.h"

#define TW_RUN_ENV     "TWINAX_RUN"
#define TW_HOW_ENV     "TWINAX_HOW"
#define TW_CRASHED_ENV "TWINAX_CRASHED" /* set: the last one served and then crashed */

/* Serve gets so long to end by itself; then it is ended. */
#define TW_KEEP_GRACE_NS (5 * UINT64_C(1000000000))

/* What the serve behind this socket says, within limit_ns. Owns: the caller. */
TW_MUST_CHECK int tw_keep_ask(const char *socket_path, uint64_t limit_ns, json_t **ret,
                              tw_err *err);
/* Ranks of a status into r. */
void tw_keep_take_ranks(const json_t *status, tw_life_record *r);
/* The model's name as people say it: the last part of a folder's path. */
const char *tw_keep_name(const tw_life_record *r);
/* "3 min 12 s" */
void tw_keep_span(uint64_t seconds, char *out, size_t out_bytes);
/* "since 2026-11-22 18:24" in local time. */
void tw_keep_moment(uint64_t unix_s, char out[32]);

#endif
