/* SPDX-License-Identifier: Apache-2.0 */
/* JSON string literals straight into a buffer: what streams and tojson print most. */
#ifndef TWINAX_FMT_JSONSTR_H
#define TWINAX_FMT_JSONSTR_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* Appends p[n] as a quoted JSON string. Escapes as Python's json.dumps does; bytes that are no UTF-8
 * become U+FFFD. ascii_only: everything past U+007F as \uXXXX. */
TW_MUST_CHECK int tw_jsonstr_append(tw_buf *b, const char *p, size_t n, bool ascii_only);

#endif
