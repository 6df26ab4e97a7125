/* SPDX-License-Identifier: Apache-2.0 */
#include "twinax/err.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

/* One line for a terminal: what came from a file or a peer must not steer it. And text for JSON, which
 * refuses half a code point: the whole message would be lost. */
static void flatten_line(char *s)
{
    for (size_t n = strlen(s); n > 0;) {
        uint32_t cp = 0;
        const unsigned len = tw_utf8_decode(s, n, &cp);
        if (len == 0)
            *s = '?';
        else if (cp < 0x20 || (cp >= 0x7f && cp < 0xa0)) /* U+009B is "ESC [" to some */
            memset(s, ' ', len);
        s += len > 0 ? len : 1;
        n -= len > 0 ? len : 1;
    }
}

int tw_err_set(tw_err *err, int code, const char *fmt, ...)
{
    assert(code < 0);
    if (code >= 0)
        code = code > 0 ? -code : -EIO; /* never let a mistake of ours look like success */
    if (err == NULL)
        return code;

    /* Formatted aside, since an argument may be err->msg itself. */
    char line[sizeof(err->msg)];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    if (n < 0)
        snprintf(line, sizeof(line), "error %d (its message could not be formatted)", -code);
    else if ((size_t)n >= sizeof(line))
        line[tw_utf8_complete(line, sizeof(line) - 1)] = '\0';
    flatten_line(line);

    err->code = code;
    memcpy(err->msg, line, sizeof(line));
    err->msg[strlen(line)] = '\0';
    return code;
}
