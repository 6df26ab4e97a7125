/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/scope.h"

enum { BUF_FIRST_BYTES = 64 };

int tw_buf_reserve(tw_buf *b, size_t n_more)
{
    if (b->len > b->max_bytes || n_more > b->max_bytes - b->len)
        return -E2BIG;
    size_t need;
    if (!tw_size_add(b->len + n_more, 1, &need)) /* the NUL */
        return -ENOMEM;
    if (need <= b->cap)
        return 0;

    size_t cap = b->cap;
    if (!tw_size_add(cap, cap, &cap) || cap < need)
        cap = TW_MAX(need, (size_t)BUF_FIRST_BYTES);
    if (cap - 1 > b->max_bytes)
        cap = TW_MAX(b->max_bytes + 1, need);
    char *data = tw_mem_realloc(b->data, cap);
    if (data == NULL)
        return -ENOMEM;
    b->data = data;
    b->cap = cap;
    b->data[b->len] = '\0';
    return 0;
}

int tw_buf_append(tw_buf *b, const void *p, size_t n)
{
    int rc = tw_buf_reserve(b, n);
    if (rc < 0)
        return rc;
    if (n > 0)
        memcpy(b->data + b->len, p, n);
    b->len += n;
    b->data[b->len] = '\0';
    return 0;
}

int tw_buf_puts(tw_buf *b, const char *s)
{
    return tw_buf_append(b, s, strlen(s));
}

int tw_buf_printf(tw_buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int rc = tw_buf_vprintf(b, fmt, ap);
    va_end(ap);
    return rc;
}

int tw_buf_vprintf(tw_buf *b, const char *fmt, va_list ap)
{
    va_list ap_size;
    va_copy(ap_size, ap);
    int n = vsnprintf(NULL, 0, fmt, ap_size);
    va_end(ap_size);
    if (n < 0)
        return -EINVAL;
    int rc = tw_buf_reserve(b, (size_t)n);
    if (rc < 0)
        return rc;
    vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
    b->len += (size_t)n;
    return 0;
}

void tw_buf_drop(tw_buf *b, size_t n_front)
{
    n_front = TW_MIN(n_front, b->len);
    if (n_front == 0)
        return;
    b->len -= n_front;
    memmove(b->data, b->data + n_front, b->len + 1);
}

void tw_buf_reset(tw_buf *b)
{
    b->len = 0;
    if (b->data != NULL)
        b->data[0] = '\0';
}

void tw_buf_done(tw_buf *b)
{
    if (b == NULL)
        return;
    tw_mem_free(b->data);
    *b = TW_BUF(b->max_bytes);
}
