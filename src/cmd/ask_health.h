/* SPDX-License-Identifier: Apache-2.0 */
/* Whether an API answers: GET /health, of either engine's server. */
#ifndef TWINAX_CMD_ASK_HEALTH_H
#define TWINAX_CMD_ASK_HEALTH_H

#include <stdint.h>

#include "twinax/err.h"

/* host: numbers; an open address (0.0.0.0, ::) is asked by loopback. 0: it said 200 before until_ns.
 * -EIO: it said otherwise; else why nothing answered. */
TW_MUST_CHECK int tw_ask_health(const char *host, uint16_t port, uint64_t until_ns, tw_err *err);
/* The same by "http://HOST:PORT". */
TW_MUST_CHECK int tw_ask_health_url(const char *url, uint64_t until_ns, tw_err *err);

#endif
