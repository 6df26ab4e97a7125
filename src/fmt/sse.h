/* SPDX-License-Identifier: Apache-2.0 */
/* Server-sent events: the "data:" lines of a stream. Source: WHATWG HTML, 9.2. */
#ifndef TWINAX_FMT_SSE_H
#define TWINAX_FMT_SSE_H

#include "base/buf.h"
#include "base/str.h"

/* Appends one event whose data is p[n]; each line of it becomes a data: line. */
TW_MUST_CHECK int tw_sse_append(tw_buf *b, const char *p, size_t n);

/* Takes the next whole event off the front of *in; false when there is none yet. *ret_data: what
 * follows "data:" in its last data line (events of this server have one), empty when it has none. */
bool tw_sse_next(tw_str *in, tw_str *ret_data);

#endif
