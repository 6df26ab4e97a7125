/* SPDX-License-Identifier: Apache-2.0 */
/* Growable byte buffer with a mandatory ceiling. data is always NUL-terminated once not NULL
 * (the NUL is not counted in len). */
#ifndef TWINAX_BASE_BUF_H
#define TWINAX_BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>

#include "twinax/err.h"

typedef struct tw_buf {
    char *data;
    size_t len, cap, max_bytes;
} tw_buf;

#define TW_BUF(max) ((tw_buf){.data = NULL, .len = 0, .cap = 0, .max_bytes = (max)})

/* p must not point into the buffer itself. -ENOMEM, or -E2BIG when it would pass the ceiling; the buffer is then unchanged. */
TW_MUST_CHECK int tw_buf_reserve(tw_buf *b, size_t n_more);
TW_MUST_CHECK int tw_buf_append(tw_buf *b, const void *p, size_t n);
TW_MUST_CHECK int tw_buf_puts(tw_buf *b, const char *s);
TW_MUST_CHECK int tw_buf_printf(tw_buf *b, const char *fmt, ...) TW_PRINTF(2, 3);
TW_MUST_CHECK int tw_buf_vprintf(tw_buf *b, const char *fmt, va_list ap) TW_PRINTF(2, 0);
void tw_buf_drop(tw_buf *b, size_t n_front); /* removes bytes from the front */
void tw_buf_reset(tw_buf *b);                /* len = 0, keeps the memory */
void tw_buf_done(tw_buf *b);                 /* frees; usable again */

#endif
