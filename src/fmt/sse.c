/* SPDX-License-Identifier: Apache-2.0 */
#include "fmt/sse.h"

#include <string.h>

int tw_sse_append(tw_buf *b, const char *p, size_t n)
{
    for (;;) {
        const char *nl = n ? memchr(p, '\n', n) : NULL;
        size_t len = nl ? (size_t)(nl - p) : n;
        int r = tw_buf_puts(b, "data: ");
        if (r == 0 && len)
            r = tw_buf_append(b, p, len);
        if (r == 0)
            r = tw_buf_append(b, "\n", 1);
        if (r)
            return r;
        if (nl == NULL)
            return tw_buf_append(b, "\n", 1);
        p = nl + 1;
        n -= len + 1;
    }
}

/* Cuts the first line off s; false when it has no end yet. */
static bool take_line(tw_str *s, tw_str *ret)
{
    const char *nl = s->len ? memchr(s->p, '\n', s->len) : NULL;
    if (nl == NULL)
        return false;
    *ret = (tw_str){s->p, (size_t)(nl - s->p)};
    *s = (tw_str){nl + 1, s->len - ret->len - 1};
    if (ret->len && ret->p[ret->len - 1] == '\r')
        ret->len--;
    return true;
}

bool tw_sse_next(tw_str *in, tw_str *ret_data)
{
    tw_str rest = *in, line, data = {in->p, 0};
    while (take_line(&rest, &line)) {
        if (line.len == 0) {
            *in = rest;
            *ret_data = data;
            return true;
        }
        if (!tw_str_starts(line, TW_STR("data:")))
            continue;
        data = (tw_str){line.p + 5, line.len - 5};
        if (data.len && data.p[0] == ' ')
            data = (tw_str){data.p + 1, data.len - 1};
    }
    return false;
}
