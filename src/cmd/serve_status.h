/* SPDX-License-Identifier: Apache-2.0 */
/* What a running serve says of itself to `twinax status`: one JSON object to whoever connects to the
 * private socket that its keeper passed on. Never waits for another machine. */
#ifndef TWINAX_CMD_SERVE_STATUS_H
#define TWINAX_CMD_SERVE_STATUS_H

#include "cmd/node.h"
#include "fmt/json.h"

#define TW_STATUS_FD_ENV "TWINAX_STATUS_FD"

enum { TW_STATUS_MAX_BYTES = 256 * 1024, TW_STATUS_REPORT_MS = 2000 };

typedef struct tw_serve_status tw_serve_status;

/* *ret NULL: nobody asked for it. Notes in a how the load goes on; a stays the caller's. */
TW_MUST_CHECK int tw_serve_status_start(tw_args *a, tw_serve_status **ret, tw_err *err);
/* n serves at url from now on, until stop. */
void tw_serve_status_ready(tw_serve_status *s, tw_node *n, const char *url);
/* Another engine: make gives what it says of itself, an object, from now on; state is in it ("loading",
 * "ready"). From a thread of its own, until stop. */
void tw_serve_status_other(tw_serve_status *s, json_t *(*make)(void *ctx), void *ctx);
void tw_serve_status_stop(tw_serve_status *s); /* NULL is allowed; before n is closed */

#endif
