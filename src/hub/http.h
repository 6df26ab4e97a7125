/* SPDX-License-Identifier: Apache-2.0 */
/* What every request of the hub shares, and the one whose answer is a text. */
#ifndef TWINAX_HUB_HTTP_H
#define TWINAX_HUB_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "hub/curl_lib.h"
#include "hub/refusal.h"

enum { TW_HUB_RETRIES = 5 };

/* Time-outs, certificates, who we are; the token, unless the url is another host's: curl itself
 * leaves it out behind a redirect to another one. */
TW_MUST_CHECK int tw_hub_http_setup(const tw_curl_lib *c, CURL *h, const tw_hub_place *p,
                                    const char *url, tw_err *err);
/* Whether trying again cannot help (a certificate, a name that is none); fills err anyway. */
bool tw_hub_http_failed(const tw_curl_lib *c, const tw_hub_place *p, CURLcode code, tw_err *err);
/* How long before try number n_failed + 1: what the hub asked for, else a longer time each time. */
uint64_t tw_hub_http_pause_ns(const tw_hub_answer *a, unsigned n_failed);

/* GET url into out. Retries what may pass; a refusal is explained as name's. should_stop may be
 * NULL; -EINTR then. */
TW_MUST_CHECK int tw_hub_http_get(const tw_hub_place *p, const tw_hub_name *name, const char *url,
                                  bool (*should_stop)(void *arg), void *arg, tw_buf *out,
                                  tw_err *err);

#endif
