/* SPDX-License-Identifier: Apache-2.0 */
/* What a command prints is its result: a full disk or a reader that has gone is a failure. */
#ifndef TWINAX_CMD_OUT_H
#define TWINAX_CMD_OUT_H

#include <jansson.h>

#include "twinax/err.h"

/* Flushes stdout. -errno when this, or anything printed before, could not be written. */
TW_MUST_CHECK int tw_out_flush(tw_err *err);
/* The words for it, from an errno that is known already. Returns -cause. */
int tw_out_failed(int cause, tw_err *err);
/* One object on stdout, indented, as every --json of a whole answer. NULL: memory ran out making it. */
TW_MUST_CHECK int tw_out_json(const json_t *v, tw_err *err);
/* "512 B", "1.5 GiB". */
void tw_out_bytes(double bytes, char out[24]);

#endif
